//! What goes between memory and the checkpoint store.
//!
//! A key's *head* in the store is: kind (1 byte: 0 a string, 1 a hash, 2 a stream; a number never
//! changes its meaning, whatever bits an entry in memory has for it), LSN (8), expiry in ms or 0
//! (8), and then a string's value, or what the kind of collection says (`hash/stored.rs`,
//! `stream/stored.rs`). Integers are little-endian.
//!
//! A collection's *elements* are stored one by one under the key and a suffix, which begins with a
//! letter for what it is; the same files say which.
//!
//! Changes are collected while writes go on, a stretch of the slab at a time, under the partition's
//! lock. Nothing is forgotten until the store has taken them: [`State::stored`] then clears what
//! did not change in between, by LSN.

use super::{Lsn, State, Tombstone};
use crate::collection::Collection;
use crate::table::{Entry, Kind, Position};

/// What the store must learn about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub key: Vec<u8>,
    /// The version that was collected.
    pub lsn: Lsn,
    /// The head; `None` for a key that was deleted.
    pub head: Option<Vec<u8>>,
    /// All elements that the store has of this key go first.
    pub drop_elements: bool,
    /// Elements that changed.
    pub elements: Vec<ElementChange>,
    /// The store holds elements afterwards.
    pub has_elements: bool,
}

/// What the store must learn about one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementChange {
    /// Stands behind the key.
    pub suffix: Vec<u8>,
    /// `None` for an element that was deleted.
    pub value: Option<Vec<u8>>,
}

/// A key as read from the store.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The head; `None` where the store does not hold the key.
    pub head: Option<Vec<u8>>,
    /// All elements, in the order of their suffixes.
    pub elements: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Loaded {
    /// Whether a head is one of a collection, whose elements must be read as well.
    pub fn head_has_elements(head: &[u8]) -> bool {
        head.first() != Some(&(Kind::String as u8))
    }

    /// When a key with this head expires.
    pub fn head_expiry_ms(head: &[u8]) -> Option<u64> {
        let at_ms = u64::from_le_bytes(head.get(9..17)?.try_into().ok()?);
        (at_ms > 0).then_some(at_ms)
    }
}

impl State {
    /// Begins a collection: all keys of the store are to be deleted first if this gives an LSN. To
    /// be ended by [`State::end_storing`] or [`State::abandon_storing`].
    pub fn begin_storing(&mut self) -> Option<Lsn> {
        self.residence.storing = true;
        self.residence.cleared_lsn
    }

    /// [`State::stored`] was called with everything that was collected.
    pub fn end_storing(&mut self) {
        self.residence.end_storing();
    }

    /// The store did not take what was collected, or only perhaps.
    pub fn abandon_storing(&mut self) {
        for key in self.residence.abandon_storing() {
            match self.table.find(&key).map(|position| self.table.live_mut(position)) {
                // There again: the next checkpoint writes it anew, over whatever the store has.
                Some(entry) if !entry.is_stored() => {
                    entry.set_stored(true);
                    self.residence.stored += 1;
                    self.residence.stored_hot += 1;
                }
                Some(_) => {}
                None if self.residence.tombstones.contains_key(&key) => {}
                None => self.residence.bury_uncertain(&key, self.last_lsn),
            }
        }
        // Elements that are deleted from now on may be in the store, unknown to us. What was
        // collected is to be written as a whole, over nothing.
        for position in 0..self.table.end() {
            let Some(entry) = self.table.entry_mut(position).filter(|entry| entry.is_dirty())
            else {
                continue;
            };
            entry.set_stored_elements(true);
            if let Some(collection) = self.collections.get_mut(&position) {
                collection.elements_mut().incarnation_mut().fresh = true;
            }
        }
    }

    /// Deleted keys that the store still holds.
    pub fn collect_deleted(&self) -> Vec<KeyChange> {
        let deleted = self.residence.tombstones.iter();
        deleted
            .map(|(key, tombstone)| KeyChange {
                key: key.to_vec(),
                lsn: tombstone.lsn,
                head: None,
                drop_elements: tombstone.elements,
                elements: Vec::new(),
                has_elements: false,
            })
            .collect()
    }

    /// Changed keys in a stretch of the slab; gives where to go on, until nothing is left.
    pub fn collect_changed(
        &self,
        start: u32,
        slots: u32,
        changes: &mut Vec<KeyChange>,
    ) -> Option<u32> {
        let end = self.table.end().min(start.saturating_add(slots));
        for (position, entry) in self.table.iter_from(start) {
            if position >= end {
                break;
            }
            if entry.is_dirty() {
                changes.push(self.change_of(position, entry));
            }
        }
        (end < self.table.end()).then_some(end)
    }

    fn change_of(&self, position: Position, entry: &Entry) -> KeyChange {
        let mut head = vec![entry.kind() as u8];
        head.extend_from_slice(&entry.lsn.to_le_bytes());
        head.extend_from_slice(&self.expiry_ms(position).unwrap_or(0).to_le_bytes());
        let mut elements = Vec::new();
        let collection = self.collection(position).map(Collection::elements);
        match collection {
            None => head.extend_from_slice(entry.value()),
            Some(collection) => {
                collection.put_head(&mut head);
                collection.collect(&mut elements);
            }
        }
        elements.sort_by(|a, b| a.suffix.cmp(&b.suffix));
        let fresh = collection.is_none_or(|collection| collection.incarnation().fresh);
        KeyChange {
            key: entry.key().to_vec(),
            lsn: entry.lsn,
            head: Some(head),
            drop_elements: entry.has_stored_elements() && fresh,
            elements,
            has_elements: collection.is_some(),
        }
    }

