//! Answers as bytes, for HTTP: JSON, NDJSON, CSV and Arrow, a piece for each batch of rows.

use crate::database::Database;
use crate::error::{SqlError, SqlState};
use crate::sql::cancel::Cancel;
use crate::sql::request::Statements;
use crate::sql::session::{Outcome, Prepared, Session};
use crate::sql::stop;
use crate::values::moment::Moment;
use crate::values::parse;
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder as CsvWriterBuilder;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::writer::{
    JsonArray, LineDelimited, WriterBuilder as JsonWriterBuilder,
};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::SendableRecordBatchStream;
use futures_util::stream::Peekable;
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"columns": [{"name": …, "type": …}], "rows": [{…}, …]}`.
    Json,
    /// A row a line, as an object.
    Ndjson,
    /// With a line of names first.
    Csv,
    /// Arrow IPC, streaming format.
    Arrow,
}

impl Format {
    /// The format that a media type asks for; JSON where it does not say.
    pub fn of_media_type(text: &str) -> Self {
        let has = |part: &str| text.contains(part);
        match () {
            () if has("ndjson") || has("jsonl") => Self::Ndjson,
            () if has("csv") => Self::Csv,
            () if has("arrow") => Self::Arrow,
            () => Self::Json,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

impl Database {
    /// Runs the statements of a request's text; the last one's answer comes piece by piece. An
    /// error before the first row is given at once.
    pub async fn answer(
        &self,
        Statements(cancel): Statements,
        text: &str,
        parameters: &[Value],
        format: Format,
    ) -> Result<impl Stream<Item = Result<Bytes, SqlError>> + Send + 'static, SqlError> {
        let mut session = self.session();
        begin(&cancel, &session);
        if parameters.is_empty() {
            let point = async { Ok::<_, SqlError>(session.point(text).await) };
            if let Some((prepared, values)) = cancel.guarded(Box::pin(point)).await? {
                let work = Box::pin(session.execute(&prepared, values));
                let outcome = cancel.guarded(work).await?;
                let (schema, rows) = first_rows(&cancel, outcome).await?;
                return Ok(pieces(rows, Encoder::new(format, schema), session, cancel));
            }
        }
        let mut all = stop::within_now(cancel.stop(), || session.parse_all(text))?;
        let Some(last) = all.pop() else {
            return Err(SqlError::new(SqlState::SyntaxError, "there is no statement"));
        };
        if !all.is_empty() && !parameters.is_empty() {
            let message = "parameters go with one statement";
            return Err(SqlError::new(SqlState::SyntaxError, message));
        }
        for prepared in all {
            run_whole(&cancel, &mut session, &prepared).await?;
            begin(&cancel, &session);
        }
        let (schema, rows) = run_last(&cancel, &mut session, last, parameters).await?;
        Ok(pieces(rows, Encoder::new(format, schema), session, cancel))
    }
}

/// A statement begins.
fn begin(cancel: &Cancel, session: &Session) {
    cancel.begin(session.variables.lock().statement_timeout_ms());
}

/// Runs a statement that others follow: nobody sees its rows.
async fn run_whole(
    cancel: &Cancel,
    session: &mut Session,
    prepared: &Prepared,
) -> Result<(), SqlError> {
    let work = Box::pin(async {
        if let Outcome::Rows(mut rows) = session.execute(prepared, Vec::new()).await? {
            while let Some(batch) = rows.stream.next().await {
                batch?;
            }
        }
        Ok::<(), SqlError>(())
    });
    cancel.guarded(work).await
}

/// Runs the last statement up to its first rows.
async fn run_last(
    cancel: &Cancel,
    session: &mut Session,
    mut last: Prepared,
    parameters: &[Value],
) -> Result<(SchemaRef, Peekable<SendableRecordBatchStream>), SqlError> {
    let work = Box::pin(async {
        session.prepare(&mut last, &[]).await?;
        let values = values_of(&last, parameters, &session.moment())?;
        session.execute(&last, values).await
    });
    let outcome = cancel.guarded(work).await?;
    first_rows(cancel, outcome).await
}

/// Waits for the first rows: an error that comes with them is still an error of the request.
async fn first_rows(
    cancel: &Cancel,
    outcome: Outcome,
) -> Result<(SchemaRef, Peekable<SendableRecordBatchStream>), SqlError> {
    let (schema, rows) = match outcome {
        Outcome::Rows(rows) => (rows.schema, rows.stream),
        Outcome::Done(tag) => done(&tag)?,
    };
    let mut rows = rows.peekable();
    let work = async {
        match std::pin::Pin::new(&mut rows).peek().await {
            Some(Err(_)) => Ok(rows.next().await.transpose().map(drop)?),
            _ => Ok::<(), SqlError>(()),
        }
    };
    cancel.guarded(work).await?;
    Ok((schema, rows))
}

/// The rows as bytes. The session lives until the last of them.
fn pieces(
    rows: Peekable<SendableRecordBatchStream>,
    encoder: Encoder,
    session: Session,
    cancel: Arc<Cancel>,
) -> impl Stream<Item = Result<Bytes, SqlError>> + Send + 'static {
    futures_util::stream::unfold(
        (rows, encoder, false, session, cancel),
        async |(mut rows, mut encoder, ended, session, cancel)| {
            if ended {
                return None;
            }
            let next = async { rows.next().await.transpose().map_err(SqlError::from) };
            let (piece, ended) = match cancel.guarded(next).await {
                Ok(Some(batch)) => (encoder.batch(&batch), false),
                Ok(None) => (encoder.end(), true),
                Err(error) => (Err(error), true),
            };
            let ended = ended || piece.is_err();
            if ended {
                cancel.end();
            }
            Some((piece.map(Bytes::from), (rows, encoder, ended, session, cancel)))
        },
    )
}

/// What a statement without rows answers: one row that says what it did.
fn done(tag: &str) -> Result<(SchemaRef, SendableRecordBatchStream), SqlError> {
    let (rows, schema) = crate::sql::session::text_rows("done", vec![Some(tag.to_owned())])?;
    Ok((schema, rows))
}

/// Values for a statement's parameters, as its types have them.
fn values_of(
    prepared: &Prepared,
    given: &[Value],
    moment: &Moment,
) -> Result<Vec<ScalarValue>, SqlError> {
    let wanted = prepared.parameters.len();
    if given.len() != wanted {
        let message = format!("{} parameters given, {wanted} wanted", given.len());
        return Err(SqlError::new(SqlState::ProtocolViolation, message));
    }
    let pairs = prepared.parameters.iter().zip(given);
    pairs
        .map(|(field, value)| match value {
            Value::Null => Ok(ScalarValue::try_from(field.data_type())?),
            Value::String(text) => parse::scalar_of_text(text, field, moment),
            // As it stands in the request.
            other => parse::scalar_of_text(&other.to_string(), field, moment),
        })
        .collect()
}

struct Encoder {
    format: Format,
    schema: SchemaRef,
    started: bool,
    rows: u64,
}

fn wrap(error: ArrowError) -> SqlError {
    DataFusionError::from(error).into()
}

impl Encoder {
    fn new(format: Format, schema: SchemaRef) -> Self {
        Self { format, schema, started: false, rows: 0 }
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, SqlError> {
        let mut out = Vec::new();
        let first = !std::mem::replace(&mut self.started, true);
        match self.format {
            Format::Csv => {
                let mut writer = CsvWriterBuilder::new().with_header(first).build(&mut out);
                writer.write(batch).map_err(wrap)?;
            }
            Format::Ndjson => {
                let builder = JsonWriterBuilder::new().with_explicit_nulls(true);
                let mut writer = builder.build::<_, LineDelimited>(&mut out);
                writer.write(batch).map_err(wrap)?;
                writer.finish().map_err(wrap)?;
            }
            Format::Json => {
                if first {
                    out.extend(self.head());
                }
                let mut array = Vec::new();
                let builder = JsonWriterBuilder::new().with_explicit_nulls(true);
                let mut writer = builder.build::<_, JsonArray>(&mut array);
                writer.write(batch).map_err(wrap)?;
                writer.finish().map_err(wrap)?;
                if self.rows > 0 && batch.num_rows() > 0 {
                    out.push(b',');
                }
                let inside = array.strip_prefix(b"[").and_then(|array| array.strip_suffix(b"]"));
                out.extend_from_slice(inside.unwrap_or_default());
            }
            Format::Arrow => {
                let mut writer = StreamWriter::try_new(&mut out, &self.schema).map_err(wrap)?;
                // The schema is written by making the writer; later pieces go on without it.
                let head = writer.get_ref().len();
                writer.write(batch).map_err(wrap)?;
                drop(writer);
                if !first {
                    out.drain(..head);
                }
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(out)
    }

    fn head(&self) -> Vec<u8> {
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| json!({ "name": field.name(), "type": sql_name(field.data_type()) }));
        let columns = Value::Array(columns.collect());
        format!("{{\"columns\":{columns},\"rows\":[").into_bytes()
    }

    fn end(&mut self) -> Result<Vec<u8>, SqlError> {
        let mut out = Vec::new();
        if !self.started {
            out = self.batch(&RecordBatch::new_empty(self.schema.clone()))?;
        }
        match self.format {
            Format::Json => out.extend_from_slice(b"]}\n"),
            Format::Arrow => {
                let mut tail = Vec::new();
                let mut writer = StreamWriter::try_new(&mut tail, &self.schema).map_err(wrap)?;
                let head = writer.get_ref().len();
                writer.finish().map_err(wrap)?;
                drop(writer);
                out.extend_from_slice(tail.get(head..).unwrap_or_default());
            }
            Format::Csv | Format::Ndjson => {}
        }
        Ok(out)
    }
}

/// The SQL name of an answer's column.
pub(crate) fn sql_name(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint".into(),
        DataType::Int32 | DataType::UInt16 => "integer".into(),
        DataType::Int64 | DataType::UInt32 => "bigint".into(),
        DataType::UInt64 => "numeric".into(),
        DataType::Float16 | DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("numeric({precision},{scale})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        other => other.to_string().to_lowercase(),
    }
}
