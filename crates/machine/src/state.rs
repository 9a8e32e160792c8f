//! The state of one partition: what is in memory, and what is known about the part that is not.

mod checkpoint;
mod residence;
mod scan;

pub use checkpoint::{ElementChange, KeyChange, Loaded};

use crate::collection::Collection;
use crate::eviction::{Policy, PolicyName};
use crate::hash::HashObject;
use crate::interest::Interest;
use crate::stream::StreamObject;
use crate::table::{Entry, Kind, Position, Table};
use foldhash::HashMap;
pub(crate) use residence::{Residence, Tombstone};
pub use scan::ScanPage;
use std::collections::BTreeSet;

/// A position in a partition's log; also the version of an entry.
pub type Lsn = u64;

/// Limits on what a client may make large.
#[derive(Clone, Copy, Debug)]
pub struct StateLimits {
    /// The longest key, in bytes.
    pub key_max_bytes: usize,
    /// The longest field name of a hash, in bytes.
    pub field_max_bytes: usize,
    /// The longest string or field value, in bytes.
    pub value_max_bytes: usize,
}

impl Default for StateLimits {
    fn default() -> Self {
        // Keys and fields become keys of the checkpoint store, which takes 64 KiB for both
        // together.
        Self { key_max_bytes: 16 << 10, field_max_bytes: 32 << 10, value_max_bytes: 512 << 20 }
    }
}

/// The state of one partition.
pub struct State {
    pub(crate) table: Table,
    /// The values of keys that are no strings.
    collections: HashMap<Position, Collection>,
    expiries: HashMap<Position, u64>,
    expiry_order: BTreeSet<(u64, Position)>,
    pub(crate) interest: Interest,
    pub(crate) residence: Residence,
    pub(crate) limits: StateLimits,
    policy: Box<dyn Policy>,
    /// Bytes of collections.
    pub(crate) collection_bytes: usize,
    pub(crate) last_lsn: Lsn,
    /// The LSN of the last removal: what the reply "there is no such key" depends on.
    pub(crate) vanished_lsn: Lsn,
    pub(crate) hash_seed: u64,
}

impl State {
    /// An empty state. The hash seed changes nothing that can be seen.
    pub fn new(hash_seed: u64, policy: PolicyName, limits: StateLimits) -> Self {
        Self {
            table: Table::new(hash_seed),
            collections: HashMap::default(),
            expiries: HashMap::default(),
            expiry_order: BTreeSet::new(),
            interest: Interest::default(),
            residence: Residence::default(),
            limits,
            policy: policy.create(),
            collection_bytes: 0,
            last_lsn: 0,
            vanished_lsn: 0,
            hash_seed,
        }
    }

    /// The hash of a key, the same in all states of one seed.
    pub fn hash(&self, key: &[u8]) -> u32 {
        self.table.hash(key)
    }

    /// First step of fetching a key ahead of its use: where it may be.
    #[inline]
    pub fn prefetch_index(&self, hash: u32) {
        self.table.prefetch_index(hash);
    }

    /// Second step: its entry. Says where that is.
    #[inline]
    pub fn prefetch_entry(&self, hash: u32) -> Option<u32> {
        self.table.prefetch_entry(hash)
    }

    /// Third step: key and value.
    #[inline]
    pub fn prefetch_bytes(&self, position: u32) {
        self.table.prefetch_bytes(position);
    }

    /// The LSN of the last change.
    pub fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Takes note that the log has been applied up to here.
    pub fn set_last_lsn(&mut self, lsn: Lsn) {
        self.last_lsn = self.last_lsn.max(lsn);
    }

    /// Bytes of memory that the state uses.
    pub fn memory_bytes(&self) -> usize {
        let expiries = self.expiries.len() * 40;
        self.table.bytes()
            + self.collection_bytes
            + self.policy.bytes()
            + self.residence.bytes()
            + expiries
    }

    /// Bytes that one key uses, as MEMORY USAGE says.
    pub(crate) fn key_bytes(&self, position: Position) -> usize {
        let entry = self.table.live(position).heap_bytes() + 40;
        entry + self.collection(position).map_or(0, Collection::bytes)
    }

    /// The number of keys, in memory or not.
    pub fn key_count(&self) -> u64 {
        self.residence.key_count(self.table.len() as u64)
    }

    /// The number of keys in memory.
    pub fn hot_key_count(&self) -> u64 {
        self.table.len() as u64
    }

    /// Keys with an expiry, in memory.
    pub fn expiring_key_count(&self) -> u64 {
        self.expiries.len() as u64
    }

    /// The entry of a key that was found.
    pub(crate) fn entry(&self, position: Position) -> &Entry {
        self.table.live(position)
    }

    /// When an entry expires.
    pub(crate) fn expiry_ms(&self, position: Position) -> Option<u64> {
        if !self.table.live(position).expires() {
            return None;
        }
        let at_ms = self.expiries.get(&position);
        assert!(at_ms.is_some(), "a key expires, but nobody knows when");
        at_ms.copied()
    }

