//! Bulk appending to streams: bodies of NDJSON, a JSON array, CSV or Arrow IPC become one batch of
//! records.

use crate::catalog::StreamDefinition;
use crate::database::{Database, Inner};
use crate::error::{SqlError, SqlState};
use crate::sql::statement::{Statement, parse};
use crate::streams::{Appender, Fields};
use datafusion::arrow::csv::reader::Format as CsvFormat;
use datafusion::arrow::ipc::reader::StreamReader;
use serde_json::Value;

pub use crate::streams::Appended;

/// How the records of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFormat {
    /// One object.
    Object,
    /// An object a line.
    Ndjson,
    /// An array of objects.
    Array,
    /// With a line of names first.
    Csv,
    /// Arrow IPC, streaming format.
    Arrow,
}

impl AppendFormat {
    /// The format that a media type names, for a body that begins so.
    pub fn of_media_type(text: &str, body: &[u8]) -> Self {
        let has = |part: &str| text.contains(part);
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            _ if has("ndjson") || has("jsonl") => Self::Ndjson,
            _ if has("csv") => Self::Csv,
            _ if has("arrow") => Self::Arrow,
            Some(b'[') => Self::Array,
            _ => Self::Object,
        }
    }
}

impl Database {
    /// The keys of a declared stream's partitions.
    pub fn partition_keys(&self, name: &str) -> Option<Vec<String>> {
        let stream = self.inner.catalog.stream(name)?;
        Some((0..stream.partitions).map(|partition| stream.key(name, partition)).collect())
    }

    /// Declares a stream, given as what would stand after its name in CREATE STREAM.
    pub fn declare_stream(&self, name: &str, rest: &str) -> Result<bool, SqlError> {
        let quoted = name.replace('"', "\"\"");
        let statements = parse(&format!("CREATE STREAM \"{quoted}\" {rest}"))?;
        let [Statement::CreateStream { name, definition, .. }] = statements.as_slice() else {
            return Err(SqlError::new(SqlState::SyntaxError, "one declaration is expected"));
        };
        definition.check(name)?;
        if self.inner.catalog.stream(name).as_ref() == Some(definition) {
            // Putting the same twice is no error.
            return Ok(false);
        }
        self.inner.create_stream(name, definition.clone(), false)
    }

    /// Appends the records of a body: all of them or none. Blocks the thread.
    pub fn append(
        &self,
        name: &str,
        format: AppendFormat,
        body: &[u8],
    ) -> Result<Appended, SqlError> {
        let definition = self.inner.catalog.stream(name).unwrap_or_default();
        append(&self.inner, name, &definition, format, body)
    }
}

fn append(
    inner: &Inner,
    name: &str,
    definition: &StreamDefinition,
    format: AppendFormat,
    body: &[u8],
) -> Result<Appended, SqlError> {
    let mut appender = Appender::new(&inner.engine, name, definition);
    match format {
        AppendFormat::Object => appender.append(vec![fields_of(body, 0)?]),
        AppendFormat::Ndjson => {
            let lines = body.split(|&byte| byte == b'\n').enumerate();
            let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
            let records = lines.map(|(number, line)| fields_of(line, number));
            appender.append(records.collect::<Result<_, _>>()?)
        }
        AppendFormat::Array => {
            let records: Vec<Value> = serde_json::from_slice(body)
                .map_err(|error| wrong(format!("the body is not an array of objects: {error}")))?;
            let records = records.into_iter().enumerate();
            let records = records.map(|(number, record)| fields_of_value(record, number));
            appender.append(records.collect::<Result<_, _>>()?)
        }
        AppendFormat::Csv => appender.append(csv(body)?),
        AppendFormat::Arrow => {
            let reader = StreamReader::try_new(body, None)
                .map_err(|error| wrong(format!("the body is not Arrow IPC: {error}")))?;
            let mut records = Vec::new();
            for batch in reader {
                let batch =
                    batch.map_err(|error| wrong(format!("the body is not Arrow IPC: {error}")))?;
                records.extend(appender.records_of(&batch)?);
            }
            appender.append(records)
        }
    }
}

fn wrong(message: String) -> SqlError {
    SqlError::new(SqlState::InvalidText, message)
}

