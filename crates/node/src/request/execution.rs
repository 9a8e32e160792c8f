//! The execution of a request: what happens from locking its partitions to waking those who waited
//! for what it changed. It stands here once, for one partition and for several.

use super::{Demand, Locked, Stop, Wait};
use crate::engine::Inner;
use crate::partition::Partition;
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use thalweg_machine::{Answer, EffectBuffer, Execution, Lsn, States};

/// Partitions by their numbers: ascending, each once.
pub(crate) type Numbers = SmallVec<[usize; 8]>;

impl Inner {
    /// Runs `work` on the partitions of a request; gives its outcome, and the LSN that must be
    /// settled before anybody is told. Work that finds that it must wait has changed nothing that
    /// running it again would change once more.
    pub(crate) fn run<T>(
        &self,
        numbers: &[usize],
        demand: Demand,
        now_ms: u64,
        answer: &mut dyn Answer,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, Wait>,
    ) -> Result<(T, Lsn), Stop> {
        match numbers {
            // What has no key runs anywhere.
            [] => self.run_on_one(0, demand, now_ms, answer, work),
            [number] => self.run_on_one(*number, demand, now_ms, answer, work),
            _ => self.run_on_many(numbers, demand, now_ms, answer, work),
        }
    }

    /// The same for one partition, as nearly every request has it: its effects go straight into the
    /// partition's open batch.
    #[inline]
    pub(crate) fn run_on_one<T>(
        &self,
        number: usize,
        demand: Demand,
        now_ms: u64,
        answer: &mut dyn Answer,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, Wait>,
    ) -> Result<(T, Lsn), Stop> {
        let mut guard = self.partitions.lock(number);
        let partition = &mut *guard;
        self.grant(number, partition, demand)?;
        let lsn = self.lane.next_lsn(partition.state.last_lsn());
        let mut execution = Execution {
            states: States::One(&mut partition.state),
            effects: &mut partition.pending,
            lsn,
            now_ms,
            random: lsn,
            gate: 0,
            changed: false,
            answer,
        };
        let outcome = work(&mut execution);
        let (gate, changed) = (execution.gate, execution.changed);
        let woken = self.after_execution(partition, changed);
        if changed {
            // Under the lock: whoever sees this LSN may count on it that a flush commits it.
            self.lane.note_work();
        }
        drop(guard);
        self.waiters.wake(&woken);
        Ok((outcome?, gate))
    }

    /// The same for several: their effects are one batch, behind all that they hold.
    fn run_on_many<T>(
        &self,
        numbers: &[usize],
        demand: Demand,
        now_ms: u64,
        answer: &mut dyn Answer,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, Wait>,
    ) -> Result<(T, Lsn), Stop> {
        let mut locked = Locked::new(self, numbers);
        locked.grant(self, demand)?;
        let lsn = locked.next_lsn(self);
        let route = locked.route(self);
        let mut effects = EffectBuffer::default();
        let mut execution = Execution {
            states: States::Many { states: locked.states(), route: &route },
            effects: &mut effects,
            lsn,
            now_ms,
            random: lsn,
            gate: 0,
            changed: false,
            answer,
        };
        let outcome = work(&mut execution);
        let (gate, changed) = (execution.gate, execution.changed);
        let woken = locked.finish(self, lsn, effects, changed);
        drop(locked);
        self.waiters.wake(&woken);
        Ok((outcome?, gate))
    }

    /// What follows every execution: eviction, statistics, and readers that were waiting.
    pub(super) fn after_execution(&self, partition: &mut Partition, changed: bool) -> Vec<u64> {
        if !changed {
            partition.reads += 1;
            return Vec::new();
        }
        partition.writes += 1;
        self.make_room(partition);
        partition.state.take_woken()
    }

    pub(crate) fn next_random(&self) -> u64 {
        // A counter put through a mixer: no two threads get the same.
        let mut value = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }
}
