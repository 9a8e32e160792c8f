//! Cursors: DECLARE, FETCH, MOVE, CLOSE. Rows are taken from the query when the client asks for
//! them. Rows that were taken are kept, up to a limit, so that a cursor can go back.

use super::control::folded;
use super::{Outcome, Prepared, Rows, RowsTag, Session};
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::sql::sqlparser::ast::{
    CloseCursor, FetchDirection, Statement as SqlStatement, ValueWithSpan,
};
use futures_util::StreamExt;
use parking_lot::Mutex;

/// Cursors that a session may have.
const CURSORS_MAX: usize = 1_000;
/// Bytes of rows that one cursor keeps.
const KEPT_MAX_BYTES: usize = 64 << 20;

/// A query whose rows are taken in steps.
pub(super) struct Cursor {
    schema: SchemaRef,
    /// Behind a lock only so that a session may be looked at from several threads.
    rest: Option<Mutex<SendableRecordBatchStream>>,
    /// Rows that were taken from the query, from the first.
    kept: Vec<RecordBatch>,
    kept_bytes: usize,
    /// Rows before those that are kept.
    dropped: usize,
    /// The row it stands on: 0 before the first one.
    at: usize,
    scrolls: Option<bool>,
    hold: bool,
}

impl Cursor {
    pub(super) fn is_held(&self) -> bool {
        self.hold && self.rest.is_none()
    }

    fn known(&self) -> usize {
        self.dropped + self.kept.iter().map(RecordBatch::num_rows).sum::<usize>()
    }

    /// Takes rows from the query until so many are known, or all.
    async fn know(&mut self, wanted: usize) -> Result<(), SqlError> {
        while self.known() < wanted {
            let Some(rest) = &mut self.rest else { return Ok(()) };
            let Some(batch) = rest.get_mut().next().await.transpose()? else {
                self.rest = None;
                return Ok(());
            };
            self.kept_bytes += batch.get_array_memory_size();
            self.kept.push(batch);
            self.forget()?;
        }
        Ok(())
    }

    /// Forgets rows behind where it stands when there are too many.
    fn forget(&mut self) -> Result<(), SqlError> {
        while self.kept_bytes > KEPT_MAX_BYTES && self.kept.len() > 1 {
            let first = self.kept.first().map_or(0, RecordBatch::num_rows);
            if self.dropped + first >= self.at {
                return Ok(());
            }
            let gone = self.kept.remove(0);
            self.kept_bytes = self.kept_bytes.saturating_sub(gone.get_array_memory_size());
            self.dropped += first;
        }
        Ok(())
    }

