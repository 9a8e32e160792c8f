//! The commit thread: takes what partitions hold, writes it, makes it durable, tells everybody.

use super::{FULL_RETRY, LINGER, Lane, POSITION_BITS, Taken};
use crate::metrics::{Health, Role};
use crate::partition::Partitions;
use crate::settings::Durability;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thalweg_base::Clock;
use thalweg_log::{Batch, LogError};
use thalweg_machine::Lsn;

impl Lane {
    /// The commit thread's life.
    pub(crate) fn run(&self, partitions: &Partitions, clock: &dyn Clock, sync_interval_ms: u64) {
        let _only_once = self.commit_thread.set(std::thread::current());
        let mut last_sync_us = clock.monotonic_us();
        let mut unsynced = false;
        loop {
            if self.work.swap(false, Ordering::SeqCst) {
                if !self.commit(partitions, clock) {
                    return;
                }
                unsynced = true;
                if self.durability == Durability::None && !self.stopping.load(Ordering::Acquire) {
                    std::thread::sleep(LINGER);
                }
            } else if self.stopping.load(Ordering::Acquire) {
                self.finish(partitions, clock);
                return;
            } else if unsynced && self.durability == Durability::Interval {
                self.rest(Some(Duration::from_millis(sync_interval_ms)));
            } else {
                self.look_for_room();
                // A full disk is looked at now and then; otherwise there is nothing to do before
                // somebody calls.
                self.rest((self.health() == Health::Full).then_some(FULL_RETRY));
            }
            let due = clock.monotonic_us() >= last_sync_us + sync_interval_ms * 1_000;
            if unsynced && self.durability == Durability::Interval && due {
                last_sync_us = clock.monotonic_us();
                unsynced = false;
                if !self.sync() {
                    return;
                }
            }
        }
    }

    /// Sleeps until there is work, or for so long.
    pub(super) fn rest(&self, limit: Option<Duration>) {
        self.idle.store(true, Ordering::SeqCst);
        // Said first, looked at second: whoever has work now either sees us idle or is seen here.
        if !self.work.load(Ordering::SeqCst) && !self.stopping.load(Ordering::SeqCst) {
            match limit {
                Some(limit) => std::thread::park_timeout(limit),
                None => std::thread::park(),
            }
        }
        self.idle.store(false, Ordering::SeqCst);
    }

    /// Commits one group. False: the log has failed and the lane is closed.
    pub(super) fn commit(&self, partitions: &Partitions, clock: &dyn Clock) -> bool {
        let group = self.open_group.fetch_add(1, Ordering::SeqCst);
        for number in self.partitions.clone() {
            let mut partition = partitions.lock(number);
            if !partition.pending.is_empty() {
                let effects = std::mem::replace(&mut partition.pending, self.spare_buffer());
                self.taken.lock().push(Taken { partition: number as u16, effects });
            }
        }
        let taken = {
            let mut taken = self.taken.lock();
            self.taken_bytes.store(0, Ordering::Relaxed);
            std::mem::take(&mut *taken)
        };
        self.backlog.end_round();
        if !taken.is_empty() && !self.append(&taken, clock.now_ms()) {
            return false;
        }
        if self.durability == Durability::Sync && !taken.is_empty() && !self.sync() {
            return false;
        }
        self.settle(((group + 1) << POSITION_BITS) - 1);
        // Changes that ran over into the open group's numbers are not settled by this one.
        if taken.iter().any(|taken| taken.effects.last_lsn() > self.settled_lsn()) {
            self.work.store(true, Ordering::SeqCst);
        }
        let mut spare = self.spare.lock();
        for mut buffer in taken.into_iter().map(|taken| taken.effects) {
            if spare.len() < self.partitions.len() {
                buffer.clear();
                spare.push(buffer);
            }
        }
        true
    }

    /// Appends until it works: what was taken is applied and cannot be taken back. Meanwhile new
    /// writes are refused.
    pub(super) fn append(&self, taken: &[Taken], time_ms: u64) -> bool {
        let batches: Vec<Batch<'_>> = taken
            .iter()
            .map(|taken| Batch {
                partition: taken.partition,
                first_lsn: taken.effects.first_lsn(),
                last_lsn: taken.effects.last_lsn(),
                time_ms,
                origin: self.origin,
                count: taken.effects.count(),
                payload: taken.effects.bytes(),
            })
            .collect();
        loop {
            match self.log.append(&batches) {
                Ok(_end) => {
                    self.look_for_room();
                    return true;
                }
                Err(error @ LogError::Fenced { .. }) => {
                    self.depose(&error);
                    return false;
                }
                Err(error) if error.is_fatal() => {
                    self.fail(&error.to_string());
                    return false;
                }
                Err(error) => {
                    if self.health() == Health::Ok {
                        tracing::error!(%error, "writes are refused until there is space");
                    }
                    self.set_health(Health::Full);
                    if self.stopping.load(Ordering::Acquire) {
                        self.fail("the disk is full and the node was told to stop");
                        return false;
                    }
                    std::thread::park_timeout(FULL_RETRY);
                }
            }
        }
    }

    pub(super) fn look_for_room(&self) {
        let health = if self.log.has_room() { Health::Ok } else { Health::Full };
        let before = self.health();
        if before == health || before == Health::Failed {
            return;
        }
        match health {
            Health::Ok => tracing::info!("there is space for the log again; writes are taken"),
            _ => tracing::error!(
                "no space for the next log segment; writes are refused until there is"
            ),
        }
        self.set_health(health);
    }

    pub(super) fn sync(&self) -> bool {
        match self.log.sync() {
            Ok(_durable) => true,
            Err(error @ LogError::Fenced { .. }) => {
                self.depose(&error);
                false
            }
            Err(error) => {
                self.fail(&error.to_string());
                false
            }
        }
    }

    /// A failed log is never used again: nothing more is acknowledged, and nothing decided.
    pub(super) fn fail(&self, why: &str) {
        tracing::error!(lane = self.number, "{why}");
        self.set_health(Health::Failed);
        self.open_group.store(0, Ordering::SeqCst);
        self.tell_everybody();
    }

    /// Another node leads now. What was decided here and is not in the log is nobody's.
    fn depose(&self, error: &LogError) {
        tracing::error!(lane = self.number, "{error}");
        self.standing.set_role(Role::Deposed);
        self.open_group.store(0, Ordering::SeqCst);
        self.backlog.end_round();
        self.tell_everybody();
    }

    pub(super) fn settle(&self, lsn: Lsn) {
        self.settled.store(lsn, Ordering::Release);
        self.tell_everybody();
    }
}
