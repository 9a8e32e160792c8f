//! The fold: the only code that changes a state. The leader, recovery and standbys share it.
//!
//! Effects are absolute, and a replay may begin on a state that is already as later effects leave
//! it. So what an effect changes may be gone, or be of another kind, and is then left alone:
//! effects that follow say what it is at the end. Anything else that does not fit is a broken
//! state, and stops.

use crate::collection::Collection;
use crate::effect::{Effect, PutExpiry};
use crate::hash::HashObject;
use crate::state::{Lsn, State, Tombstone};
use crate::stream::{Group, Pending, StreamObject};
use crate::table::{Kind, Position};

impl State {
    /// Applies an effect. Effects are absolute, so applying one again does no harm.
    pub fn apply(&mut self, lsn: Lsn, effect: &Effect<'_>) {
        self.last_lsn = self.last_lsn.max(lsn);
        if let Effect::Put { key, value, expiry } = *effect {
            // The most frequent effect, so the shortest way.
            self.put(lsn, key, value, expiry);
            self.interest.changed(key, lsn);
            return;
        }
        self.fold(lsn, effect);
        match effect.key() {
            Some(key) => self.interest.changed(key, lsn),
            None => self.interest.all_changed(lsn),
        }
    }

    fn fold(&mut self, lsn: Lsn, effect: &Effect<'_>) {
        match *effect {
            Effect::Put { key, value, expiry } => self.put(lsn, key, value, expiry),
            Effect::Delete { key } => self.delete(lsn, key),
            Effect::Clear => self.clear(lsn),
            Effect::Expire { key, at_ms } => self.expire(lsn, key, at_ms),
            Effect::Splice { key, offset, bytes } => self.splice(lsn, key, offset, bytes),
            Effect::HashPut { key, field, value } => {
                self.make_hash(lsn, key, |hash| hash.put(field, value, lsn));
            }
            Effect::HashDelete { key, field } => {
                self.change_hash(lsn, key, |hash| hash.remove(field, lsn));
            }
            Effect::StreamAppend { key, id, idempotency, fields } => {
                self.make_stream(lsn, key, |stream| stream.append(id, idempotency, fields));
            }
            Effect::StreamDelete { key, id } => {
                self.change_stream(lsn, key, |stream| stream.delete_record(id));
            }
            Effect::StreamTrim { key, below } => {
                self.change_stream(lsn, key, |stream| stream.trim(below));
            }
            Effect::StreamCounters { key, last, added, max_deleted } => {
                self.make_stream(lsn, key, |stream| stream.set_counters(last, added, max_deleted));
            }
            Effect::IdempotencyLimit { key, records } => {
                self.make_stream(lsn, key, |stream| stream.limit_idempotency(records));
            }
            Effect::GroupPut { key, group, last_delivered: id, read } => {
                self.change_stream(lsn, key, |stream| stream.put_group(group, id, read, lsn));
            }
            Effect::GroupDelete { key, group } => {
                self.change_stream(lsn, key, |stream| stream.delete_group(group, lsn));
            }
            Effect::ConsumerPut { key, group, consumer, seen_ms, active_ms } => {
                self.change_group(lsn, key, group, |g| g.put_consumer(consumer, seen_ms, active_ms))
            }
            Effect::ConsumerDelete { key, group, consumer } => {
                self.change_group(lsn, key, group, |group| group.delete_consumer(consumer));
            }
            Effect::PendingPut { key, group, id, consumer, delivered_ms, deliveries } => {
                let pending = Pending { consumer: consumer.into(), delivered_ms, deliveries };
                self.change_group(lsn, key, group, |group| group.put_pending(id, pending));
            }
            Effect::PendingDelete { key, group, id } => {
                self.change_group(lsn, key, group, |group| group.delete_pending(id));
            }
        }
    }

