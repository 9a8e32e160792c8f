//! Hashes: their value, and the H commands.

mod read;
mod scan;
mod write;

pub(crate) use read::{hexists, hget, hgetall, hkeys, hlen, hmget, hrandfield, hstrlen, hvals};
pub(crate) use scan::hscan;
pub(crate) use write::{hdel, hincrby, hincrbyfloat, hmset, hset, hsetnx};

use crate::state::Lsn;
use crate::table::{Kind, Position, Table};
use foldhash::HashMap;

/// The value of a hash: fields in a table of their own, each with its LSN.
pub(crate) struct HashObject {
    pub(crate) fields: Table,
    /// Fields that the checkpoint store holds and that were deleted.
    pub(crate) removed: HashMap<Box<[u8]>, Lsn>,
    /// Nothing of this incarnation has been stored: whatever elements the store has belong to an
    /// earlier one.
    pub(crate) fresh: bool,
    /// When this incarnation was made; 0 for one that was read from the store.
    pub(crate) born_lsn: Lsn,
}

impl HashObject {
    pub(crate) fn new(hash_seed: u64, born_lsn: Lsn) -> Self {
        Self { fields: Table::new(hash_seed), removed: HashMap::default(), fresh: true, born_lsn }
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        Some(self.fields.entry(self.fields.find(field)?)?.value())
    }

    pub(crate) fn put(&mut self, field: &[u8], value: &[u8], lsn: Lsn) {
        match self.fields.find(field) {
            Some(position) => {
                self.fields.replace_value(position, value);
                self.mark(position, lsn);
            }
            None => {
                let position = self.fields.insert(field, value, Kind::String, lsn);
                if self.removed.remove(field).is_some()
                    && let Some(entry) = self.fields.entry_mut(position)
                {
                    entry.set_stored(true);
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, field: &[u8], lsn: Lsn) {
        let Some(position) = self.fields.find(field) else { return };
        let Some(entry) = self.fields.remove(position) else { return };
        if entry.is_stored() {
            self.removed.insert(field.into(), lsn);
        }
    }

    fn mark(&mut self, position: Position, lsn: Lsn) {
        if let Some(entry) = self.fields.entry_mut(position) {
            entry.lsn = lsn;
            entry.set_dirty(true);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.fields.bytes() + self.removed.len() * 48
    }

    /// Fields and values in slab order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(_, entry)| (entry.key(), entry.value()))
    }
}
