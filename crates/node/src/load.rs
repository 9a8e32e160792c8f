//! Fetches keys from the checkpoint store, on threads of its own. Each key is read once, however
//! many requests wait for it.

use crate::engine::{Engine, Inner};
use crate::halt::{halt_on_bug, halt_on_damage};
use crate::request::Wake;
use foldhash::HashMap;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use thalweg_machine::Loaded;
use thalweg_store::Store;

/// Walks through the store's keys that are remembered at once.
const SCANS_MAX: usize = 4_096;

/// Called when the last of several keys is there.
struct Group {
    left: AtomicUsize,
    wake: Wake,
}

impl Group {
    fn one_is_there(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.wake)();
        }
    }
}

#[derive(Default)]
pub(crate) struct Loader {
    queue: Mutex<VecDeque<Vec<u8>>>,
    came: Condvar,
    /// Keys being fetched, and who waits for them.
    flights: Mutex<HashMap<Vec<u8>, Vec<Arc<Group>>>>,
    loads: AtomicU64,
    stopping: AtomicBool,
    scans: Mutex<Scans>,
}

/// Where walks through the store are: a cursor of 64 bits cannot hold a key, so it holds a ticket.
#[derive(Default)]
struct Scans {
    next: u32,
    positions: VecDeque<(u32, Vec<u8>)>,
}

impl Loader {
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _sleepers_see_it = self.queue.lock();
        self.came.notify_all();
    }

    /// A loading thread's life.
    pub(crate) fn run(&self, inner: &Inner) {
        loop {
            let key = {
                let mut queue = self.queue.lock();
                loop {
                    if self.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    match queue.pop_front() {
                        Some(key) => break key,
                        None => self.came.wait(&mut queue),
                    }
                }
            };
            inner.fetch(&key);
            // Only now may the next flight for this key begin: two at once could install an old
            // version over a new.
            let Some(waiting) = self.flights.lock().remove(&key) else {
                halt_on_bug("a key was fetched that nobody is registered for")
            };
            for group in waiting {
                group.one_is_there();
            }
        }
    }

    fn board(&self, key: &[u8], group: Arc<Group>) {
        let mut flights = self.flights.lock();
        if let Some(waiting) = flights.get_mut(key) {
            waiting.push(group);
            return;
        }
        flights.insert(key.to_vec(), vec![group]);
        drop(flights);
        self.queue.lock().push_back(key.to_vec());
        self.came.notify_one();
    }

    /// Remembers the last key of a page; gives a ticket for it.
    pub(crate) fn remember_scan(&self, key: &[u8]) -> u32 {
        let mut scans = self.scans.lock();
        scans.next = scans.next.wrapping_add(1);
        let ticket = scans.next;
        if scans.positions.len() >= SCANS_MAX {
            scans.positions.pop_front();
        }
        scans.positions.push_back((ticket, key.to_vec()));
        ticket
    }

    /// The key that a ticket stands for. A forgotten one begins the partition again: SCAN may
    /// repeat, never leave out.
    pub(crate) fn scan_position(&self, ticket: u32) -> Option<Vec<u8>> {
        let scans = self.scans.lock();
        scans.positions.iter().rev().find(|(other, _)| *other == ticket).map(|(_, key)| key.clone())
    }
}

impl Inner {
    /// Reads a key from the store into its partition, if it is not there.
    pub(crate) fn fetch(&self, key: &[u8]) {
        let Some(store) = &self.store else { return };
        let number = self.partitions.of(key);
        loop {
            let versions = {
                let partition = self.partitions.lock(number);
                if !partition.state.is_cold(key) {
                    return;
                }
                partition.state.stored_versions()
            };
            let loaded = self.read_stored(store, number, key);
            let mut partition = self.partitions.lock(number);
            if partition.state.stored_versions() != versions {
                // A checkpoint came in between: the key may have come, changed and gone again.
                continue;
            }
            if let Err(what) = partition.state.install(key, loaded) {
                halt_on_damage(what);
            }
            self.make_room_for_reading(&mut partition);
            return;
        }
    }

    fn read_stored(&self, store: &Store, number: usize, key: &[u8]) -> Loaded {
        if !store.may_hold(number as u16, key) {
            return Loaded::default();
        }
        self.loader.loads.fetch_add(1, Ordering::Relaxed);
        match store.load(number as u16, key, Loaded::head_has_elements) {
            Ok(found) => Loaded { head: found.head, elements: found.elements },
            // Never a wrong answer: the node stops rather than say that a key is not there.
            Err(error) => halt_on_damage(&error.to_string()),
        }
    }

    /// All of these must be in memory at once, whatever the budget.
    fn expect_arrivals(&self, keys: &[Vec<u8>]) {
        let mut counts = vec![0; self.partitions.count()];
        for key in keys {
            if let Some(count) = counts.get_mut(self.partitions.of(key)) {
                *count += 1;
            }
        }
        for (number, count) in counts.into_iter().enumerate().filter(|&(_, count)| count > 64) {
            self.partitions.lock(number).state.expect_arrivals(count);
        }
    }

    /// Keys that the store certainly does not hold need no flight.
    fn note_absent_keys(&self, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let Some(store) = &self.store else { return Vec::new() };
        let mut left = Vec::new();
        for key in keys {
            let number = self.partitions.of(key);
            // Asked under the lock: otherwise the key could come, be stored and be evicted in
            // between.
            let mut partition = self.partitions.lock(number);
            if store.may_hold(number as u16, key) {
                drop(partition);
                left.push(key.clone());
                continue;
            }
            // Nothing was read, so nothing can fail to decode.
            let _never_fails = partition.state.install(key, Loaded::default());
        }
        left
    }
}

impl Engine {
    /// Fetches keys, then calls `wake` from another thread. False: they are there already, and
    /// `wake` is not called.
    pub(crate) fn load(&self, keys: &[Vec<u8>], wake: Wake) -> bool {
        let mut keys = self.inner.note_absent_keys(keys);
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return false;
        }
        self.inner.expect_arrivals(&keys);
        let group = Arc::new(Group { left: AtomicUsize::new(keys.len()), wake });
        for key in &keys {
            self.inner.loader.board(key, group.clone());
        }
        true
    }
}

impl Engine {
    /// Adds a command's keys that are only in the store, for fetching ahead.
    pub fn add_cold_keys(&self, args: &[&[u8]], cold: &mut Vec<Vec<u8>>) {
        let Some(command) = args.first().and_then(|name| thalweg_machine::find_command(name))
        else {
            return;
        };
        command.keys.for_each(args, |key| {
            let number = self.inner.partitions.of(key);
            if self.inner.partitions.lock(number).state.is_cold(key) {
                cold.push(key.to_vec());
            }
        });
    }
}