    fn put(&mut self, lsn: Lsn, key: &[u8], value: &[u8], expiry: PutExpiry) {
        let position = match self.table.find(key) {
            Some(position) => {
                self.become_kind(position, Kind::String, lsn);
                let entry = self.table.replace_value(position, value);
                entry.lsn = lsn;
                entry.set_dirty(true);
                self.touch(position);
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

    fn splice(&mut self, lsn: Lsn, key: &[u8], offset: u64, bytes: &[u8]) {
        let position = self.find_or_insert(key, Kind::String, lsn);
        self.table.splice_value(position, offset as usize, bytes);
        self.mark(position, lsn);
    }

    fn expire(&mut self, lsn: Lsn, key: &[u8], at_ms: u64) {
        let Some(position) = self.table.find(key) else { return };
        self.set_expiry(position, (at_ms > 0).then_some(at_ms));
        self.mark(position, lsn);
    }

    fn delete(&mut self, lsn: Lsn, key: &[u8]) {
        self.vanished_lsn = lsn;
        let Some(position) = self.table.find(key) else { return };
        let entry = self.remove_entry(position);
        if entry.is_stored() {
            self.residence.stored_entry_left();
            let tombstone = Tombstone { lsn, elements: entry.has_stored_elements() };
            self.residence.bury(key, tombstone);
        } else {
            self.residence.note_gone(key, lsn);
        }
    }

    fn clear(&mut self, lsn: Lsn) {
        let positions: Vec<Position> = self.table.iter().map(|(position, _)| position).collect();
        for position in positions {
            self.remove_entry(position);
        }
        assert!(self.collection_bytes == 0, "a state lost count of its collections' bytes");
        self.vanished_lsn = lsn;
        self.residence.clear(lsn);
    }
}

/// Keys of a kind.
impl State {
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
        if let Some(tombstone) = self.residence.unbury(key) {
            let entry = self.table.live_mut(position);
            entry.set_stored(true);
            entry.set_stored_elements(tombstone.elements);
            self.residence.stored_hot += 1;
        }
        self.attach_new(position, kind, lsn);
        position
    }

    fn become_kind(&mut self, position: Position, kind: Kind, lsn: Lsn) {
        let entry = self.table.live_mut(position);
        if entry.is(kind) {
            return;
        }
        let was_string = entry.is(Kind::String);
        entry.set_kind(kind);
        if was_string {
            self.table.replace_value(position, b"");
        } else {
            self.drop_collection(position);
        }
        self.attach_new(position, kind, lsn);
    }

    fn attach_new(&mut self, position: Position, kind: Kind, lsn: Lsn) {
        if let Some(collection) = Collection::new(kind, self.hash_seed, lsn) {
            self.attach_collection(position, collection);
        }
    }

    fn mark(&mut self, position: Position, lsn: Lsn) {
        let entry = self.table.live_mut(position);
        entry.lsn = lsn;
        entry.set_dirty(true);
    }
}

/// Collections.
impl State {
    /// Changes the hash of a key, made where it is not there.
    fn make_hash(&mut self, lsn: Lsn, key: &[u8], change: impl FnOnce(&mut HashObject)) {
        let position = self.find_or_insert(key, Kind::Hash, lsn);
        self.hash_changes(lsn, position, change);
    }

    /// Changes the hash of a key, if it is there.
    fn change_hash(&mut self, lsn: Lsn, key: &[u8], change: impl FnOnce(&mut HashObject)) {
        let Some(position) = self.table.find(key) else { return };
        if self.table.live(position).is(Kind::Hash) {
            self.hash_changes(lsn, position, change);
        } else {
            self.mark(position, lsn);
        }
    }

    fn hash_changes(&mut self, lsn: Lsn, position: Position, change: impl FnOnce(&mut HashObject)) {
        self.change_collection(position, |collection| match collection.as_hash_mut() {
            Some(hash) => change(hash),
            None => panic!("a key is a hash and its value is not"),
        });
        self.mark(position, lsn);
    }

    /// Changes the stream of a key, made where it is not there.
    fn make_stream(&mut self, lsn: Lsn, key: &[u8], change: impl FnOnce(&mut StreamObject)) {
        let position = self.find_or_insert(key, Kind::Stream, lsn);
        self.stream_changes(lsn, position, change);
    }

    /// Changes the stream of a key, if it is there.
    fn change_stream(&mut self, lsn: Lsn, key: &[u8], change: impl FnOnce(&mut StreamObject)) {
        let Some(position) = self.table.find(key) else { return };
        if self.table.live(position).is(Kind::Stream) {
            self.stream_changes(lsn, position, change);
        } else {
            self.mark(position, lsn);
        }
    }

    /// Changes a group of a stream, if both are there.
    fn change_group(
        &mut self,
        lsn: Lsn,
        key: &[u8],
        group: &[u8],
        change: impl FnOnce(&mut Group),
    ) {
        self.change_stream(lsn, key, |stream| stream.change_group(group, lsn, change));
    }

    fn stream_changes(
        &mut self,
        lsn: Lsn,
        position: Position,
        change: impl FnOnce(&mut StreamObject),
    ) {
        self.change_collection(position, |collection| match collection.as_stream_mut() {
            Some(stream) => change(stream),
            None => panic!("a key is a stream and its value is not"),
        });
        self.mark(position, lsn);
    }
}
