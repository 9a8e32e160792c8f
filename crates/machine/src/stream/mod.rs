//! Streams: their value, and the X commands.

mod add;
mod claim;
mod fold;
mod group;
mod groups;
mod id;
mod info;
mod pending;
mod range;
mod read;
mod records;
mod stored;
mod trim;

pub use add::{NewRecord, new_record};
pub(crate) use add::{next_id, xadd, xcfgset, xsetid};
pub(crate) use claim::{xautoclaim, xclaim};
pub(crate) use group::{Consumer, Group, Pending};
pub(crate) use groups::{xack, xgroup};
pub use id::StreamId;
pub(crate) use info::xinfo;
pub(crate) use pending::xpending;
pub(crate) use range::{xlen, xrange, xrevrange};
pub(crate) use read::{xread, xreadgroup};
pub(crate) use records::Records;
pub(crate) use trim::{Trim, trim_point, xdel, xtrim};

use crate::collection::Incarnation;
use crate::effect::{put_bytes, take_bytes};
use crate::state::Lsn;
use foldhash::HashMap;
use std::collections::BTreeMap;

/// Idempotency keys that a stream remembers unless told otherwise.
const IDEMPOTENCY_RECORDS: u64 = 1_000_000;

/// The value of a stream.
pub(crate) struct StreamObject {
    pub(crate) records: Records,
    pub(crate) last: StreamId,
    pub(crate) added: u64,
    pub(crate) max_deleted: StreamId,
    pub(crate) groups: BTreeMap<Box<[u8]>, Group>,
    /// Hashes of idempotency keys to the records that carry them. A record that is gone is
    /// forgotten here, too.
    pub(crate) idempotency: HashMap<u64, StreamId>,
    pub(crate) idempotency_limit: u64,
    /// For the checkpoint: everything above this ID is not stored yet.
    pub(crate) stored_to: StreamId,
    /// Stored records that were deleted since.
    pub(crate) removed: Vec<StreamId>,
    /// Stored groups that were deleted since.
    pub(crate) removed_groups: BTreeMap<Box<[u8]>, Lsn>,
    pub(crate) incarnation: Incarnation,
    group_bytes: usize,
}

impl StreamObject {
    /// An empty stream, made at this LSN.
    pub(crate) fn born(lsn: Lsn) -> Self {
        Self {
            records: Records::default(),
            last: StreamId::MIN,
            added: 0,
            max_deleted: StreamId::MIN,
            groups: BTreeMap::new(),
            idempotency: HashMap::default(),
            idempotency_limit: IDEMPOTENCY_RECORDS,
            stored_to: StreamId::MIN,
            removed: Vec::new(),
            removed_groups: BTreeMap::new(),
            incarnation: Incarnation::born(lsn),
            group_bytes: 0,
        }
    }

    /// Adds a record whose ID is above all others.
    pub(crate) fn append(&mut self, id: StreamId, idempotency: &[u8], fields: &[u8]) {
        if id <= self.last && self.added > 0 {
            // Replay over a checkpoint that already has it.
            self.remember(id, idempotency);
            return;
        }
        self.last = id;
        self.added += 1;
        if self.records.last_id().is_some_and(|top| id <= top) {
            // The same, where a replayed change of the counters had set them back.
            self.remember(id, idempotency);
            return;
        }
        let mut blob = Vec::with_capacity(idempotency.len() + fields.len() + 2);
        put_bytes(&mut blob, idempotency);
        blob.extend_from_slice(fields);
        self.records.push(id, &blob);
        self.remember(id, idempotency);
    }

    /// Puts a record's idempotency key into the window, if the record is there.
    fn remember(&mut self, id: StreamId, idempotency: &[u8]) {
        if !idempotency.is_empty() && self.records.get(id).is_some() {
            self.idempotency.insert(idempotency_hash(idempotency), id);
        }
    }

    /// Deletes a record; says whether it was there.
    pub(crate) fn delete(&mut self, id: StreamId) -> bool {
        let Some(blob) = self.records.get(id) else { return false };
        if let Some(hash) = idempotency_of(blob).map(idempotency_hash)
            && self.idempotency.get(&hash) == Some(&id)
        {
            self.idempotency.remove(&hash);
        }
        self.records.remove(id);
        if id <= self.stored_to {
            self.removed.push(id);
        }
        self.max_deleted = self.max_deleted.max(id);
        true
    }

