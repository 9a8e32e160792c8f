//! What is known about keys that are not in memory.
//!
//! A key is *stored* if the checkpoint store holds some version of it, *cold* if that is the only
//! place where it is. A stored key that was deleted leaves a tombstone here until the next
//! checkpoint has told the store.

use super::Lsn;
use crate::table::Position;
use foldhash::{HashMap, HashSet};
use std::collections::VecDeque;

/// How many keys are remembered as absent from the store.
const ABSENT_MAX: usize = 4_096;
/// How many of the entries that were fetched last stay in any case. More where a single command
/// wants more.
const ARRIVALS_MIN: usize = 1_024;
/// And how many of them however large they are.
const ARRIVALS_KEPT: usize = 16;

/// A stored key that was deleted.
#[derive(Clone, Copy)]
pub(crate) struct Tombstone {
    pub(crate) lsn: Lsn,
    /// The store holds elements of the key, too.
    pub(crate) elements: bool,
}

#[derive(Default)]
pub(crate) struct Residence {
    /// Keys that the store holds, deleted ones included until it is told.
    pub(super) stored: u64,
    /// Stored keys that are in memory.
    pub(crate) stored_hot: u64,
    /// Stored keys that were deleted.
    pub(super) tombstones: HashMap<Box<[u8]>, Tombstone>,
    /// Keys that the store was asked for and does not hold.
    pub(super) absent: HashSet<Box<[u8]>>,
    /// All stored keys were deleted at this LSN and the store has not been told.
    pub(super) cleared_lsn: Option<Lsn>,
    pub(super) evicted: u64,
    pub(super) stored_versions: u64,
    /// A checkpoint has begun to collect this state and the store has not yet answered for all of
    /// it.
    pub(super) storing: bool,
    /// Keys that the store did not hold and that were deleted while storing: the checkpoint may be
    /// writing them, so what the store then says of them is not to be believed.
    gone_while_storing: HashSet<Box<[u8]>>,
    /// The store failed and has not taken everything since: it may hold keys that are not known to
    /// be stored.
    uncertain: bool,
    /// Entries that were fetched last. They stay for the command that asked for them, however small
    /// the budget: a key larger than the budget would otherwise be fetched and dropped for ever.
    arrivals: VecDeque<Position>,
    /// How many of them were there at the last checkpoint.
    old_arrivals: usize,
    /// What the largest command that waits has asked for, since the last checkpoint.
    expected_arrivals: usize,
}

impl Residence {
    /// An entry was fetched.
    pub(super) fn note_arrival(&mut self, position: Position) {
        while self.arrivals.len() >= self.expected_arrivals.max(ARRIVALS_MIN) {
            self.arrivals.pop_front();
            self.old_arrivals = self.old_arrivals.saturating_sub(1);
        }
        self.arrivals.push_back(position);
    }

    /// A command will fetch so many keys and then want them all at once.
    pub(super) fn expect_arrivals(&mut self, count: usize) {
        self.expected_arrivals = self.expected_arrivals.max(count.saturating_mul(2));
    }

    /// Whether an entry is among those that were fetched last. Far over the budget, only the very
    /// last ones count, or those of a command that wants many.
    pub(super) fn just_arrived(&self, position: Position, far_over_budget: bool) -> bool {
        if far_over_budget && self.expected_arrivals == 0 {
            return self.arrivals.iter().rev().take(ARRIVALS_KEPT).any(|&other| other == position);
        }
        self.arrivals.contains(&position)
    }

    /// The number of keys, given how many are in memory.
    pub(super) fn key_count(&self, hot: u64) -> u64 {
        hot + self.cold_count()
    }

    /// Keys that only the store holds.
    fn cold_count(&self) -> u64 {
        if self.cleared_lsn.is_some() {
            return 0;
        }
        let known = self.stored_hot + self.tombstones.len() as u64;
        // Asked for every command, so only where tests run.
        debug_assert!(known <= self.stored, "{known} keys stored, of {}", self.stored);
        self.stored.saturating_sub(known)
    }

    pub(super) fn has_cold(&self) -> bool {
        self.cold_count() > 0
    }

    /// Whether the store holds keys that are not all deleted.
    pub(super) fn has_stored(&self) -> bool {
        self.stored > 0 && self.cleared_lsn.is_none()
    }

    /// Whether a key that is not in memory may be in the store.
    pub(super) fn may_be_cold(&self, key: &[u8]) -> bool {
        self.cold_count() > 0
            && !self.tombstones.contains_key(key)
            && !self.absent.contains(key)
            && !self.gone_while_storing.contains(key)
    }

    /// A stored key left memory.
    pub(crate) fn stored_entry_left(&mut self) {
        assert!(self.stored_hot > 0, "more stored keys left memory than were in it");
        self.stored_hot -= 1;
    }

    /// A key that is not known to be stored was deleted.
    pub(crate) fn note_gone(&mut self, key: &[u8], lsn: Lsn) {
        if self.storing {
            self.gone_while_storing.insert(key.into());
        } else if self.uncertain && self.cleared_lsn.is_none() {
            self.bury_uncertain(key, lsn);
        }
    }

    /// The store must be told that a key is gone, should it hold it.
    pub(super) fn bury_uncertain(&mut self, key: &[u8], lsn: Lsn) {
        self.stored += 1;
        self.bury(key, Tombstone { lsn, elements: true });
    }

    /// The store has answered for everything that was collected.
    pub(super) fn end_storing(&mut self) {
        self.storing = false;
        self.uncertain = false;
        self.gone_while_storing = HashSet::default();
        // Whoever asked for those that were there at the checkpoint before has had them by now, or
        // asks again.
        self.expected_arrivals = 0;
        self.arrivals.drain(..self.old_arrivals.min(self.arrivals.len()));
        self.old_arrivals = self.arrivals.len();
    }

    /// The store failed; whether it took anything is unknown. Gives the keys that it may hold
    /// unknown to us; none where all that it holds will be deleted in any case.
    pub(super) fn abandon_storing(&mut self) -> HashSet<Box<[u8]>> {
        self.storing = false;
        self.uncertain = true;
        for tombstone in self.tombstones.values_mut() {
            tombstone.elements = true;
        }
        let gone = std::mem::take(&mut self.gone_while_storing);
        if self.cleared_lsn.is_some() { HashSet::default() } else { gone }
    }

    /// A stored key was deleted.
    pub(crate) fn bury(&mut self, key: &[u8], tombstone: Tombstone) {
        self.tombstones.insert(key.into(), tombstone);
    }

    /// A deleted key is there again; gives what the store still holds of it.
    pub(crate) fn unbury(&mut self, key: &[u8]) -> Option<Tombstone> {
        if self.tombstones.is_empty() { None } else { self.tombstones.remove(key) }
    }

    /// Every key was deleted.
    pub(crate) fn clear(&mut self, lsn: Lsn) {
        self.tombstones.clear();
        self.absent.clear();
        self.stored_hot = 0;
        if self.stored > 0 || self.storing || self.uncertain {
            self.cleared_lsn = Some(lsn);
        }
    }

    /// The store does not hold this key.
    pub(super) fn note_absent(&mut self, key: &[u8]) {
        if self.absent.len() >= ABSENT_MAX {
            self.absent.clear();
        }
        self.absent.insert(key.into());
    }

    pub(super) fn bytes(&self) -> usize {
        (self.tombstones.len() + self.absent.len() + self.gone_while_storing.len()) * 64
    }
}
