//! What a node does by itself: expiring keys, checkpoints, filters.

use crate::cold_expiry::ColdExpiry;
use crate::engine::Inner;
use crate::halt::halt_on_bug;
use crate::metrics::Role;
use crate::request::Demand;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thalweg_machine::{Effect, ReplyBuilder};

const TICK: Duration = Duration::from_millis(50);
/// Keys of one partition that are expired under one lock.
const EXPIRE_BATCH: usize = 256;
/// With changes but little traffic, a checkpoint is taken this often.
const CHECKPOINT_INTERVAL_MS: u64 = 300_000;

/// The timer thread's life: deletes keys that have expired, as logged effects.
pub(crate) fn run_timers(inner: &Arc<Inner>) {
    while !inner.stopping.load(Ordering::Relaxed) {
        let now_ms = inner.settings.clock.now_ms();
        let mut any = false;
        for number in 0..inner.partitions.count() {
            while inner.expire_some(number, now_ms) == EXPIRE_BATCH {
                any = true;
            }
        }
        if any {
            inner.lanes.flush();
        }
        // Whose patience is over must hear of it.
        inner.memory_queue.wake(None);
        std::thread::sleep(TICK);
    }
    inner.memory_queue.wake(None);
}

impl Inner {
    /// Deletes keys of a partition that have expired; says how many.
    fn expire_some(&self, number: usize, now_ms: u64) -> usize {
        if self.lanes.of(number).role() != Role::Leader {
            return 0;
        }
        let is_due = |at_ms| at_ms <= now_ms;
        if !self.partitions.lock(number).state.next_expiry_ms().is_some_and(is_due) {
            return 0;
        }
        let mut nobody = ReplyBuilder::default();
        let ran = self.run_on_one(number, Demand::Nothing, now_ms, &mut nobody, |execution| {
            if !execution.decides {
                // The lane was lost since it was asked.
                return Ok(0);
            }
            let states = execution.states.all().iter();
            let keys: Vec<_> =
                states.flat_map(|state| state.expired_keys(now_ms, EXPIRE_BATCH)).collect();
            for key in &keys {
                execution.decide(&Effect::Delete { key });
            }
            Ok(keys.len())
        });
        let Ok((count, _)) = ran else {
            halt_on_bug("the deletion of expired keys was asked to wait, and has nowhere to")
        };
        self.expired.fetch_add(count as u64, Ordering::Relaxed);
        self.lanes.of(number).flush();
        count
    }
}

/// The checkpoint thread's life.
pub(crate) fn run_checkpoints(inner: &Arc<Inner>) {
    if let Some(store) = &inner.store {
        for number in 0..inner.partitions.count() {
            if inner.stopping.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = store.build_filter(number as u16) {
                tracing::error!(
                    %error,
                    "a filter of keys could not be built; keys that do not exist are looked for \
                     on disk"
                );
            }
        }
    }
    let clock = &inner.settings.clock;
    let mut last_bytes = 0;
    let mut last_us = clock.monotonic_us();
    while !inner.stopping.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let appended = inner.lanes.iter().map(|lane| lane.log.report().stored_bytes).sum::<u64>();
        let grown = appended - last_bytes;
        let aged = clock.monotonic_us() - last_us > CHECKPOINT_INTERVAL_MS * 1_000;
        let wanted = inner.checkpoint_wanted.load(Ordering::Relaxed);
        if grown < inner.settings.checkpoint_log_bytes && !wanted && !(aged && grown > 0) {
            continue;
        }
        // Nothing is lost where it fails: the log is kept until a checkpoint succeeds. It is tried
        // again when there is as much more to write.
        last_bytes = appended;
        if let Err(error) = inner.checkpoint() {
            tracing::error!(%error, "the checkpoint failed and will be tried again");
        }
        inner.checkpoint_wanted.store(false, Ordering::Relaxed);
        last_us = clock.monotonic_us();
    }
}

/// The compaction thread's life: merges what checkpoints wrote, so that reads look in few places,
/// and looks for keys that expired there.
pub(crate) fn run_compaction(inner: &Arc<Inner>) {
    let Some(store) = &inner.store else { return };
    let mut cold_expiry = ColdExpiry::default();
    while !inner.stopping.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        cold_expiry.step(inner, store);
        if inner.compaction_wanted.swap(false, Ordering::AcqRel)
            && let Err(error) = store.compact()
        {
            tracing::error!(%error, "the checkpoint store is not being merged; reads from it \
                                     become slower");
        }
    }
}
