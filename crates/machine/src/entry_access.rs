//! Entries with their versions. The HTTP door needs them, and no Redis command gives them.

use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::Execution;
use crate::state::Lsn;
use crate::stream::{StreamId, fields_of};
use crate::table::Kind;

/// A string as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringEntry {
    /// The value.
    pub value: Vec<u8>,
    /// The LSN of the last change.
    pub version: Lsn,
    /// When it expires, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

/// The condition of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// There is no such key.
    Absent,
    /// There is such a key.
    Present,
    /// The key has one of these versions.
    Version(Vec<Lsn>),
    /// The key has none of these versions.
    NotVersion(Vec<Lsn>),
}

impl Condition {
    fn holds(&self, version: Option<Lsn>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => version.is_none(),
            Self::Present => version.is_some(),
            Self::Version(versions) => version.is_some_and(|version| versions.contains(&version)),
            Self::NotVersion(versions) => {
                version.is_none_or(|version| !versions.contains(&version))
            }
        }
    }
}

/// How a conditional write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The key was not there and is now.
    Created(Lsn),
    /// The key was there and has another value now, or is gone.
    Changed(Lsn),
    /// There is no such key, so there was nothing to do.
    Missing,
    /// The condition does not hold.
    Refused,
}

impl Execution<'_> {
    /// Reads a string with its version.
    pub fn read_string(&mut self, key: &[u8]) -> Result<Option<StringEntry>, CommandError> {
        let Some(position) = self.find_kind(key, Kind::String)? else { return Ok(None) };
        let state = self.states.of(key);
        let expires_at_ms = state.expiry_ms(position);
        let entry = state.entry(position);
        let (value, version) = (entry.value().to_vec(), entry.lsn);
        Ok(Some(StringEntry { value, version, expires_at_ms }))
    }

    /// Visits a stream's records above an ID, with their packed fields, until the visitor has had
    /// enough. Gives the stream's last ID ever, or nothing where there is no such stream.
    pub fn visit_records(
        &mut self,
        key: &[u8],
        after: StreamId,
        visit: &mut dyn FnMut(StreamId, &[u8]) -> bool,
    ) -> Result<Option<StreamId>, CommandError> {
        let Some(stream) = self.find_stream(key)? else { return Ok(None) };
        if let Some(start) = after.next() {
            for (id, blob) in stream.records.iter_from(start) {
                if !visit(id, fields_of(blob)) {
                    break;
                }
            }
        }
        Ok(Some(stream.last))
    }

    /// Visits all fields of a hash. Gives false where there is no such key.
    pub fn visit_fields(
        &mut self,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool, CommandError> {
        let Some(hash) = self.find_hash(key)? else { return Ok(false) };
        for (field, value) in hash.iter() {
            visit(field, value);
        }
        Ok(true)
    }

    /// Writes a string if a condition holds.
    pub fn put_string(
        &mut self,
        key: &[u8],
        value: &[u8],
        expires_at_ms: Option<u64>,
        condition: &Condition,
    ) -> Result<WriteOutcome, CommandError> {
        self.check_sizes(key, value.len())?;
        let version = self.version_of(key);
        if !condition.holds(version) {
            return Ok(WriteOutcome::Refused);
        }
        let expiry = expires_at_ms.map_or(PutExpiry::Never, PutExpiry::At);
        self.emit(&Effect::Put { key, value, expiry });
        Ok(match version {
            Some(_) => WriteOutcome::Changed(self.lsn),
            None => WriteOutcome::Created(self.lsn),
        })
    }

    /// Deletes a key of any type if a condition holds.
    pub fn delete_key(&mut self, key: &[u8], condition: &Condition) -> WriteOutcome {
        let version = self.version_of(key);
        match version {
            _ if !condition.holds(version) => WriteOutcome::Refused,
            None => WriteOutcome::Missing,
            Some(_) => {
                self.emit(&Effect::Delete { key });
                WriteOutcome::Changed(self.lsn)
            }
        }
    }

    fn version_of(&mut self, key: &[u8]) -> Option<Lsn> {
        let position = self.find(key)?;
        Some(self.states.of(key).entry(position).lsn)
    }
}
