//! Writes that are kept until they are made: those of a transaction, or of a batch of records.

use crate::error::SqlError;
use thalweg_node::{Engine, Session};

/// A write, with what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Gives a string a value.
    Put { key: Vec<u8>, value: Vec<u8> },
    /// Deletes a key of any kind.
    Delete { key: Vec<u8> },
    /// Gives a field of a hash a value.
    PutField { key: Vec<u8>, field: Vec<u8>, value: Vec<u8> },
    /// Deletes a field of a hash.
    DeleteField { key: Vec<u8>, field: Vec<u8> },
    /// Appends a record of these names and values to a stream.
    Append { key: Vec<u8>, fields: Vec<(Vec<u8>, Vec<u8>)> },
    /// Leaves so many of a stream's newest records.
    Trim { key: Vec<u8>, records: u64 },
}

impl Write {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Delete { key } | Self::Trim { key, .. } => key.len(),
            Self::Put { key, value } => key.len() + value.len(),
            Self::PutField { key, field, value } => key.len() + field.len() + value.len(),
            Self::DeleteField { key, field } => key.len() + field.len(),
            Self::Append { key, fields } => {
                let pair = |(name, value): &(Vec<u8>, Vec<u8>)| name.len() + value.len() + 48;
                key.len() + fields.iter().map(pair).sum::<usize>()
            }
        }
    }
}

/// Makes writes as one batch: all of them, or none. Waits until they are durable.
pub(crate) fn write_all(engine: &Engine, writes: &[Write]) -> Result<(), SqlError> {
    write_all_in(engine, &mut Session::default(), writes).map(|_happened| ())
}

/// The same in a session that watches keys; false where one of them has changed, so nothing was
/// written.
pub(crate) fn write_all_in(
    engine: &Engine,
    session: &mut Session,
    writes: &[Write],
) -> Result<bool, SqlError> {
    let fields: Vec<Vec<&[u8]>> = writes.iter().map(fields_of).collect();
    let writes: Vec<_> =
        writes.iter().zip(&fields).map(|(write, fields)| borrowed(write, fields)).collect();
    Ok(engine.enter_blocking(|engine| engine.write_all(session, &writes))??)
}

fn fields_of(write: &Write) -> Vec<&[u8]> {
    match write {
        Write::Append { fields, .. } => {
            fields.iter().flat_map(|(name, value)| [name.as_slice(), value]).collect()
        }
        _ => Vec::new(),
    }
}

fn borrowed<'a>(write: &'a Write, fields: &'a [&'a [u8]]) -> thalweg_machine::Write<'a> {
    use thalweg_machine::Write as Borrowed;
    match write {
        Write::Put { key, value } => Borrowed::Put { key, value },
        Write::Delete { key } => Borrowed::Delete { key },
        Write::PutField { key, field, value } => Borrowed::PutField { key, field, value },
        Write::DeleteField { key, field } => Borrowed::DeleteField { key, field },
        Write::Append { key, .. } => Borrowed::Append { key, fields },
        Write::Trim { key, records } => Borrowed::Trim { key, records: *records },
    }
}