/// A record of a JSON object: a string is its text, null is no value, anything else its JSON.
fn fields_of(json: &[u8], number: usize) -> Result<Fields, SqlError> {
    let at = number + 1;
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| wrong(format!("record {at}: not JSON: {error}; nothing was appended")))?;
    fields_of_value(value, number)
}

fn fields_of_value(value: Value, number: usize) -> Result<Fields, SqlError> {
    let at = number + 1;
    let Value::Object(object) = value else {
        return Err(wrong(format!("record {at}: not an object; nothing was appended")));
    };
    let values = object.into_iter().filter_map(|(name, value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.into_bytes(),
            other => other.to_string().into_bytes(),
        };
        Some((name.into_bytes(), text))
    });
    Ok(values.collect())
}

fn csv(body: &[u8]) -> Result<Vec<Fields>, SqlError> {
    use datafusion::arrow::array::{Array, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    let failed = |error| wrong(format!("the body is not CSV: {error}; nothing was appended"));
    let format = CsvFormat::default().with_header(true);
    let (schema, _) = format.infer_schema(body, Some(0)).map_err(failed)?;
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let reader = datafusion::arrow::csv::ReaderBuilder::new(schema.into())
        .with_format(format)
        .build(body)
        .map_err(failed)?;
    let mut records = Vec::new();
    for batch in reader {
        let batch = batch.map_err(failed)?;
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let mut fields = Fields::new();
            for (field, array) in schema.fields().iter().zip(batch.columns()) {
                if let Some(texts) = array.as_any().downcast_ref::<StringArray>()
                    && texts.is_valid(row)
                {
                    fields.push((
                        field.name().as_bytes().to_vec(),
                        texts.value(row).as_bytes().to_vec(),
                    ));
                }
            }
            records.push(fields);
        }
    }
    Ok(records)
}

/// A stream as JSON declares it; every field but `columns` may be missing.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Declaration {
    #[serde(default)]
    columns: Vec<DeclaredColumn>,
    partitions: Option<u16>,
    /// A column, or `ROUND ROBIN`, `RANDOM`, `HASH(column)`, `RANGE(column) VALUES (…)`.
    partition_by: Option<String>,
    watermark: Option<DeclaredWatermark>,
    retention: Option<String>,
    retention_bytes: Option<String>,
    segment_records: Option<u64>,
    on_error: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredColumn {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "yes")]
    nullable: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredWatermark {
    column: String,
    delay: String,
}

fn yes() -> bool {
    true
}

impl Database {
    /// Declares a stream given as JSON; false if it is there already, the same.
    pub fn declare_stream_json(&self, name: &str, definition: Value) -> Result<bool, SqlError> {
        let declared: Declaration =
            serde_json::from_value(definition).map_err(|error| wrong(error.to_string()))?;
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut rest = String::new();
        if !declared.columns.is_empty() {
            let columns = declared.columns.iter().map(|column| {
                let null = if column.nullable { "" } else { " NOT NULL" };
                format!("{} {}{null}", quote(&column.name), column.kind)
            });
            rest.push_str(&format!("({})", columns.collect::<Vec<_>>().join(", ")));
        }
        if let Some(by) = &declared.partition_by {
            rest.push_str(&format!(" PARTITION BY {by}"));
        }
        if let Some(watermark) = &declared.watermark {
            let column = quote(&watermark.column);
            let delay = text(&watermark.delay);
            rest.push_str(&format!(" WATERMARK FOR {column} AS {column} - INTERVAL {delay}"));
        }
        let options = [
            ("partitions", declared.partitions.map(|count| count.to_string())),
            ("retention", declared.retention.as_deref().map(text)),
            ("retention_bytes", declared.retention_bytes.as_deref().map(text)),
            ("segment_records", declared.segment_records.map(|count| count.to_string())),
            ("on_error", declared.on_error.as_deref().map(text)),
        ];
        let options =
            options.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}", value?)));
        let options = options.collect::<Vec<_>>().join(", ");
        if !options.is_empty() {
            rest.push_str(&format!(" WITH ({options})"));
        }
        self.declare_stream(name, &rest)
    }
}
