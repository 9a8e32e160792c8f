//! Appending to a stream: which partition a record goes to, and batches that are appended as a
//! whole or not at all.

use crate::catalog::{OnError, Partitioner, StreamDefinition};
use crate::error::{SqlError, SqlState};
use crate::values::record::{fits, put_text};
use crate::write::{Write, write_all};
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::compute::cast;
use thalweg_node::Engine;

/// Records that are appended in one transaction.
const TRANSACTION_RECORDS: usize = 4_096;

/// A record: names and values.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Puts records into a stream.
pub(crate) struct Appender<'a> {
    engine: &'a Engine,
    name: &'a str,
    definition: &'a StreamDefinition,
    turn: u64,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Records in the stream.
    pub appended: u64,
    /// Records in its dead-letter stream.
    pub dead: u64,
}

impl<'a> Appender<'a> {
    pub(crate) fn new(engine: &'a Engine, name: &'a str, definition: &'a StreamDefinition) -> Self {
        // Each batch goes on somewhere else, so that small ones spread, too.
        let turn = engine.now_ms().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        Self { engine, name, definition, turn }
    }

    /// The writes that would append rows, for a transaction.
    pub(crate) fn writes_of_batch(
        &mut self,
        batch: &RecordBatch,
    ) -> Result<(Vec<Write>, Appended), SqlError> {
        let records = self.records_of(batch)?;
        self.writes(records)
    }

    pub(crate) fn records_of(&self, batch: &RecordBatch) -> Result<Vec<Fields>, SqlError> {
        let schema = batch.schema();
        let mut columns = Vec::new();
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            let declared =
                self.definition.columns.iter().find(|column| column.name == *field.name());
            let array = match declared {
                Some(column) => cast(array, &column.kind.arrow()).map_err(|error| {
                    SqlError::new(SqlState::DatatypeMismatch, error.to_string())
                })?,
                None => array.clone(),
            };
            columns.push((field.name().as_bytes().to_vec(), array));
        }
        let mut records = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut fields = Fields::new();
            for (name, array) in &columns {
                if array.is_null(row) {
                    continue;
                }
                let mut text = Vec::new();
                put_text(&mut text, array.as_ref(), row).ok_or_else(|| {
                    let name = String::from_utf8_lossy(name);
                    SqlError::unsupported(format!(
                        "column \"{name}\" has a type that records cannot hold"
                    ))
                })?;
                fields.push((name.clone(), text));
            }
            records.push(fields);
        }
        Ok(records)
    }

    /// Appends records: all of them, or, where one does not fit and the stream says so, none.
    pub(crate) fn append(&mut self, records: Vec<Fields>) -> Result<Appended, SqlError> {
        let (writes, outcome) = self.writes(records)?;
        for writes in writes.chunks(TRANSACTION_RECORDS) {
            write_all(self.engine, writes)?;
        }
        Ok(outcome)
    }

    fn writes(&mut self, records: Vec<Fields>) -> Result<(Vec<Write>, Appended), SqlError> {
        let mut outcome = Appended::default();
        let mut writes = Vec::with_capacity(records.len());
        for (number, fields) in records.into_iter().enumerate() {
            match self.misfit(&fields) {
                None => {
                    let key = self.key_for(&fields)?;
                    writes.push(Write::Append { key: key.into_bytes(), fields });
                    outcome.appended += 1;
                }
                Some((_, reason)) if self.definition.on_error == OnError::DeadLetter => {
                    let record = serde_json::Map::from_iter(fields.iter().map(|(name, value)| {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        (text(name), text(value).into())
                    }));
                    let record = serde_json::Value::Object(record).to_string().into_bytes();
                    let fields = vec![
                        (b"reason".to_vec(), reason.into_bytes()),
                        (b"record".to_vec(), record),
                    ];
                    let key = format!("{}.dead", self.name).into_bytes();
                    writes.push(Write::Append { key, fields });
                    outcome.dead += 1;
                }
                Some((state, reason)) => {
                    let message = format!("record {}: {reason}; nothing was appended", number + 1);
                    return Err(SqlError::new(state, message));
                }
            }
        }
        Ok((writes, outcome))
    }

    /// Why a record does not fit, if it does not.
    fn misfit(&self, fields: &Fields) -> Option<(SqlState, String)> {
        if self.definition.columns.is_empty() && fields.is_empty() {
            return Some((SqlState::InvalidText, "a record has at least one field".to_owned()));
        }
        misfit(self.definition, |wanted| {
            let found = fields.iter().find(|(name, _)| name == wanted.as_bytes());
            found.map(|(_, value)| value.as_slice())
        })
    }

    /// The key of the partition that a record goes to.
    fn key_for(&mut self, fields: &Fields) -> Result<String, SqlError> {
        self.turn = self.turn.wrapping_add(1);
        let value_of = |wanted: &str| {
            let found = fields.iter().find(|(name, _)| name == wanted.as_bytes());
            found.map_or(&[][..], |(_, value)| value.as_slice())
        };
        let number = partition_of(self.definition, value_of, self.turn);
        Ok(self.definition.key(self.name, number))
    }
}

/// Why a record does not fit a stream, if it does not; `value_of` gives its values by their names.
pub(crate) fn misfit<'a>(
    definition: &StreamDefinition,
    value_of: impl Fn(&str) -> Option<&'a [u8]>,
) -> Option<(SqlState, String)> {
    for column in &definition.columns {
        let Some(value) = value_of(&column.name) else {
            if column.nullable || column.name.starts_with('_') {
                continue;
            }
            let reason = format!("column \"{}\" has no value", column.name);
            return Some((SqlState::NotNullViolation, reason));
        };
        let absent = value.is_empty() && column.nullable;
        if !absent && !fits(column.kind, value) {
            let shown = value.get(..60.min(value.len())).unwrap_or_default();
            let shown = String::from_utf8_lossy(shown);
            let kind = column.kind.name();
            let reason = format!("column \"{}\": '{shown}' is not a {kind}", column.name);
            return Some((SqlState::InvalidText, reason));
        }
    }
    None
}

/// The partition that a record belongs to; `value_of` gives its values by their names, `turn`
/// counts records.
pub(crate) fn partition_of<'a>(
    definition: &StreamDefinition,
    value_of: impl Fn(&str) -> &'a [u8],
    turn: u64,
) -> u16 {
    let count = u64::from(definition.partitions);
    let number = match &definition.partitioner {
        _ if count == 1 => 0,
        // Stable for ever: producers may compute it, too.
        Partitioner::Hash(column) => xxhash_rust::xxh3::xxh3_64(value_of(column)) % count,
        Partitioner::RoundRobin => turn % count,
        Partitioner::Random => xxhash_rust::xxh3::xxh3_64(&turn.to_le_bytes()) % count,
        Partitioner::Range(column, bounds) => {
            let value = value_of(column);
            bounds.partition_point(|bound| bound.as_bytes() <= value) as u64
        }
    };
    number as u16
}
