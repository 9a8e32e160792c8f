//! The fold: the only code that changes a state. The leader, recovery and standbys share it.

use crate::effect::{Effect, PutExpiry};
use crate::state::{Lsn, State, Tombstone};
use crate::stream::{Consumer, Pending, StreamObject};
use crate::table::{Kind, Position};

impl State {
    /// Applies an effect. Effects are absolute, so applying one again does no harm.
    pub fn apply(&mut self, lsn: Lsn, effect: &Effect<'_>) {
        self.last_lsn = self.last_lsn.max(lsn);
        match *effect {
            Effect::Put { key, value, expiry } => self.apply_put(lsn, key, value, expiry),
            Effect::Delete { key } => self.apply_delete(lsn, key),
            Effect::Clear => self.apply_clear(lsn),
            Effect::Expire { key, at_ms } => {
                if let Some(position) = self.table.find(key) {
                    self.set_expiry(position, (at_ms > 0).then_some(at_ms));
                    self.mark(position, lsn);
                }
            }
            Effect::Splice { key, offset, bytes } => {
                let position = self.find_or_insert(key, Kind::String, lsn);
                self.table.splice_value(position, offset as usize, bytes);
                self.mark(position, lsn);
            }
            Effect::HashPut { key, field, value } => {
                let position = self.find_or_insert(key, Kind::Hash, lsn);
                if let Some(hash) = self.hashes.get_mut(&position) {
                    let before = hash.bytes();
                    hash.put(field, value, lsn);
                    self.collection_bytes = self.collection_bytes + hash.bytes() - before;
                }
                self.mark(position, lsn);
            }
            Effect::HashDelete { key, field } => {
                let Some(position) = self.table.find(key) else { return };
                if let Some(hash) = self.hashes.get_mut(&position) {
                    let before = hash.bytes();
                    hash.remove(field, lsn);
                    self.collection_bytes = self.collection_bytes + hash.bytes() - before;
                }
                self.mark(position, lsn);
            }
            _ => self.apply_stream(lsn, effect),
        }
        match effect.key() {
            Some(key) => self.interest.changed(key, lsn),
            None => self.interest.all_changed(lsn),
        }
    }

    fn apply_put(&mut self, lsn: Lsn, key: &[u8], value: &[u8], expiry: PutExpiry) {
        let position = match self.table.find(key) {
            Some(position) => {
                self.become_kind(position, Kind::String, lsn);
                self.table.replace_value(position, value);
                self.touch(position);
                self.mark(position, lsn);
                position
            }
            None => self.insert_new(key, value, Kind::String, lsn),
        };
        let at_ms = match expiry {
            PutExpiry::Never => None,
            PutExpiry::At(at_ms) => Some(at_ms),
        };
        self.set_expiry(position, at_ms);
    }

    fn apply_delete(&mut self, lsn: Lsn, key: &[u8]) {
        self.vanished_lsn = lsn;
        let Some(position) = self.table.find(key) else { return };
        let Some(entry) = self.remove_entry(position) else { return };
        if entry.is_stored() {
            self.residence.stored_hot -= 1;
            let tombstone = Tombstone { lsn, elements: entry.has_stored_elements() };
            self.residence.bury(key, tombstone);
        } else {
            self.residence.note_gone(key);
        }
    }

    fn apply_clear(&mut self, lsn: Lsn) {
        let positions: Vec<Position> = self.table.iter().map(|(position, _)| position).collect();
        for position in positions {
            self.remove_entry(position);
        }
        self.vanished_lsn = lsn;
        self.residence.clear(lsn);
    }

    fn apply_stream(&mut self, lsn: Lsn, effect: &Effect<'_>) {
        let creates = matches!(
            effect,
            Effect::StreamAppend { .. }
                | Effect::StreamCounters { .. }
                | Effect::IdempotencyLimit { .. }
        );
        let Some(key) = effect.key() else { return };
        let position = if creates {
            self.find_or_insert(key, Kind::Stream, lsn)
        } else {
            let Some(position) = self.table.find(key) else { return };
            position
        };
        if let Some(stream) = self.streams.get_mut(&position) {
            let before = stream.bytes();
            apply_to_stream(stream, lsn, effect);
            self.collection_bytes = self.collection_bytes + stream.bytes() - before;
        }
        self.mark(position, lsn);
    }

    /// The position of a key that holds this kind, made so where it does not.
    fn find_or_insert(&mut self, key: &[u8], kind: Kind, lsn: Lsn) -> Position {
        match self.table.find(key) {
            Some(position) => {
                self.become_kind(position, kind, lsn);
                position
            }
            None => self.insert_new(key, b"", kind, lsn),
        }
    }