    /// Deletes all records below an ID.
    pub(crate) fn trim(&mut self, below: StreamId) {
        while let Some(first) = self.records.first_id().filter(|&first| first < below) {
            let max_deleted = self.max_deleted;
            assert!(self.delete(first), "the first record of a stream is not in it");
            // Trimming is not deleting: the counter is for holes in the middle.
            self.max_deleted = max_deleted;
        }
    }

    /// The record that carries an idempotency key, if the window still has it.
    pub(crate) fn find_idempotent(&self, key: &[u8]) -> Option<StreamId> {
        let id = *self.idempotency.get(&idempotency_hash(key))?;
        let blob = self.records.get(id)?;
        (idempotency_of(blob) == Some(key)).then_some(id)
    }

    /// Forgets the oldest idempotency keys beyond the limit. They are the oldest records', so a
    /// walk from the front finds them.
    pub(crate) fn bound_idempotency(&mut self) {
        if self.idempotency.len() as u64 <= self.idempotency_limit {
            return;
        }
        // One pass for many: forget an eighth at a time.
        let keep = (self.idempotency_limit - self.idempotency_limit / 8) as usize;
        let excess = self.idempotency.len().saturating_sub(keep);
        let mut ids: Vec<(StreamId, u64)> =
            self.idempotency.iter().map(|(&hash, &id)| (id, hash)).collect();
        if excess < ids.len() {
            ids.select_nth_unstable(excess);
        }
        for (_, hash) in ids.into_iter().take(excess) {
            self.idempotency.remove(&hash);
        }
    }

    /// Called after any change to groups, so that memory stays accounted for.
    pub(crate) fn recount_group(&mut self, before: usize, after: usize) {
        assert!(before <= self.group_bytes + after, "a stream lost count of its groups' bytes");
        self.group_bytes = self.group_bytes + after - before;
    }

    /// Records that a group has not read, where that can be known.
    pub(crate) fn lag(&self, group: &Group) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        let read = match group.read {
            Some(read) if !self.has_hole_after(group.last_delivered) => read,
            _ => self.read_estimate(group.last_delivered)?,
        };
        Some(self.added.saturating_sub(read))
    }

    /// How many records were added up to an ID, where that can be told without counting.
    pub(crate) fn read_estimate(&self, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        let len = self.records.len() as u64;
        if len == 0 && id <= self.last {
            return Some(self.added);
        }
        if id < self.last && id < self.max_deleted {
            return None;
        }
        if id == self.last {
            return Some(self.added);
        }
        if id > self.last {
            return None;
        }
        let first = self.records.first_id()?;
        if self.max_deleted == StreamId::MIN || self.max_deleted < first {
            if id < first {
                return Some(self.added - len);
            }
            if id == first {
                return Some(self.added - len + 1);
            }
        }
        None
    }

    fn has_hole_after(&self, id: StreamId) -> bool {
        self.max_deleted != StreamId::MIN && !self.records.is_empty() && id < self.max_deleted
    }
}

/// What identifies a record's producer and request; empty for records without.
pub(crate) fn idempotency_of(blob: &[u8]) -> Option<&[u8]> {
    let mut rest = blob;
    take_bytes(&mut rest).filter(|key| !key.is_empty())
}

/// The packed fields in a stored record.
pub(crate) fn fields_of(blob: &[u8]) -> &[u8] {
    let mut rest = blob;
    take_bytes(&mut rest);
    rest
}

pub(crate) fn idempotency_hash(key: &[u8]) -> u64 {
    // A fixed hash: it is only a shortcut to the record, whose key is then compared, but a hash
    // that differs between nodes would let collisions differ, too.
    xxhash_rust::xxh3::xxh3_64(key)
}

/// Packs field names and values into a record's bytes: each a varint length and that many bytes.
pub fn pack_fields(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|field| field.len() + 2).sum());
    for field in fields {
        put_bytes(&mut out, field);
    }
    out
}

/// Unpacks a record's bytes into names and values, alternating.
pub fn unpack_fields(packed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packed;
    std::iter::from_fn(move || take_bytes(&mut rest))
}
