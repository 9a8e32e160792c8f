//! Writes and reads of programs that have types instead of a command's words: SQL, and whoever
//! embeds a node.
//!
//! All writes of a call are checked before the first one is decided. So what is refused has changed
//! nothing.

use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::Execution;
use crate::hash::check_field;
use crate::stream::{Trim, next_id, pack_fields, trim_point};
use crate::table::Kind;
use std::collections::BTreeMap;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// Gives a string a value; what was there before, of whatever kind, and its expiry are gone.
    Put {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Deletes a key of any kind.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Gives a field of a hash a value.
    PutField {
        /// The hash's key.
        key: &'a [u8],
        /// The field.
        field: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Deletes a field of a hash. A hash without fields is no hash.
    DeleteField {
        /// The hash's key.
        key: &'a [u8],
        /// The field.
        field: &'a [u8],
    },
    /// Appends a record to a stream, under the next ID.
    Append {
        /// The stream's key.
        key: &'a [u8],
        /// Names and values, in turn.
        fields: &'a [&'a [u8]],
    },
    /// Forgets the oldest records of a stream.
    Trim {
        /// The stream's key.
        key: &'a [u8],
        /// How many of the newest records stay.
        records: u64,
    },
}

impl<'a> Write<'a> {
    /// The key that it writes.
    pub fn key(&self) -> &'a [u8] {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::PutField { key, .. }
            | Self::DeleteField { key, .. }
            | Self::Append { key, .. }
            | Self::Trim { key, .. } => key,
        }
    }

    /// What it takes its key for.
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Put { .. } => Some(Kind::String),
            Self::Delete { .. } => None,
            Self::PutField { .. } | Self::DeleteField { .. } => Some(Kind::Hash),
            Self::Append { .. } | Self::Trim { .. } => Some(Kind::Stream),
        }
    }

    /// Bytes that it adds: values and names.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Delete { .. } | Self::DeleteField { .. } | Self::Trim { .. } => 0,
            Self::Put { key, value } => key.len() + value.len(),
            Self::PutField { key, field, value } => key.len() + field.len() + value.len(),
            Self::Append { key, fields } => {
                key.len() + fields.iter().map(|field| field.len()).sum::<usize>()
            }
        }
    }

    /// Whether it only takes away.
    pub fn shrinks(&self) -> bool {
        matches!(self, Self::Delete { .. } | Self::DeleteField { .. } | Self::Trim { .. })
    }
}

/// Refuses writes that treat one key as two things: each is checked against the state before all
/// of them.
fn check_kinds(writes: &[Write<'_>]) -> Result<(), CommandError> {
    let Some((first, rest)) = writes.split_first() else { return Ok(()) };
    if rest.iter().all(|write| write.kind() == first.kind()) {
        return Ok(());
    }
    let mut kinds = BTreeMap::new();
    for write in writes {
        if *kinds.entry(write.key()).or_insert(write.kind()) != write.kind() {
            return Err(CommandError::WRONG_TYPE);
        }
    }
    Ok(())
}

impl Execution<'_> {
    /// Makes all of these writes, in order; where one of them is refused, none.
    pub fn write_all(&mut self, writes: &[Write<'_>]) -> Result<(), CommandError> {
        check_kinds(writes)?;
        for write in writes {
            self.check_write(write)?;
        }
        for write in writes {
            self.write(write)?;
        }
        Ok(())
    }

    fn check_write(&mut self, write: &Write<'_>) -> Result<(), CommandError> {
        match write {
            Write::Put { key, value } => self.check_sizes(key, value.len()),
            Write::Delete { .. } => Ok(()),
            Write::PutField { key, field, value } => {
                check_field(self, key, field, value.len())?;
                self.find_kind(key, Kind::Hash).map(|_| ())
            }
            Write::DeleteField { key, .. } => self.find_kind(key, Kind::Hash).map(|_| ()),
            Write::Trim { key, .. } => self.find_kind(key, Kind::Stream).map(|_| ()),
            Write::Append { key, fields } => {
                if fields.is_empty() || fields.len() % 2 == 1 {
                    return Err(CommandError::new("a record has names and values, in turn"));
                }
                self.check_sizes(key, fields.iter().map(|field| field.len()).sum())?;
                let now_ms = self.now_ms;
                next_id(self.find_stream(key)?, b"*", now_ms).map(|_| ())
            }
        }
    }

    fn write(&mut self, write: &Write<'_>) -> Result<(), CommandError> {
        match write {
            Write::Put { key, value } => {
                self.emit(&Effect::Put { key, value, expiry: PutExpiry::Never });
            }
            Write::Delete { key } => {
                if self.find(key).is_some() {
                    self.emit(&Effect::Delete { key });
                }
            }
            Write::PutField { key, field, value } => {
                self.emit(&Effect::HashPut { key, field, value });
            }
            Write::DeleteField { key, field } => {
                let fields = match self.find_hash(key)? {
                    Some(hash) if hash.get(field).is_some() => hash.len(),
                    _ => 0,
                };
                match fields {
                    0 => {}
                    1 => self.emit(&Effect::Delete { key }),
                    _ => self.emit(&Effect::HashDelete { key, field }),
                }
            }
            Write::Trim { key, records } => {
                let stream = self.find_stream(key)?;
                let below =
                    stream.and_then(|stream| trim_point(stream, &Trim::to_length(*records)));
                if let Some(below) = below {
                    self.emit(&Effect::StreamTrim { key, below });
                }
            }
            Write::Append { key, fields } => {
                let now_ms = self.now_ms;
                let id = next_id(self.find_stream(key)?, b"*", now_ms)?;
                let packed = pack_fields(fields);
                let fields = &packed;
                self.emit(&Effect::StreamAppend { key, id, idempotency: &[], fields });
            }
        }
        Ok(())
    }

    /// Gives the value of a hash's field to `visit`, if there is such a field. False: there is
    /// none.
    pub fn visit_field(
        &mut self,
        key: &[u8],
        field: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, CommandError> {
        match self.find_hash(key)?.and_then(|hash| hash.get(field)) {
            Some(value) => {
                visit(value);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
