//! Hashes: their value, and the H commands.

mod read;
mod scan;
mod stored;
mod write;

pub(crate) use read::{hexists, hget, hgetall, hkeys, hlen, hmget, hrandfield, hstrlen, hvals};
pub(crate) use scan::hscan;
pub(crate) use write::{check_field, hdel, hincrby, hincrbyfloat, hmset, hset, hsetnx};

use crate::collection::Incarnation;
use crate::state::Lsn;
use crate::table::{Kind, Table};
use foldhash::HashMap;

/// The value of a hash: fields in a table of their own, each with its LSN.
pub(crate) struct HashObject {
    pub(crate) fields: Table,
    /// Fields that the checkpoint store holds and that were deleted.
    pub(crate) removed: HashMap<Box<[u8]>, Lsn>,
    pub(crate) incarnation: Incarnation,
}

impl HashObject {
    pub(crate) fn new(hash_seed: u64, born_lsn: Lsn) -> Self {
        Self {
            fields: Table::new(hash_seed),
            removed: HashMap::default(),
            incarnation: Incarnation::born(born_lsn),
        }
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        Some(self.fields.live(self.fields.find(field)?).value())
    }

    pub(crate) fn put(&mut self, field: &[u8], value: &[u8], lsn: Lsn) {
        match self.fields.find(field) {
            Some(position) => {
                let entry = self.fields.replace_value(position, value);
                entry.lsn = lsn;
                entry.set_dirty(true);
            }
            None => {
                let position = self.fields.insert(field, value, Kind::String, lsn);
                if self.removed.remove(field).is_some() {
                    self.fields.live_mut(position).set_stored(true);
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, field: &[u8], lsn: Lsn) {
        let Some(position) = self.fields.find(field) else { return };
        let entry = self.fields.remove(position);
        if entry.is_stored() {
            self.removed.insert(field.into(), lsn);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Fields and values in slab order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(_, entry)| (entry.key(), entry.value()))
    }
}