    fn insert_new(&mut self, key: &[u8], value: &[u8], kind: Kind, lsn: Lsn) -> Position {
        let position = self.insert_entry(key, value, kind, lsn);
        if let Some(tombstone) = self.residence.unbury(key)
            && let Some(entry) = self.table.entry_mut(position)
        {
            entry.set_stored(true);
            entry.set_stored_elements(tombstone.elements);
            self.residence.stored_hot += 1;
        }
        self.attach_collection(position, kind, lsn);
        position
    }

    fn become_kind(&mut self, position: Position, kind: Kind, lsn: Lsn) {
        let Some(entry) = self.table.entry_mut(position) else { return };
        let before = entry.kind();
        if before == kind {
            return;
        }
        entry.set_kind(kind);
        if before == Kind::String {
            self.table.replace_value(position, b"");
        } else {
            self.drop_collection(position);
        }
        self.attach_collection(position, kind, lsn);
    }

    fn attach_collection(&mut self, position: Position, kind: Kind, lsn: Lsn) {
        match kind {
            Kind::String => {}
            Kind::Hash => {
                let hash = self.new_hash(lsn);
                self.collection_bytes += hash.bytes();
                self.hashes.insert(position, hash);
            }
            Kind::Stream => {
                let stream = Box::new(StreamObject::born(lsn));
                self.collection_bytes += stream.bytes();
                self.streams.insert(position, stream);
            }
        }
    }

    fn mark(&mut self, position: Position, lsn: Lsn) {
        if let Some(entry) = self.table.entry_mut(position) {
            entry.lsn = lsn;
            entry.set_dirty(true);
        }
    }
}

fn apply_to_stream(stream: &mut StreamObject, lsn: Lsn, effect: &Effect<'_>) {
    match *effect {
        Effect::StreamAppend { id, idempotency, fields, .. } => {
            stream.append(id, idempotency, fields);
            stream.bound_idempotency();
        }
        Effect::StreamDelete { id, .. } => {
            stream.delete(id);
            // Also where a younger checkpoint does not have the record any more and its counters
            // were replayed.
            stream.max_deleted = stream.max_deleted.max(id);
        }
        Effect::StreamTrim { below, .. } => stream.trim(below),
        Effect::StreamCounters { last, added, max_deleted, .. } => {
            stream.last = last;
            stream.added = added;
            stream.max_deleted = max_deleted;
        }
        Effect::IdempotencyLimit { records, .. } => {
            stream.idempotency_limit = records;
            stream.bound_idempotency();
        }
        Effect::GroupDelete { group, .. } => {
            let before = stream.group_size(group);
            if stream.groups.remove(group).is_some_and(|group| group.stored_lsn > 0) {
                stream.removed_groups.insert(group.into(), lsn);
            }
            stream.recount_group(before, 0);
        }
        Effect::GroupPut { group, .. }
        | Effect::ConsumerPut { group, .. }
        | Effect::ConsumerDelete { group, .. }
        | Effect::PendingPut { group, .. }
        | Effect::PendingDelete { group, .. } => apply_to_group(stream, lsn, group, effect),
        _ => {}
    }
}

fn apply_to_group(stream: &mut StreamObject, lsn: Lsn, name: &[u8], effect: &Effect<'_>) {
    let before = stream.group_size(name);
    if matches!(effect, Effect::GroupPut { .. }) && !stream.groups.contains_key(name) {
        // Where the store still has an earlier group of this name, it must hear of this one's end,
        // too.
        let stored_lsn = u64::from(stream.removed_groups.remove(name).is_some());
        let group = crate::stream::Group { stored_lsn, ..Default::default() };
        stream.groups.insert(name.into(), group);
    }
    let Some(group) = stream.groups.get_mut(name) else { return };
    group.lsn = lsn;
    match *effect {
        Effect::GroupPut { last_delivered, read, .. } => {
            group.last_delivered = last_delivered;
            group.read = read;
        }
        Effect::ConsumerPut { consumer, seen_ms, active_ms, .. } => {
            let pending = group.consumers.get(consumer).map_or(0, |consumer| consumer.pending);
            group.consumers.insert(consumer.into(), Consumer { seen_ms, active_ms, pending });
        }
        Effect::ConsumerDelete { consumer, .. } => group.delete_consumer(consumer),
        Effect::PendingPut { id, consumer, delivered_ms, deliveries, .. } => {
            let pending = Pending { consumer: consumer.into(), delivered_ms, deliveries };
            group.put_pending(id, pending);
        }
        Effect::PendingDelete { id, .. } => group.delete_pending(id),
        _ => {}
    }
    let after = group.bytes();
    stream.recount_group(before, after);
}
