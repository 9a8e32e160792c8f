//! The commit thread: takes what partitions hold, writes it, makes it durable, tells everybody.

use super::*;

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
        for number in 0..partitions.count() {
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
            if spare.len() < partitions.count() {
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
                epoch: 1,
                count: taken.effects.count(),
                payload: taken.effects.bytes(),
            })
            .collect();
        loop {
            match self.log.append(&batches) {
                Ok(()) => {
                    self.look_for_room();
                    return true;
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
            Ok(()) => true,
            Err(error) => {
                self.fail(&error.to_string());
                false
            }
        }
    }

    /// A failed log is never used again: nothing more is acknowledged.
    pub(super) fn fail(&self, why: &str) {
        tracing::error!("{why}");
        self.set_health(Health::Failed);
        self.tell_everybody();
    }

    pub(super) fn settle(&self, lsn: Lsn) {
        self.settled.store(lsn, Ordering::Release);
        self.tell_everybody();
    }

    pub(super) fn tell_everybody(&self) {
        {
            let _waiters_see_it = self.settled_changed.0.lock();
            self.settled_changed.1.notify_all();
        }
        for listener in &*self.listeners.lock() {
            listener.tell();
        }
        let passed = |waiting: &mut (Lsn, Wake)| self.passed(waiting.0).is_some();
        let woken: Vec<_> = self.settling.lock().extract_if(.., passed).collect();
        for (_, wake) in woken {
            wake();
        }
    }
}
