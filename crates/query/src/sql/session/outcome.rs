//! What a statement gives: rows as they are computed, or a tag that says what was done.

use super::*;

/// What a statement gave.
pub enum Outcome {
    /// Rows.
    Rows(Rows),
    /// It is done; what, and how much, as Postgres says it: `INSERT 0 5`.
    Done(String),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "Rows({:?})", rows.schema),
            Self::Done(tag) => write!(f, "Done({tag})"),
        }
    }
}

/// Rows, and what is said when all of them have been taken.
pub struct Rows {
    /// Their columns, by the names that clients see.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: SendableRecordBatchStream,
    /// What was done.
    pub tag: RowsTag,
}

impl Rows {
    pub(crate) fn new(stream: SendableRecordBatchStream, tag: RowsTag) -> Self {
        Self { schema: crate::sql::dialect::shown(&stream.schema()), stream, tag }
    }

    pub(crate) fn select(stream: SendableRecordBatchStream) -> Self {
        Self::new(stream, RowsTag::Counted("SELECT"))
    }

    /// Rows that are there already.
    pub(crate) fn of_batch(batch: RecordBatch, tag: RowsTag) -> Self {
        let schema = batch.schema();
        let rows = futures_util::stream::iter([Ok(batch)]);
        Self::new(Box::pin(RecordBatchStreamAdapter::new(schema, rows)), tag)
    }

    /// Waits for the first rows, so that what fails fails as a statement.
    pub(crate) async fn with_first(self) -> Result<Self, SqlError> {
        use futures_util::StreamExt;
        let schema = self.stream.schema();
        let mut rows = self.stream.peekable();
        if let Some(Err(_)) = std::pin::Pin::new(&mut rows).peek().await
            && let Some(Err(error)) = rows.next().await
        {
            return Err(error.into());
        }
        let stream = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
        Ok(Self { stream, ..self })
    }
}

/// What was done to get rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsTag {
    /// A word before their number: `SELECT`, `INSERT 0`.
    Counted(&'static str),
    /// A word alone.
    Word(&'static str),
}

impl RowsTag {
    /// As it is told after so many rows.
    pub fn of(self, rows: u64) -> String {
        match self {
            Self::Counted(word) => format!("{word} {rows}"),
            Self::Word(word) => word.to_owned(),
        }
    }
}

/// Notes how long a statement took, when its last row is taken or nobody wants more.
pub(super) struct Watch {
    pub(super) inner: Arc<Inner>,
    pub(super) text: String,
    pub(super) started: Instant,
    pub(super) rows: u64,
}

impl Watch {
    pub(super) fn over(mut self, rows: Rows) -> Rows {
        let schema = rows.stream.schema();
        let counted = rows.stream.inspect_ok(move |batch| self.count(batch));
        Rows { stream: Box::pin(RecordBatchStreamAdapter::new(schema, counted)), ..rows }
    }

    pub(super) fn count(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let duration_us = self.started.elapsed().as_micros() as u64;
        self.inner.note_duration(&self.text, duration_us, self.rows);
    }
}
