//! Effects: the deterministic changes that a command decides, and their bytes in the log.
//!
//! Every effect is absolute: it says what is afterwards, not how to get there. So applying a suffix
//! of the log to a state that already contains part of it ends in the same state, which is what
//! lets checkpoints be taken while writes go on.
//!
//! A batch's payload is a row of records. A record is an operation byte and its fields; `bytes` is
//! a varint length and that many bytes, `varint` is LEB128, `id` is a stream ID as two varints
//! (milliseconds, sequence). The high bit of the operation byte says that the effect belongs to the
//! next LSN; without it, to the same LSN as the one before.
//!
//! | operation | effect | fields |
//! |---|---|---|
//! | 0 | the LSN is now … (before a batch's first record, and at every jump) | u64 little-endian |
//! | 1 | put a string | key bytes, value bytes |
//! | 2 | put a string that expires | key bytes, value bytes, varint expiry in ms since 1970 |
//! | 3 | delete a key | key bytes |
//! | 4 | set or (0) remove a key's expiry | key bytes, varint expiry in ms |
//! | 5 | write into a string | key bytes, varint offset, bytes |
//! | 6 | put a field of a hash | key bytes, field bytes, value bytes |
//! | 7 | delete a field of a hash | key bytes, field bytes |
//! | 8 | delete every key of the partition | |
//! | 9 | append a record to a stream | key bytes, id, idempotency key bytes, packed fields bytes |
//! | 10 | delete a record of a stream | key bytes, id |
//! | 11 | delete a stream's records below an ID | key bytes, id |
//! | 12 | set a stream's counters, create it | key bytes, last id, varint added, highest deleted |
//! | 13 | put a consumer group | key, group bytes, last id, varint records read + 1 (0: unknown) |
//! | 14 | delete a consumer group | key bytes, group bytes |
//! | 15 | put a consumer | key, group, consumer bytes, varint seen ms, varint active ms |
//! | 16 | delete a consumer and what it had pending | key bytes, group bytes, consumer bytes |
//! | 17 | put a pending record | key, group, id, consumer bytes, varint delivered ms, deliveries |
//! | 18 | delete a pending record | key bytes, group bytes, id |
//! | 19 | set the limit of a stream's idempotency window | key bytes, varint records |

mod decode;

use crate::coded::coded;
use crate::state::Lsn;
use crate::stream::StreamId;
pub use decode::Effects;
pub(crate) use decode::{take_bytes, take_id, take_varint};

const NEXT_LSN: u8 = 0x80;
const SET_LSN: u8 = 0;

coded! {
    /// The operation byte of an effect's record, without the high bit: up to 127.
    enum Operation {
        Put = 1,
        PutExpiring = 2,
        Delete = 3,
        Expire = 4,
        Splice = 5,
        HashPut = 6,
        HashDelete = 7,
        Clear = 8,
        StreamAppend = 9,
        StreamDelete = 10,
        StreamTrim = 11,
        StreamCounters = 12,
        GroupPut = 13,
        GroupDelete = 14,
        ConsumerPut = 15,
        ConsumerDelete = 16,
        PendingPut = 17,
        PendingDelete = 18,
        IdempotencyLimit = 19,
    }
}

/// What a put does about expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutExpiry {
    /// The key does not expire.
    Never,
    /// It expires at this time, in milliseconds since 1970.
    At(u64),
}

/// A deterministic change of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table at the head of this file says it once")]
pub enum Effect<'a> {
    Put {
        key: &'a [u8],
        value: &'a [u8],
        expiry: PutExpiry,
    },
    Delete {
        key: &'a [u8],
    },
    Expire {
        key: &'a [u8],
        at_ms: u64,
    },
    Splice {
        key: &'a [u8],
        offset: u64,
        bytes: &'a [u8],
    },
    HashPut {
        key: &'a [u8],
        field: &'a [u8],
        value: &'a [u8],
    },
    HashDelete {
        key: &'a [u8],
        field: &'a [u8],
    },
    Clear,
    StreamAppend {
        key: &'a [u8],
        id: StreamId,
        idempotency: &'a [u8],
        fields: &'a [u8],
    },
    StreamDelete {
        key: &'a [u8],
        id: StreamId,
    },
    StreamTrim {
        key: &'a [u8],
        below: StreamId,
    },
    StreamCounters {
        key: &'a [u8],
        last: StreamId,
        added: u64,
        max_deleted: StreamId,
    },
    GroupPut {
        key: &'a [u8],
        group: &'a [u8],
        last_delivered: StreamId,
        read: Option<u64>,
    },
    GroupDelete {
        key: &'a [u8],
        group: &'a [u8],
    },
    ConsumerPut {
        key: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
        seen_ms: u64,
        active_ms: u64,
    },
    ConsumerDelete {
        key: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
    },
    PendingPut {
        key: &'a [u8],
        group: &'a [u8],
        id: StreamId,
        consumer: &'a [u8],
        delivered_ms: u64,
        deliveries: u64,
    },
    PendingDelete {
        key: &'a [u8],
        group: &'a [u8],
        id: StreamId,
    },
    IdempotencyLimit {
        key: &'a [u8],
        records: u64,
    },
}

