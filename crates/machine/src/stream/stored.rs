//! A stream as the checkpoint, the digest and a copy see it.
//!
//! In the store its head has the last ID, the number of records added, the highest deleted ID and
//! the limit of the idempotency window (IDs and numbers as in effects). Its elements are records
//! (`r` and the ID in 16 bytes, big-endian) and groups (`g` and the name).

use super::{Group, StreamId, StreamObject, fields_of, idempotency_hash, idempotency_of};
use crate::coded::coded;
use crate::collection::{Elements, Incarnation, suffix};
use crate::effect::{Effect, put_id, put_varint, take_id, take_varint};
use crate::state::{ElementChange, KeyChange, Lsn};

coded! {
    /// What an element's name begins with.
    enum Tag {
        Record = b'r',
        Group = b'g',
    }
}

/// The name of an element, taken apart.
enum Element<'a> {
    Record(StreamId),
    Group(&'a [u8]),
}

impl<'a> Element<'a> {
    fn parse(suffix: &'a [u8]) -> Option<Self> {
        let (&tag, name) = suffix.split_first()?;
        Some(match Tag::from_code(tag)? {
            Tag::Record => Self::Record(StreamId::from_sortable(name)?),
            Tag::Group => Self::Group(name),
        })
    }
}

impl Elements for StreamObject {
    fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    fn incarnation_mut(&mut self) -> &mut Incarnation {
        &mut self.incarnation
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.records.bytes()
            + self.idempotency.len() * 28
            + self.removed.len() * 16
            + self.group_bytes
    }

    fn digest(&self, field: &mut dyn FnMut(&[u8])) {
        field(&self.last.to_sortable());
        field(&self.added.to_le_bytes());
        field(&self.max_deleted.to_sortable());
        field(&self.idempotency_limit.to_le_bytes());
        for (id, blob) in self.records.iter_from(StreamId::MIN) {
            field(&id.to_sortable());
            field(blob);
        }
        for (name, group) in &self.groups {
            field(name);
            field(&group.encode());
        }
    }

    fn put_head(&self, head: &mut Vec<u8>) {
        put_id(head, self.last);
        put_varint(head, self.added);
        put_id(head, self.max_deleted);
        put_varint(head, self.idempotency_limit);
    }

    fn collect(&self, elements: &mut Vec<ElementChange>) {
        let record = |id: StreamId| suffix(Tag::Record as u8, &id.to_sortable());
        for &id in &self.removed {
            elements.push(ElementChange { suffix: record(id), value: None });
        }
        let from = if self.incarnation.fresh { Some(StreamId::MIN) } else { self.stored_to.next() };
        for (id, blob) in from.into_iter().flat_map(|from| self.records.iter_from(from)) {
            elements.push(ElementChange { suffix: record(id), value: Some(blob.to_vec()) });
        }
        for (name, group) in &self.groups {
            if self.incarnation.fresh || group.lsn > group.stored_lsn {
                let value = Some(group.encode());
                elements.push(ElementChange { suffix: suffix(Tag::Group as u8, name), value });
            }
        }
        for name in self.removed_groups.keys() {
            elements.push(ElementChange { suffix: suffix(Tag::Group as u8, name), value: None });
        }
    }

    fn stored(&mut self, change: &KeyChange) {
        let mut deleted = foldhash::HashSet::<StreamId>::default();
        for element in &change.elements {
            let Some(name) = Element::parse(&element.suffix) else {
                panic!("a stream collected an unknown element: {:?}", element.suffix);
            };
            match (name, &element.value) {
                (Element::Record(id), Some(_)) => {
                    self.stored_to = self.stored_to.max(id);
                    if self.records.get(id).is_none() {
                        self.removed.push(id);
                    }
                }
                (Element::Record(id), None) => {
                    deleted.insert(id);
                }
                (Element::Group(name), Some(_)) => match self.groups.get_mut(name) {
                    Some(group) => group.stored_lsn = group.stored_lsn.max(change.lsn),
                    None => {
                        self.removed_groups.insert(name.into(), change.lsn);
                    }
                },
                (Element::Group(name), None) => {
                    let newer = |lsn: Lsn| lsn > change.lsn;
                    self.removed_groups.retain(|group, lsn| **group != *name || newer(*lsn));
                }
            }
        }
        self.removed.retain(|id| !deleted.contains(id));
    }

    fn install(
        &mut self,
        _lsn: Lsn,
        head: &mut &[u8],
        elements: &[(Vec<u8>, Vec<u8>)],
    ) -> Option<()> {
        for (suffix, value) in elements {
            match Element::parse(suffix)? {
                Element::Record(id) => {
                    self.records.push(id, value);
                    if let Some(key) = idempotency_of(value) {
                        self.idempotency.insert(idempotency_hash(key), id);
                    }
                }
                Element::Group(name) => {
                    let mut group = Group::decode(value)?;
                    group.stored_lsn = 1;
                    self.recount_group(0, group.bytes());
                    self.groups.insert(name.into(), group);
                }
            }
        }
        self.last = take_id(head)?;
        self.added = take_varint(head)?;
        self.max_deleted = take_id(head)?;
        self.idempotency_limit = take_varint(head)?;
        self.bound_idempotency();
        self.stored_to = self.last;
        Some(())
    }

    fn describe(&self, key: &[u8], emit: &mut dyn FnMut(&Effect<'_>)) {
        emit(&Effect::IdempotencyLimit { key, records: self.idempotency_limit });
        for (id, blob) in self.records.iter_from(StreamId::MIN) {
            let idempotency = idempotency_of(blob).unwrap_or_default();
            emit(&Effect::StreamAppend { key, id, idempotency, fields: fields_of(blob) });
        }
        let (last, added, max_deleted) = (self.last, self.added, self.max_deleted);
        emit(&Effect::StreamCounters { key, last, added, max_deleted });
        for (name, group) in &self.groups {
            describe_group(key, name, group, emit);
        }
    }
}

fn describe_group(key: &[u8], name: &[u8], group: &Group, emit: &mut dyn FnMut(&Effect<'_>)) {
    let (last_delivered, read) = (group.last_delivered, group.read);
    emit(&Effect::GroupPut { key, group: name, last_delivered, read });
    for (consumer, about) in &group.consumers {
        let (seen_ms, active_ms) = (about.seen_ms, about.active_ms);
        emit(&Effect::ConsumerPut { key, group: name, consumer, seen_ms, active_ms });
    }
    for (id, pending) in &group.pending {
        emit(&Effect::PendingPut {
            key,
            group: name,
            id: *id,
            consumer: &pending.consumer,
            delivered_ms: pending.delivered_ms,
            deliveries: pending.deliveries,
        });
    }
}
