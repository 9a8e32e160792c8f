//! Several partitions, locked for one request.

use super::{Demand, Numbers, Stop};
use crate::engine::Inner;
use crate::gate::{Gate, Gates};
use crate::halt::halt_on_bug;
use crate::lane::Lane;
use crate::partition::Partition;
use parking_lot::MutexGuard;
use std::num::NonZero;
use thalweg_machine::{EffectBuffer, Lsn, State};

/// Several partitions, locked in ascending order.
pub(crate) struct Locked<'a> {
    numbers: Numbers,
    guards: Vec<MutexGuard<'a, Partition>>,
}

impl<'a> Locked<'a> {
    pub(crate) fn new(inner: &'a Inner, numbers: &[usize]) -> Self {
        debug_assert!(
            numbers.is_sorted(),
            "a fixed order is what keeps two of these from waiting for each other"
        );
        let guards = numbers.iter().map(|&number| inner.partitions.lock(number)).collect();
        Self { numbers: numbers.into(), guards }
    }

    /// Whether every one of them has room for what a request adds, and the log for a transaction.
    /// Gives an LSN that is above all that these partitions have; none where the lane is not led.
    pub(super) fn grant(
        &mut self,
        inner: &Inner,
        lane: &Lane,
        demand: Demand,
    ) -> Result<Option<NonZero<Lsn>>, Stop> {
        inner.grant_transaction(lane, demand)?;
        for (&number, guard) in self.numbers.iter().zip(&mut self.guards) {
            inner.grant(lane, number, guard, demand)?;
        }
        let last = self.guards.iter().map(|guard| guard.state.last_lsn()).max();
        let next = lane.next_lsn(last.unwrap_or(0));
        if next.is_none() && demand.is_something() {
            return Err(lane.not_led());
        }
        Ok(next)
    }

    /// What somebody waits for who may have seen anything in these partitions.
    pub(super) fn gates(&self, inner: &Inner) -> Gates {
        let mut gates = Gates::NONE;
        for (&number, guard) in self.numbers.iter().zip(&self.guards) {
            gates.add(Gate::new(inner.lanes.of(number).number, guard.state.last_lsn()));
        }
        gates
    }

    /// Counts a request that has only read.
    pub(super) fn note_read(&mut self) {
        self.guards.iter_mut().for_each(|guard| guard.reads += 1);
    }

    pub(super) fn states(&mut self) -> Vec<&mut State> {
        self.guards.iter_mut().map(|guard| &mut guard.state).collect()
    }

    /// Which of the states holds a key. A key whose partition is not locked is a bug, and the
    /// process ends: from any other state the answer would be wrong, and a write would be lost.
    pub(super) fn route(&self, inner: &'a Inner) -> impl Fn(&[u8]) -> usize + use<'a> {
        let numbers = self.numbers.clone();
        move |key| {
            let number = inner.partitions.of(key);
            numbers.binary_search(&number).unwrap_or_else(|_| {
                halt_on_bug(&format!(
                    "a command used a key of partition {number}, but only {numbers:?} are locked \
                     for it"
                ))
            })
        }
    }

    /// Sends the effects on their way and does what follows every execution.
    pub(super) fn finish(
        &mut self,
        inner: &Inner,
        lane: &Lane,
        lsn: Lsn,
        effects: EffectBuffer,
        changed: bool,
    ) -> Vec<u64> {
        let mut woken = Vec::new();
        if changed {
            for guard in &mut self.guards {
                guard.state.set_last_lsn(lsn);
            }
            let parts = self.numbers.iter().zip(&mut self.guards);
            let parts = parts.map(|(&number, guard)| (number as u16, &mut guard.pending));
            lane.take_transaction(parts, effects);
        }
        for guard in &mut self.guards {
            woken.extend(inner.after_execution(guard, changed));
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use crate::request::Demand;
    use crate::{Engine, EngineSettings};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use thalweg_machine::ReplyBuilder;

    const CHILD: &str = "THALWEG_TEST_KEY_OF_ANOTHER_PARTITION";
    const SIGABRT: i32 = 6;

    /// Uses a key whose partition is not locked.
    fn use_a_key_of_another_partition() {
        let engine = Engine::open(EngineSettings::in_memory()).expect("open");
        let inner = &engine.inner;
        let mut nobody = ReplyBuilder::default();
        let numbers: Vec<usize> = (1..inner.partitions.count()).collect();
        let elsewhere = (0..u32::MAX)
            .map(|number| format!("key{number}").into_bytes())
            .find(|key| inner.partitions.of(key) == 0);
        let key = elsewhere.expect("there is a key in each partition");
        let ran = inner.run(&numbers, Demand::Nothing, 0, &mut nobody, |execution| {
            Ok(execution.states.of(&key).key_count())
        });
        assert!(ran.is_ok(), "it answers from another partition's state");
    }

    /// The process ends, so it is another process.
    #[test]
    fn a_key_of_a_partition_that_is_not_locked_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            return use_a_key_of_another_partition();
        }
        let name =
            "request::locked::tests::a_key_of_a_partition_that_is_not_locked_ends_the_process";
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("a child process");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(SIGABRT), "{said}");
        assert!(said.contains("a command used a key of partition 0, but only [1, 2, 3,"), "{said}");
    }
}