impl<'a> Effect<'a> {
    /// The key that the effect changes; `None` for one that changes them all.
    pub fn key(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Clear => None,
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::Expire { key, .. }
            | Self::Splice { key, .. }
            | Self::HashPut { key, .. }
            | Self::HashDelete { key, .. }
            | Self::StreamAppend { key, .. }
            | Self::StreamDelete { key, .. }
            | Self::StreamTrim { key, .. }
            | Self::StreamCounters { key, .. }
            | Self::GroupPut { key, .. }
            | Self::GroupDelete { key, .. }
            | Self::ConsumerPut { key, .. }
            | Self::ConsumerDelete { key, .. }
            | Self::PendingPut { key, .. }
            | Self::PendingDelete { key, .. }
            | Self::IdempotencyLimit { key, .. } => Some(key),
        }
    }

    /// Appends the effect's record. `next` says whether it begins the next LSN.
    fn encode(&self, next: bool, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(self.operation() as u8);
        if let Self::Put { key, value, expiry } = *self {
            // The most frequent effect, so the shortest way.
            put_bytes(out, key);
            put_bytes(out, value);
            if let PutExpiry::At(at_ms) = expiry {
                put_varint(out, at_ms);
            }
        } else {
            self.encode_fields(out);
        }
        if next && let Some(operation) = out.get_mut(start) {
            *operation |= NEXT_LSN;
        }
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Put { expiry: PutExpiry::Never, .. } => Operation::Put,
            Self::Put { expiry: PutExpiry::At(_), .. } => Operation::PutExpiring,
            Self::Delete { .. } => Operation::Delete,
            Self::Expire { .. } => Operation::Expire,
            Self::Splice { .. } => Operation::Splice,
            Self::HashPut { .. } => Operation::HashPut,
            Self::HashDelete { .. } => Operation::HashDelete,
            Self::Clear => Operation::Clear,
            Self::StreamAppend { .. } => Operation::StreamAppend,
            Self::StreamDelete { .. } => Operation::StreamDelete,
            Self::StreamTrim { .. } => Operation::StreamTrim,
            Self::StreamCounters { .. } => Operation::StreamCounters,
            Self::GroupPut { .. } => Operation::GroupPut,
            Self::GroupDelete { .. } => Operation::GroupDelete,
            Self::ConsumerPut { .. } => Operation::ConsumerPut,
            Self::ConsumerDelete { .. } => Operation::ConsumerDelete,
            Self::PendingPut { .. } => Operation::PendingPut,
            Self::PendingDelete { .. } => Operation::PendingDelete,
            Self::IdempotencyLimit { .. } => Operation::IdempotencyLimit,
        }
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        if let Some(key) = self.key() {
            put_bytes(out, key);
        }
        match *self {
            Self::Put { .. } | Self::Delete { .. } | Self::Clear => {}
            Self::Expire { at_ms, .. } => put_varint(out, at_ms),
            Self::Splice { offset, bytes, .. } => {
                put_varint(out, offset);
                put_bytes(out, bytes);
            }
            Self::HashPut { field, value, .. } => {
                put_bytes(out, field);
                put_bytes(out, value);
            }
            Self::HashDelete { field, .. } => put_bytes(out, field),
            Self::StreamAppend { id, idempotency, fields, .. } => {
                put_id(out, id);
                put_bytes(out, idempotency);
                put_bytes(out, fields);
            }
            Self::StreamDelete { id, .. } | Self::StreamTrim { below: id, .. } => put_id(out, id),
            Self::StreamCounters { last, added, max_deleted, .. } => {
                put_id(out, last);
                put_varint(out, added);
                put_id(out, max_deleted);
            }
            Self::GroupPut { group, last_delivered, read, .. } => {
                put_bytes(out, group);
                put_id(out, last_delivered);
                put_varint(out, read.map_or(0, |read| read.saturating_add(1)));
            }
            Self::GroupDelete { group, .. } => put_bytes(out, group),
            Self::ConsumerPut { group, consumer, seen_ms, active_ms, .. } => {
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_varint(out, seen_ms);
                put_varint(out, active_ms);
            }
            Self::ConsumerDelete { group, consumer, .. } => {
                put_bytes(out, group);
                put_bytes(out, consumer);
            }
            Self::PendingPut { group, id, consumer, delivered_ms, deliveries, .. } => {
                put_bytes(out, group);
                put_id(out, id);
                put_bytes(out, consumer);
                put_varint(out, delivered_ms);
                put_varint(out, deliveries);
            }
            Self::PendingDelete { group, id, .. } => {
                put_bytes(out, group);
                put_id(out, id);
            }
            Self::IdempotencyLimit { records, .. } => put_varint(out, records),
        }
    }
}

/// Effects on their way into the log.
#[derive(Default)]
pub struct EffectBuffer {
    bytes: Vec<u8>,
    first_lsn: Lsn,
    last_lsn: Lsn,
    count: u32,
}

impl EffectBuffer {
    /// Adds an effect that belongs to `lsn`, which must not be below the one before.
    pub fn push(&mut self, lsn: Lsn, effect: &Effect<'_>) {
        if self.count == 0 {
            self.first_lsn = lsn;
            self.set_lsn(lsn);
        } else if lsn > self.last_lsn + 1 {
            self.set_lsn(lsn);
        }
        effect.encode(lsn == self.last_lsn + 1, &mut self.bytes);
        self.last_lsn = lsn;
        self.count += 1;
    }

    fn set_lsn(&mut self, lsn: Lsn) {
        self.bytes.push(SET_LSN);
        self.bytes.extend_from_slice(&lsn.to_le_bytes());
        self.last_lsn = lsn;
    }

    /// The encoded effects.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many effects.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The first effect's LSN.
    pub fn first_lsn(&self) -> Lsn {
        self.first_lsn
    }

    /// The last effect's LSN.
    pub fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Empties it and keeps a reasonable amount of memory for the next effects.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        self.count = 0;
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_varint(out, id.ms);
    put_varint(out, id.sequence);
}

#[cfg(test)]
mod tests;