    /// The store has taken these changes; `cleared_lsn` is what [`State::begin_storing`] said. What
    /// changed in between stays marked.
    pub fn stored(&mut self, cleared_lsn: Option<Lsn>, changes: &[KeyChange]) {
        self.residence.stored_versions += 1;
        let cleared_since = self.residence.cleared_lsn != cleared_lsn;
        if cleared_lsn.is_some() && !cleared_since {
            self.residence.cleared_lsn = None;
            self.residence.stored = 0;
        } else if cleared_lsn.is_some() {
            self.residence.stored = 0;
        }
        for change in changes {
            if cleared_since {
                // Cleared again: whatever the store has now is to be deleted as a whole.
                self.residence.stored += u64::from(change.head.is_some());
            } else if change.head.is_some() {
                self.stored_head(change);
            } else {
                self.stored_deletion(change);
            }
        }
    }

    fn stored_head(&mut self, change: &KeyChange) {
        self.residence.absent.remove(change.key.as_slice());
        let Some(position) = self.table.find(&change.key) else {
            // Deleted since: now there is something to delete in the store.
            match self.residence.tombstones.get_mut(change.key.as_slice()) {
                Some(tombstone) => tombstone.elements |= change.has_elements,
                None => {
                    self.residence.stored += 1;
                    let tombstone = Tombstone { lsn: self.last_lsn, elements: change.has_elements };
                    self.residence.bury(&change.key, tombstone);
                }
            }
            return;
        };
        let entry = self.table.live_mut(position);
        if !entry.is_stored() {
            entry.set_stored(true);
            self.residence.stored += 1;
            self.residence.stored_hot += 1;
        }
        entry.set_stored_elements(change.has_elements);
        if entry.lsn == change.lsn {
            entry.set_dirty(false);
        }
        // One that was made since is another incarnation: nothing of it is stored.
        let collected =
            |collection: &Collection| collection.elements().incarnation().born_lsn <= change.lsn;
        if self.collection(position).is_some_and(collected) {
            self.change_collection(position, |collection| {
                let collection = collection.elements_mut();
                collection.incarnation_mut().fresh = false;
                collection.stored(change);
            });
        }
    }

    fn stored_deletion(&mut self, change: &KeyChange) {
        // After a clear the count began at 0, and what is deleted may not have been in it.
        self.residence.stored = self.residence.stored.saturating_sub(1);
        if self.residence.unbury(&change.key).is_some() {
            return;
        }
        // There again since, but no longer in the store.
        if let Some(position) = self.table.find(&change.key)
            && self.table.live(position).is_stored()
        {
            let entry = self.table.live_mut(position);
            entry.set_stored(false);
            entry.set_stored_elements(false);
            self.residence.stored_entry_left();
        }
    }

    /// The number of keys that the store will hold when it has taken these changes.
    pub fn stored_after(&self, cleared_lsn: Option<Lsn>, changes: &[KeyChange]) -> u64 {
        let mut stored = if cleared_lsn.is_some() { 0 } else { self.residence.stored };
        for change in changes {
            let position = self.table.find(&change.key);
            let known = position.is_some_and(|position| self.table.live(position).is_stored())
                || self.residence.tombstones.contains_key(change.key.as_slice());
            match (&change.head, known && cleared_lsn.is_none()) {
                (Some(_), false) => stored += 1,
                (None, true) => stored = stored.saturating_sub(1),
                (Some(_), true) | (None, false) => {}
            }
        }
        stored
    }

    /// Changes whenever the store has taken something: what was read from it before may be out of
    /// date.
    pub fn stored_versions(&self) -> u64 {
        self.residence.stored_versions
    }

    /// A state whose keys are all in the store.
    pub fn set_stored_count(&mut self, stored: u64) {
        self.residence.stored = stored;
    }

    /// Puts a key that was read from the store into memory, unless it changed in the meantime.
    /// Fails on bytes that make no sense.
    pub fn install(&mut self, key: &[u8], loaded: Loaded) -> Result<(), &'static str> {
        if !self.is_cold(key) {
            return Ok(());
        }
        let Some(head) = loaded.head else {
            self.residence.note_absent(key);
            return Ok(());
        };
        self.install_head(key, &head, &loaded.elements)
            .ok_or("a key in the checkpoint store does not decode")
    }

    fn install_head(
        &mut self,
        key: &[u8],
        head: &[u8],
        elements: &[(Vec<u8>, Vec<u8>)],
    ) -> Option<()> {
        let (&kind, rest) = head.split_first()?;
        let (lsn, rest) = rest.split_at_checked(8)?;
        let (expiry, mut rest) = rest.split_at_checked(8)?;
        let lsn = Lsn::from_le_bytes(lsn.try_into().ok()?);
        let expiry = u64::from_le_bytes(expiry.try_into().ok()?);
        let kind = Kind::from_code(kind)?;
        let mut collection = Collection::new(kind, self.hash_seed, 0);
        let value = match &mut collection {
            None => rest,
            Some(collection) => {
                let collection = collection.elements_mut();
                collection.incarnation_mut().fresh = false;
                collection.install(lsn, &mut rest, elements)?;
                b""
            }
        };
        let position = self.insert_entry(key, value, kind, lsn);
        let entry = self.table.live_mut(position);
        entry.set_dirty(false);
        entry.set_stored(true);
        entry.set_stored_elements(collection.is_some());
        self.residence.stored_hot += 1;
        self.residence.note_arrival(position);
        if let Some(collection) = collection {
            self.attach_collection(position, collection);
        }
        self.set_expiry(position, (expiry > 0).then_some(expiry));
        Some(())
    }
}

#[cfg(test)]
mod tests;
