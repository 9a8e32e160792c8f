//! Checkpoints: what changed goes to the store while writes go on, then the log is trimmed.
//!
//! A partition's checkpoint reaches as far as its last LSN when collecting began. What is collected
//! later may already contain younger changes; since effects are absolute, replaying those changes
//! over it ends in the same state. Collecting holds the partition's lock for one stretch of the
//! slab at a time.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::halt::halt_on_bug;
use crate::lane::Lane;
use crate::metrics::Role;
use std::sync::atomic::Ordering;
use thalweg_machine::{KeyChange, Loaded, Lsn};
use thalweg_store::{Changes, Element, Mark, Store};

/// Slots of the slab that are looked at under one lock.
const STRETCH_SLOTS: u32 = 512;

impl Inner {
    /// Writes every partition's changes to the store and trims the log.
    pub(crate) fn checkpoint(&self) -> Result<(), EngineError> {
        let Some(store) = &self.store else { return Ok(()) };
        let _one_at_a_time = self.checkpointing.lock();
        // A lane whose log has failed must not keep the others from being trimmed.
        let mut outcome = Ok(());
        for lane in self.lanes.iter().filter(|lane| lane.lost().is_none()) {
            outcome = outcome.and(self.checkpoint_lane(store, lane));
        }
        if self.stopping.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.compaction_wanted.store(true, Ordering::Release);
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    fn checkpoint_lane(&self, store: &Store, lane: &Lane) -> Result<(), EngineError> {
        for number in lane.partitions.clone() {
            if self.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.checkpoint_partition(store, lane, number)?;
        }
        let reached = {
            let lsns = self.checkpoint_lsns.lock();
            let lsns = lsns.get(lane.partitions.clone()).unwrap_or_default();
            lsns.iter().copied().min().unwrap_or(0)
        };
        if lane.role() == Role::Leader {
            lane.log.trim(lane.log.position_of(reached))?;
        }
        Ok(())
    }

    fn checkpoint_partition(
        &self,
        store: &Store,
        lane: &Lane,
        number: usize,
    ) -> Result<(), EngineError> {
        let outcome = self.store_partition(store, lane, number);
        let mut partition = self.partitions.lock(number);
        match &outcome {
            Ok(_) => partition.state.end_storing(),
            Err(_) => partition.state.abandon_storing(),
        }
        drop(partition);
        self.weigh_store();
        self.memory_queue.wake(Some(number));
        self.note_reached(number, outcome?);
        Ok(())
    }

    /// Collects a partition's changes and gives them to the store; gives the LSN that this reaches.
    fn store_partition(
        &self,
        store: &Store,
        lane: &Lane,
        number: usize,
    ) -> Result<Lsn, EngineError> {
        let (lsn, decided_lsn, cleared_lsn, mut changes) = {
            let mut partition = self.partitions.lock(number);
            let state = &mut partition.state;
            // With nothing in it a partition is as far as the log is, where this node writes that.
            let last = state.last_lsn();
            let lsn = lane.next_lsn(last).map_or(last, |next| next.get() - 1);
            (lsn, last, state.begin_storing(), state.collect_deleted())
        };
        let mut at = Some(0);
        while let Some(start) = at {
            let partition = self.partitions.lock(number);
            at = partition.state.collect_changed(start, STRETCH_SLOTS, &mut changes);
        }
        keep_last(&mut changes);
        // The store must never hold what a crash could take out of the log, nor say that it reaches
        // further than the log does: an effect without a change, such as the deletion of a key that
        // was never stored, counts as well.
        let youngest = changes.iter().map(|change| change.lsn).max().unwrap_or(0);
        lane.wait_logged(youngest.max(decided_lsn))?;
        if changes.is_empty() && cleared_lsn.is_none() {
            // Nothing to write: the mark in the store stays, and the log has nothing of this
            // partition behind it.
            return Ok(lsn);
        }
        let keys = self.partitions.lock(number).state.stored_after(cleared_lsn, &changes);
        let has_expiry =
            |change: &KeyChange| change.head.as_deref().and_then(Loaded::head_expiry_ms).is_some();
        let any_expires = changes.iter().any(has_expiry);
        let mut rows = rows_of(&changes, cleared_lsn.is_some());
        // The mark says how far this partition's own changes go, not how far the node has counted:
        // another leader of the lane may give out the numbers in between.
        store.write(number as u16, Mark { lsn: decided_lsn, keys }, &mut rows)?;
        if let Some(expiries) = self.stored_expiries.get(number).filter(|_| any_expires) {
            expiries.store(true, Ordering::Release);
        }
        self.partitions.lock(number).state.stored(cleared_lsn, &[]);
        for part in changes.chunks(STRETCH_SLOTS as usize) {
            // In parts, so that nobody waits long for the lock.
            let mut partition = self.partitions.lock(number);
            partition.state.stored(None, part);
            self.make_room(&mut partition);
        }
        Ok(lsn)
    }

    fn note_reached(&self, number: usize, lsn: Lsn) {
        match self.checkpoint_lsns.lock().get_mut(number) {
            Some(reached) => *reached = lsn,
            None => halt_on_bug(&format!("partition {number} was stored, and there is none")),
        }
    }
}

/// A key that changed again while changes were collected stands there twice: only the last change
/// is true. Leaves the changes in the order of their keys.
fn keep_last(changes: &mut Vec<KeyChange>) {
    changes.reverse();
    // Stable: of one key's changes the last is now the first.
    changes.sort_by(|one, other| one.key.cmp(&other.key));
    changes.dedup_by(|later, earlier| later.key == earlier.key);
}

fn rows_of(changes: &[KeyChange], clear: bool) -> Changes<'_> {
    let mut rows = Changes { clear, ..Changes::default() };
    rows.heads.reserve(changes.len());
    for change in changes {
        for element in &change.elements {
            rows.elements.push(Element {
                key: &change.key,
                suffix: &element.suffix,
                value: element.value.as_deref(),
            });
        }
        if change.drop_elements {
            rows.drop_elements.push(&change.key);
        }
        rows.heads.push((&change.key, change.head.as_deref()));
    }
    rows
}
