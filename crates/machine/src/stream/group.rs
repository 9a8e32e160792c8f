//! A consumer group: how far it has read, who reads, and what is delivered but not acknowledged.

use super::StreamId;
use crate::effect::{put_bytes, put_id, put_varint, take_bytes, take_id, take_varint};
use crate::state::Lsn;
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Group {
    pub(crate) last_delivered: StreamId,
    /// How many records were read; `None` where nobody can know.
    pub(crate) read: Option<u64>,
    pub(crate) consumers: BTreeMap<Box<[u8]>, Consumer>,
    pub(crate) pending: BTreeMap<StreamId, Pending>,
    /// When it last changed, and when it was last stored.
    pub(crate) lsn: Lsn,
    pub(crate) stored_lsn: Lsn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) seen_ms: u64,
    /// 0: it never got a record.
    pub(crate) active_ms: u64,
    pub(crate) pending: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) consumer: Box<[u8]>,
    pub(crate) delivered_ms: u64,
    pub(crate) deliveries: u64,
}

impl Group {
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.consumers.len() * 80 + self.pending.len() * 72
    }

    /// The group's bytes in the checkpoint store: last delivered id, varint records read + 1,
    /// varint consumers, each with name, seen and active time, varint pending records, each with
    /// id, consumer, time and deliveries.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_id(&mut out, self.last_delivered);
        put_varint(&mut out, self.read.map_or(0, |read| read.saturating_add(1)));
        put_varint(&mut out, self.consumers.len() as u64);
        for (name, consumer) in &self.consumers {
            put_bytes(&mut out, name);
            put_varint(&mut out, consumer.seen_ms);
            put_varint(&mut out, consumer.active_ms);
        }
        put_varint(&mut out, self.pending.len() as u64);
        for (id, pending) in &self.pending {
            put_id(&mut out, *id);
            put_bytes(&mut out, &pending.consumer);
            put_varint(&mut out, pending.delivered_ms);
            put_varint(&mut out, pending.deliveries);
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let mut group = Self {
            last_delivered: take_id(rest)?,
            read: take_varint(rest)?.checked_sub(1),
            ..Self::default()
        };
        for _ in 0..take_varint(rest)? {
            let name = take_bytes(rest)?;
            let consumer =
                Consumer { seen_ms: take_varint(rest)?, active_ms: take_varint(rest)?, pending: 0 };
            group.consumers.insert(name.into(), consumer);
        }
        for _ in 0..take_varint(rest)? {
            let id = take_id(rest)?;
            let pending = Pending {
                consumer: take_bytes(rest)?.into(),
                delivered_ms: take_varint(rest)?,
                deliveries: take_varint(rest)?,
            };
            group.put_pending(id, pending);
        }
        rest.is_empty().then_some(group)
    }
}
