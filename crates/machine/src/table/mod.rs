//! The hot table: keys to entries, in as little memory and as few cache misses as safe Rust allows.
//!
//! Entries live in a slab of fixed chunks (they never move, so a position is a stable cursor for
//! SCAN and a stable name for the eviction queues); an index of hashes and slab positions finds
//! them. An entry is 32 bytes and one allocation that holds key and value together.

mod entry;
mod index;

pub(crate) use entry::{Entry, Kind};

use foldhash::fast::FixedState;
use index::Index;
use std::hash::{BuildHasher, Hasher};
use thalweg_base::prefetch::prefetch;

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// A position in the slab.
pub(crate) type Position = u32;

/// Keys to entries.
pub(crate) struct Table {
    index: Index,
    chunks: Vec<Vec<Entry>>,
    free: Vec<Position>,
    hasher: FixedState,
    bytes: usize,
}

impl Table {
    /// An empty table. The seed makes bucket order unguessable; nothing that is replicated depends
    /// on it.
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            index: Index::default(),
            chunks: Vec::new(),
            free: Vec::new(),
            hasher: FixedState::with_seed(hash_seed),
            bytes: 0,
        }
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        (hash ^ (hash >> 32)) as u32
    }

    /// Where a key is.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Position> {
        let hash = self.hash(key);
        self.index
            .find(hash, |position| self.entry(position).is_some_and(|entry| entry.key() == key))
    }

    /// Fetches what a lookup of this hash will touch first.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u32) {
        self.index.prefetch(hash);
    }

    /// Fetches the entry that a lookup of this hash will probably find; says where it is.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u32) -> Option<Position> {
        let position = self.index.find(hash, |_| true)?;
        prefetch(self.entry_slot(position)?);
        Some(position)
    }

    /// Fetches the key and value of an entry.
    #[inline]
    pub(crate) fn prefetch_bytes(&self, position: Position) {
        if let Some(entry) = self.entry_slot(position) {
            entry.prefetch_bytes();
        }
    }

    #[inline]
    fn entry_slot(&self, position: Position) -> Option<&Entry> {
        self.chunks.get((position >> CHUNK_BITS) as usize)?.get(position as usize & (CHUNK - 1))
    }

    pub(crate) fn entry(&self, position: Position) -> Option<&Entry> {
        self.entry_slot(position).filter(|entry| entry.is_live())
    }

    /// The entry for changes that do not alter its size. For those that do, see
    /// [`Table::replace_value`].
    pub(crate) fn entry_mut(&mut self, position: Position) -> Option<&mut Entry> {
        slot_mut(&mut self.chunks, position)
    }

    /// The entry at a position that was just found: to be missing, the table must be broken.
    #[inline]
    pub(crate) fn live(&self, position: Position) -> &Entry {
        match self.entry(position) {
            Some(entry) => entry,
            None => lost(position),
        }
    }

    /// The same for changes that do not alter its size.
    #[inline]
    pub(crate) fn live_mut(&mut self, position: Position) -> &mut Entry {
        match self.entry_mut(position) {
            Some(entry) => entry,
            None => lost(position),
        }
    }

    /// Notes whether a slot, live or empty, stands in an eviction queue.
    pub(crate) fn set_queued(&mut self, position: Position, on: bool) {
        let chunk = self.chunks.get_mut((position >> CHUNK_BITS) as usize);
        if let Some(slot) = chunk.and_then(|chunk| chunk.get_mut(position as usize & (CHUNK - 1))) {
            slot.set_queued(on);
        }
    }

    /// Adds a key that is not there; says where.
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8], kind: Kind, lsn: u64) -> Position {
        let hash = self.hash(key);
        let entry = Entry::new(key, value, kind, hash, lsn);
        self.bytes += entry.heap_bytes() + size_of::<Entry>();
        let position = self.place(entry);
        self.index.insert(hash, position);
        position
    }

    /// Gives an entry another value, in place where the length stays, and gives the entry.
    pub(crate) fn replace_value(&mut self, position: Position, value: &[u8]) -> &mut Entry {
        let Some(entry) = slot_mut(&mut self.chunks, position) else { lost(position) };
        let before = entry.heap_bytes();
        entry.set_value(value);
        self.bytes = self.bytes + entry.heap_bytes() - before;
        entry
    }

    /// Writes into an entry's value at an offset, extending it with zeros where needed.
    pub(crate) fn splice_value(&mut self, position: Position, offset: usize, bytes: &[u8]) {
        let entry = self.live_mut(position);
        let before = entry.heap_bytes();
        entry.splice_value(offset, bytes);
        let after = entry.heap_bytes();
        self.bytes = self.bytes + after - before;
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, position: Position) -> Entry {
        self.index.remove(self.live(position).hash, position);
        let entry = self.live_mut(position).take();
        self.bytes -= entry.heap_bytes() + size_of::<Entry>();
        self.free.push(position);
        entry
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of entries, keys, values and index.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.index.bytes()
    }

    /// One past the highest position in use.
    pub(crate) fn end(&self) -> Position {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        (full + self.chunks.last().map_or(0, Vec::len)) as Position
    }

    /// Live entries from a position on.
    pub(crate) fn iter_from(&self, start: Position) -> impl Iterator<Item = (Position, &Entry)> {
        (start..self.end()).filter_map(|position| Some((position, self.entry(position)?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Position, &Entry)> {
        self.iter_from(0)
    }

    fn place(&mut self, entry: Entry) -> Position {
        if let Some(position) = self.free.pop() {
            let chunk = self.chunks.get_mut((position >> CHUNK_BITS) as usize);
            match chunk.and_then(|chunk| chunk.get_mut(position as usize & (CHUNK - 1))) {
                Some(slot) if !slot.is_live() => slot.reuse(entry),
                Some(_) | None => panic!("the free slot {position} of the table is not free"),
            }
            return position;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk grows as needed: a small hash must not pay for a thousand entries.
            let capacity = if self.chunks.is_empty() { 4 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let position = self.end();
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(entry);
        }
        position
    }
}

#[inline]
fn slot_mut(chunks: &mut [Vec<Entry>], position: Position) -> Option<&mut Entry> {
    let chunk = chunks.get_mut((position >> CHUNK_BITS) as usize)?;
    chunk.get_mut(position as usize & (CHUNK - 1)).filter(|entry| entry.is_live())
}

/// Going on would answer for another key, or write it into the checkpoint.
#[cold]
fn lost(position: Position) -> ! {
    panic!("there is no entry at position {position} of the table, where one was found");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn behaves_like_a_map_and_counts_its_bytes() {
        let mut table = Table::new(7);
        let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut random = 88_172_645_463_325_252u64;
        for _ in 0..200_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let key = format!("key:{}", random % 5_000).into_bytes();
            let value = vec![b'v'; (random >> 20) as usize % 50];
            match (table.find(&key), random >> 60 < 5) {
                (Some(position), true) => {
                    table.remove(position);
                    model.remove(&key);
                }
                (None, true) => assert!(!model.contains_key(&key)),
                (Some(position), false) => {
                    table.replace_value(position, &value);
                    model.insert(key, value);
                }
                (None, false) => {
                    table.insert(&key, &value, Kind::String, 1);
                    model.insert(key, value);
                }
            }
        }
        assert_eq!(table.len(), model.len());
        for (key, value) in &model {
            let position = table.find(key).expect("in the model");
            assert_eq!(table.entry(position).expect("live").value(), value);
        }
        let expected: usize =
            model.iter().map(|(k, v)| (k.len() + v.len()).next_multiple_of(8) + 32).sum();
        assert_eq!(table.bytes(), expected + table.index.bytes());
        assert_eq!(size_of::<Entry>(), 32);
    }
}
