//! The execution of a request: what happens from locking its partitions to waking those who waited
//! for what it changed. It stands here once, for one partition and for several.

use super::{Demand, Locked, Stop, Wait};
use crate::engine::Inner;
use crate::gate::{Gate, Gates};
use crate::halt::halt_on_bug;
use crate::lane::Lane;
use crate::partition::Partition;
use smallvec::SmallVec;
use std::num::NonZero;
use std::sync::atomic::Ordering;
use thalweg_machine::{Answer, CommandError, EffectBuffer, Execution, Lsn, ReplyBuilder, States};

const DIFFERENT_LANES: CommandError =
    CommandError::coded("CROSSSLOT", "Keys in request are in different lanes");

/// Partitions by their numbers: ascending, each once.
pub(crate) type Numbers = SmallVec<[usize; 8]>;

impl Inner {
    /// Runs `work` on the partitions of a request; gives its outcome, and the gates that must be
    /// passed before anybody is told. Work that finds that it must wait has changed nothing that
    /// running it again would change once more.
    ///
    /// A request that writes has its partitions in one lane, or is refused. One that only reads may
    /// use several.
    pub(crate) fn run<T>(
        &self,
        numbers: &[usize],
        demand: Demand,
        now_ms: u64,
        answer: &mut dyn Answer,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, Wait>,
    ) -> Result<(T, Gates), Stop> {
        match numbers {
            // What has no key runs anywhere.
            [] => self.run_on_one(0, demand, now_ms, answer, work),
            [number] => self.run_on_one(*number, demand, now_ms, answer, work),
            _ => match self.lanes.common(numbers) {
                Some(lane) => self.run_on_many(lane, numbers, demand, now_ms, answer, work),
                None => self.run_across(numbers, demand, now_ms, answer, work),
            },
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
    ) -> Result<(T, Gates), Stop> {
        let mut guard = self.partitions.lock(number);
        let partition = &mut *guard;
        let lane = self.lanes.of(number);
        self.grant(lane, number, partition, demand)?;
        let next = lane.next_lsn(partition.state.last_lsn());
        if next.is_none() && demand.is_something() {
            return Err(lane.not_led());
        }
        let lsn = next.map_or(0, NonZero::get);
        let mut execution = Execution {
            states: States::One(&mut partition.state),
            effects: &mut partition.pending,
            lsn,
            now_ms,
            random: lsn,
            decides: next.is_some(),
            gate: 0,
            changed: false,
            answer,
        };
        let outcome = work(&mut execution);
        let (gate, changed) = (execution.gate, execution.changed);
        let woken = self.after_execution(partition, changed);
        if changed {
            // Under the lock: whoever sees this LSN may count on it that a flush commits it.
            lane.note_work();
        }
        drop(guard);
        self.waiters.wake(&woken);
        Ok((outcome?, Gate::new(lane.number, gate).into()))
    }

    /// The same for several of one lane: their effects are one batch, behind all that they hold.
    fn run_on_many<T>(
        &self,
        lane: &Lane,
        numbers: &[usize],
        demand: Demand,
        now_ms: u64,
        answer: &mut dyn Answer,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, Wait>,
    ) -> Result<(T, Gates), Stop> {
        let mut locked = Locked::new(self, numbers);
        let next = locked.grant(self, lane, demand)?;
        let mut woken = Vec::new();
        let ran = self.run_locked(lane, &mut locked, next, now_ms, answer, &mut woken, work);
        drop(locked);
        self.waiters.wake(&woken);
        let (outcome, gate) = ran;
        Ok((outcome?, gate.into()))
    }

    /// The same for all partitions, where what happens in one lane does not need the others: one
    /// batch in each. Either all lanes agree to it, or nothing is done. The answer is the first
    /// lane's.
    pub(crate) fn run_in_each_lane(
        &self,
        demand: Demand,
        now_ms: u64,
        answer: &mut dyn Answer,
        mut work: impl FnMut(&mut Execution<'_>) -> Result<(), Wait>,
    ) -> Result<((), Gates), Stop> {
        let mut held = Vec::with_capacity(self.lanes.count());
        for lane in self.lanes.iter() {
            let numbers: Numbers = lane.partitions.clone().collect();
            let mut locked = Locked::new(self, &numbers);
            let next = locked.grant(self, lane, demand)?;
            held.push((lane, locked, next));
        }
        let mut nobody = ReplyBuilder::default();
        let (mut woken, mut gates, mut outcome) = (Vec::new(), Gates::NONE, Ok(()));
        for (lane, locked, next) in &mut held {
            let answer: &mut dyn Answer = if lane.number == 0 { answer } else { &mut nobody };
            let (done, gate) =
                self.run_locked(lane, locked, *next, now_ms, answer, &mut woken, &mut work);
            gates.add(gate);
            outcome = outcome.and(done);
        }
        drop(held);
        self.waiters.wake(&woken);
        Ok((outcome?, gates))
    }

    /// Runs `work` on partitions of one lane that are locked for it.
    #[expect(clippy::too_many_arguments, reason = "all of it is one request")]
    fn run_locked<T>(
        &self,
        lane: &Lane,
        locked: &mut Locked<'_>,
        next: Option<NonZero<Lsn>>,
        now_ms: u64,
        answer: &mut dyn Answer,
        woken: &mut Vec<u64>,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, Wait>,
    ) -> (Result<T, Wait>, Gate) {
        let lsn = next.map_or(0, NonZero::get);
        let route = locked.route(self);
        let mut effects = EffectBuffer::default();
        let mut execution = Execution {
            states: States::Many { states: locked.states(), route: &route },
            effects: &mut effects,
            lsn,
            now_ms,
            random: lsn,
            decides: next.is_some(),
            gate: 0,
            changed: false,
            answer,
        };
        let outcome = work(&mut execution);
        let (gate, changed) = (execution.gate, execution.changed);
        woken.extend(locked.finish(self, lane, lsn, effects, changed));
        (outcome, Gate::new(lane.number, gate))
    }

    /// Reads in several lanes. Nothing is decided, for a decision is one batch of one lane. The
    /// outcome waits for all that its partitions have.
    fn run_across<T>(
        &self,
        numbers: &[usize],
        demand: Demand,
        now_ms: u64,
        answer: &mut dyn Answer,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, Wait>,
    ) -> Result<(T, Gates), Stop> {
        if demand.is_something() {
            return Err(Stop::Refused(DIFFERENT_LANES));
        }
        let mut locked = Locked::new(self, numbers);
        let gates = locked.gates(self);
        let route = locked.route(self);
        let mut effects = EffectBuffer::default();
        let mut execution = Execution {
            states: States::Many { states: locked.states(), route: &route },
            effects: &mut effects,
            lsn: 0,
            now_ms,
            random: 0,
            decides: false,
            gate: 0,
            changed: false,
            answer,
        };
        let outcome = work(&mut execution);
        if execution.changed {
            halt_on_bug("a request that reads in several lanes has changed something");
        }
        locked.note_read();
        Ok((outcome?, gates))
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