    pub(crate) fn set_expiry(&mut self, position: Position, at_ms: Option<u64>) {
        let entry = self.table.live_mut(position);
        if !entry.expires() && at_ms.is_none() {
            return;
        }
        entry.set_expires(at_ms.is_some());
        let before = match at_ms {
            Some(at_ms) => self.expiries.insert(position, at_ms),
            None => self.expiries.remove(&position),
        };
        if let Some(before) = before {
            self.expiry_order.remove(&(before, position));
        }
        if let Some(at_ms) = at_ms {
            self.expiry_order.insert((at_ms, position));
        }
    }

    /// Keys that expired by `now_ms`, at most `limit`.
    pub fn expired_keys(&self, now_ms: u64, limit: usize) -> Vec<Vec<u8>> {
        self.expiry_order
            .range(..=(now_ms, Position::MAX))
            .take(limit)
            .map(|&(_, position)| self.table.live(position).key().to_vec())
            .collect()
    }

    /// When the next key expires.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.expiry_order.first().map(|&(at_ms, _)| at_ms)
    }

    /// Adds an entry and tells the eviction policy.
    pub(crate) fn insert_entry(
        &mut self,
        key: &[u8],
        value: &[u8],
        kind: Kind,
        lsn: Lsn,
    ) -> Position {
        let position = self.table.insert(key, value, kind, lsn);
        self.policy.inserted(&mut self.table, position);
        position
    }

    /// Takes an entry and everything beside it out of memory.
    pub(crate) fn remove_entry(&mut self, position: Position) -> Entry {
        self.set_expiry(position, None);
        if !self.table.live(position).is(Kind::String) {
            self.drop_collection(position);
        }
        self.table.remove(position)
    }

    /// What a key holds beside its entry; nothing for a string.
    pub(crate) fn collection(&self, position: Position) -> Option<&Collection> {
        if self.table.live(position).is(Kind::String) {
            return None;
        }
        let collection = self.collections.get(&position);
        assert!(collection.is_some(), "a key has lost its value");
        collection
    }

    /// The hash of a key that was found to be one.
    pub(crate) fn hash_at(&self, position: Position) -> &HashObject {
        match self.collections.get(&position).and_then(Collection::as_hash) {
            Some(hash) => hash,
            None => panic!("a key is a hash and its value is not"),
        }
    }

    /// The stream of a key that was found to be one.
    pub(crate) fn stream_at(&self, position: Position) -> &StreamObject {
        match self.collections.get(&position).and_then(Collection::as_stream) {
            Some(stream) => stream,
            None => panic!("a key is a stream and its value is not"),
        }
    }

    /// Changes what a key holds beside its entry, and keeps count of its bytes.
    pub(crate) fn change_collection(
        &mut self,
        position: Position,
        change: impl FnOnce(&mut Collection),
    ) {
        let Some(collection) = self.collections.get_mut(&position) else {
            panic!("a key has lost its value");
        };
        let before = collection.bytes();
        change(collection);
        self.collection_bytes = self.collection_bytes + collection.bytes() - before;
    }

    /// Gives a key what it holds beside its entry.
    pub(crate) fn attach_collection(&mut self, position: Position, collection: Collection) {
        self.collection_bytes += collection.bytes();
        let before = self.collections.insert(position, collection);
        assert!(before.is_none(), "a key has two values");
    }

    /// Takes away what a key holds beside its entry.
    pub(crate) fn drop_collection(&mut self, position: Position) {
        let Some(collection) = self.collections.remove(&position) else {
            panic!("a key has lost its value");
        };
        self.collection_bytes -= collection.bytes();
    }

    /// Tells the eviction policy that an entry was used.
    pub(crate) fn touch(&mut self, position: Position) {
        self.policy.touched(&mut self.table, position);
    }

    /// Begins to watch a key.
    pub fn watch(&mut self, key: &[u8]) {
        self.interest.watch(key);
    }

    /// Ends watching a key.
    pub fn unwatch(&mut self, key: &[u8]) {
        self.interest.unwatch(key);
    }

    /// The LSN of the last change to a watched key.
    pub fn watched_change(&self, key: &[u8]) -> Lsn {
        self.interest.changed_lsn(key)
    }

    /// Registers a waiter to be woken when a key changes.
    pub fn wait(&mut self, key: &[u8], waiter: u64) {
        self.interest.wait(key, waiter);
    }

    /// Takes a waiter's registration back.
    pub fn stop_waiting(&mut self, key: &[u8], waiter: u64) {
        self.interest.stop_waiting(key, waiter);
    }

    /// Waiters whose keys changed since the last call.
    pub fn take_woken(&mut self) -> Vec<u64> {
        if self.interest.has_woken() { self.interest.take_woken() } else { Vec::new() }
    }
}

/// Figures of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// The stream's key.
    pub key: Vec<u8>,
    /// Records now.
    pub records: u64,
    /// Consumer groups.
    pub groups: u64,
}

impl State {
    /// Streams in memory, at most `limit`.
    pub fn stream_reports(&self, limit: usize) -> Vec<StreamReport> {
        let collections = self.collections.iter();
        let streams = collections
            .filter_map(|(&position, collection)| Some((position, collection.as_stream()?)));
        streams
            .take(limit)
            .map(|(position, stream)| StreamReport {
                key: self.table.live(position).key().to_vec(),
                records: stream.records.len() as u64,
                groups: stream.groups.len() as u64,
            })
            .collect()
    }
}
