//! The memory budget. When it is spent, clean entries leave memory, and writes wait until a
//! checkpoint has made more entries clean. There is one budget for all partitions. When it is
//! spent, the partitions that use more than their share lose entries first.

use crate::engine::Inner;
use crate::partition::Partition;
use crate::request::Wake;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;

/// Clean entries that a write may have to push out of a partition that is far over its share.
const EVICT_MAX: usize = 1_024;
/// A partition's memory is counted in the total in steps, so that cores do not fight over the
/// counter.
const COUNTED_STEP_BYTES: usize = 16 << 10;
/// A partition that has been over its limit for so long refuses writes at once: nothing more can
/// leave it.
const PATIENCE_US: u64 = 10_000_000;

/// Whether a partition can take a write that makes it larger.
pub(crate) enum Room {
    Enough,
    Later,
    Never,
}

/// Requests that wait for memory, with their partitions.
#[derive(Default)]
pub(crate) struct MemoryQueue(Mutex<Vec<(usize, Wake)>>);

impl MemoryQueue {
    pub(crate) fn push(&self, number: usize, wake: Wake) {
        self.0.lock().push((number, wake));
    }

    /// Lets those run again that wait for a partition; all of them if none is named.
    pub(crate) fn wake(&self, number: Option<usize>) {
        let mut waiting = self.0.lock();
        if waiting.is_empty() {
            return;
        }
        let woken: Vec<_> = waiting
            .extract_if(.., |(waits_for, _)| number.is_none_or(|number| number == *waits_for))
            .collect();
        drop(waiting);
        for (_, wake) in woken {
            wake();
        }
    }
}

impl Inner {
    /// Counts what recovery brought.
    pub(crate) fn weigh_entries(&self) {
        for number in 0..self.partitions.count() {
            self.account(&mut self.partitions.lock(number));
        }
    }

    /// Notes how much memory the store uses; the rest of the budget is for entries.
    pub(crate) fn weigh_store(&self) {
        let bytes = self.store.as_ref().map_or(0, |store| store.memory_bytes());
        self.store_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What all entries may use: half of the budget at least, for with a small one the store alone
    /// fills it.
    fn entries_max_bytes(&self) -> u64 {
        let budget = self.settings.memory_max_bytes;
        budget - self.store_bytes.load(Ordering::Relaxed).min(budget / 2)
    }

    /// What entries keep when they can choose: what is left is for writes while a checkpoint makes
    /// entries clean.
    fn entries_kept_bytes(&self) -> u64 {
        let most = self.entries_max_bytes();
        if self.store.is_some() { most / 5 * 4 } else { most }
    }

    /// Counts a partition's memory in the total, unless it has hardly changed.
    fn account(&self, partition: &mut Partition) {
        let bytes = partition.state.memory_bytes();
        let counted = partition.counted_bytes;
        if bytes.abs_diff(counted) >= COUNTED_STEP_BYTES {
            // Wraps where memory has shrunk, and the sum is right again.
            let change = (bytes as u64).wrapping_sub(counted as u64);
            self.entries_bytes.fetch_add(change, Ordering::Relaxed);
            partition.counted_bytes = bytes;
        }
    }

    /// Pushes entries out of a partition that uses more than its share of a limit, where all
    /// together do.
    fn push_out(&self, partition: &mut Partition, limit: u64, count: usize) -> bool {
        self.account(partition);
        let share = (limit / self.partitions.count() as u64) as usize;
        let fits = partition.state.memory_bytes() <= share
            || self.entries_bytes.load(Ordering::Relaxed) <= limit
            || partition.state.evict(share, count);
        self.account(partition);
        fits
    }

    /// Keeps the node within its memory budget as far as clean entries allow.
    pub(crate) fn make_room(&self, partition: &mut Partition) {
        if !self.push_out(partition, self.entries_kept_bytes(), 16)
            && !self.checkpoint_wanted.load(Ordering::Relaxed)
        {
            self.checkpoint_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// The same after a key was fetched: reading alone need not leave room for writes.
    pub(crate) fn make_room_for_reading(&self, partition: &mut Partition) {
        self.push_out(partition, self.entries_max_bytes() / 20 * 19, 16);
    }

    /// Whether a partition has room for so many bytes more.
    pub(crate) fn room(&self, partition: &mut Partition, bytes: u64) -> Room {
        let Some(limit) = self.entries_max_bytes().checked_sub(bytes) else { return Room::Never };
        let share = (limit / self.partitions.count() as u64) as usize;
        let is_over = |partition: &Partition| {
            partition.state.memory_bytes() > share
                && self.entries_bytes.load(Ordering::Relaxed) > limit
        };
        if !is_over(partition) {
            partition.pressed_since_us = None;
            return Room::Enough;
        }
        self.push_out(partition, self.entries_kept_bytes().min(limit), EVICT_MAX);
        if !is_over(partition) {
            partition.pressed_since_us = None;
            return Room::Enough;
        }
        if self.store.is_none() || self.stopping.load(Ordering::Relaxed) {
            return Room::Never;
        }
        self.checkpoint_wanted.store(true, Ordering::Relaxed);
        let now_us = self.settings.clock.monotonic_us();
        let since_us = *partition.pressed_since_us.get_or_insert(now_us);
        if now_us.saturating_sub(since_us) > PATIENCE_US { Room::Never } else { Room::Later }
    }
}