    /// Rows from one number to another, both included; from the later to the earlier where it goes
    /// back.
    fn rows(&self, from: usize, to: usize) -> Result<RecordBatch, SqlError> {
        let all = concat_batches(&self.schema, &self.kept)
            .map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))?;
        if from == 0 || to == 0 || from.max(to) > self.known() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        if from.min(to) <= self.dropped {
            let message = "the cursor cannot go back so far: it keeps too few rows";
            return Err(SqlError::new(SqlState::LimitExceeded, message).hint("ask for fewer rows"));
        }
        if from <= to {
            return Ok(all.slice(from - 1 - self.dropped, to - from + 1));
        }
        let back = (to..=from).rev().map(|row| (row - 1 - self.dropped) as u64);
        let back = datafusion::arrow::array::UInt64Array::from_iter_values(back);
        datafusion::arrow::compute::take_record_batch(&all, &back)
            .map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))
    }

    fn refuse_back(&self) -> Result<(), SqlError> {
        if self.scrolls == Some(false) {
            let message = "cursor can only scan forward";
            return Err(SqlError::new(SqlState::NotInPrerequisiteState, message)
                .hint("Declare it with SCROLL option to enable backward scan."));
        }
        Ok(())
    }

    /// So many rows forward; none at all: the row it stands on.
    async fn forward(&mut self, count: usize) -> Result<RecordBatch, SqlError> {
        if count == 0 {
            return self.rows(self.at, self.at);
        }
        let wanted = self.at.saturating_add(count);
        self.know(wanted).await?;
        let known = self.known();
        if self.at >= known {
            self.at = known + 1;
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let (first, last) = (self.at + 1, wanted.min(known));
        // Beyond the last row it stands behind it.
        self.at = if wanted > known { known + 1 } else { last };
        self.rows(first, last)
    }

    async fn backward(&mut self, count: usize) -> Result<RecordBatch, SqlError> {
        if count == 0 {
            return self.rows(self.at, self.at);
        }
        self.refuse_back()?;
        let at = self.at.min(self.known() + 1);
        if at <= 1 {
            self.at = 0;
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let last = at.saturating_sub(count).max(1);
        let rows = self.rows(at - 1, last);
        self.at = at.saturating_sub(count);
        rows
    }

    async fn absolute(&mut self, number: i64) -> Result<RecordBatch, SqlError> {
        let target = if number >= 0 {
            number as usize
        } else {
            self.know(usize::MAX).await?;
            (self.known() + 1).saturating_sub(number.unsigned_abs() as usize)
        };
        if target < self.at {
            self.refuse_back()?;
        }
        self.know(target).await?;
        self.at = target.min(self.known() + 1);
        self.rows(target, target)
    }

    async fn fetch(&mut self, direction: &FetchDirection) -> Result<RecordBatch, SqlError> {
        let steps = |count: i64| (count >= 0, count.unsigned_abs() as usize);
        match direction {
            FetchDirection::Next => self.forward(1).await,
            FetchDirection::Prior => self.backward(1).await,
            FetchDirection::First => self.absolute(1).await,
            FetchDirection::Last => self.absolute(-1).await,
            FetchDirection::Absolute { limit } => self.absolute(number(limit)?).await,
            FetchDirection::Relative { limit } => {
                let number = number(limit)?;
                let target = (self.at as i64).saturating_add(number);
                self.absolute(target.max(0)).await
            }
            FetchDirection::All | FetchDirection::ForwardAll => self.forward(usize::MAX).await,
            FetchDirection::BackwardAll => self.backward(usize::MAX).await,
            FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => {
                match steps(number(limit)?) {
                    (true, count) => self.forward(count).await,
                    (false, count) => self.backward(count).await,
                }
            }
            FetchDirection::Backward { limit: Some(limit) } => match steps(number(limit)?) {
                (true, count) => self.backward(count).await,
                (false, count) => self.forward(count).await,
            },
            FetchDirection::Forward { limit: None } => self.forward(1).await,
            FetchDirection::Backward { limit: None } => self.backward(1).await,
        }
    }
}

fn number(limit: &ValueWithSpan) -> Result<i64, SqlError> {
    let text = limit.to_string();
    text.parse().map_err(|_| {
        SqlError::new(SqlState::SyntaxError, format!("FETCH takes a whole number, not {text}"))
    })
}

impl Session {
    /// DECLARE, FETCH and CLOSE.
    pub(super) async fn cursor(&mut self, statement: &SqlStatement) -> Result<Outcome, SqlError> {
        match statement {
            SqlStatement::Declare { stmts } => {
                for declare in stmts {
                    let name = declare.names.first().map(folded).unwrap_or_default();
                    let hold = declare.hold == Some(true);
                    self.declare_cursor(&name, declare.for_query.as_deref(), declare.scroll, hold)
                        .await?;
                }
                Ok(Outcome::Done("DECLARE CURSOR".to_owned()))
            }
            SqlStatement::Fetch { name, direction, .. } => {
                let batch = self.find_cursor(&folded(name))?.fetch(direction).await?;
                Ok(Outcome::Rows(Rows::of_batch(batch, RowsTag::Counted("FETCH"))))
            }
            SqlStatement::Close { cursor: CloseCursor::All } => {
                self.cursors.clear();
                Ok(Outcome::Done("CLOSE CURSOR ALL".to_owned()))
            }
            SqlStatement::Close { cursor: CloseCursor::Specific { name } } => {
                let name = folded(name);
                self.cursors.remove(&name).ok_or_else(|| no_cursor(&name))?;
                Ok(Outcome::Done("CLOSE CURSOR".to_owned()))
            }
            other => Err(SqlError::unsupported(format!("{other} is not supported"))),
        }
    }

    /// MOVE: FETCH without the rows.
    pub(super) async fn move_cursor(
        &mut self,
        name: &str,
        direction: &FetchDirection,
    ) -> Result<Outcome, SqlError> {
        let batch = self.find_cursor(name)?.fetch(direction).await?;
        Ok(Outcome::Done(format!("MOVE {}", batch.num_rows())))
    }

    fn find_cursor(&mut self, name: &str) -> Result<&mut Cursor, SqlError> {
        self.cursors.get_mut(name).ok_or_else(|| no_cursor(name))
    }

    /// The columns of what FETCH gives.
    pub(super) fn cursor_schema(&self, name: &str) -> Option<SchemaRef> {
        self.cursors.get(name).map(|cursor| crate::sql::dialect::shown(&cursor.schema))
    }

    async fn declare_cursor(
        &mut self,
        name: &str,
        query: Option<&datafusion::sql::sqlparser::ast::Query>,
        scrolls: Option<bool>,
        hold: bool,
    ) -> Result<(), SqlError> {
        let query =
            query.ok_or_else(|| SqlError::new(SqlState::SyntaxError, "DECLARE names no query"))?;
        if self.transaction.is_none() && !hold {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(SqlError::new(SqlState::NoActiveTransaction, message));
        }
        if self.cursors.contains_key(name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateCursor, message));
        }
        if self.cursors.len() >= CURSORS_MAX {
            let message = format!("a session may have {CURSORS_MAX} cursors");
            return Err(SqlError::new(SqlState::LimitExceeded, message));
        }
        let statement = SqlStatement::Query(Box::new(query.clone()));
        let statement = datafusion::sql::parser::Statement::Statement(Box::new(statement));
        let prepared = Prepared::of(
            crate::sql::statement::Statement::Df(Box::new(statement.clone())),
            query.to_string(),
        );
        let Outcome::Rows(rows) = self.run_plan(&prepared, &statement, Vec::new()).await? else {
            return Err(SqlError::new(SqlState::SyntaxError, "a cursor is for a query"));
        };
        let mut cursor = Cursor {
            schema: rows.stream.schema(),
            rest: Some(Mutex::new(rows.stream)),
            kept: Vec::new(),
            kept_bytes: 0,
            dropped: 0,
            at: 0,
            scrolls,
            hold,
        };
        if hold && self.transaction.is_none() {
            cursor.know(usize::MAX).await?;
            cursor.rest = None;
        }
        self.cursors.insert(name.to_owned(), cursor);
        Ok(())
    }

    /// At COMMIT, cursors WITH HOLD take what is left of their rows; the others end.
    pub(super) fn keep_held_cursors(&mut self) -> Result<(), SqlError> {
        self.cursors.retain(|_, cursor| cursor.hold);
        let runtime = tokio::runtime::Handle::current();
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.rest.is_some()) {
            runtime.block_on(cursor.know(usize::MAX))?;
            cursor.rest = None;
        }
        Ok(())
    }
}

fn no_cursor(name: &str) -> SqlError {
    SqlError::new(SqlState::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
}
