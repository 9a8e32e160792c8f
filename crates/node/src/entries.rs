//! Typed access to string entries with their versions, for the HTTP door and embedded use.

use crate::engine::Engine;
use crate::execute::{Executed, OUT_OF_MEMORY, charged_bytes};
use crate::memory::Wanted;
use thalweg_machine::{
    CommandError, Condition, Execution, Lsn, ReplyBuilder, States, StringEntry, WriteOutcome,
};

/// How an access to one key ended.
pub enum Entered<T> {
    /// The outcome; nobody may be told before this LSN is settled.
    Done(T, Lsn),
    /// Nothing was done: wait for this ([`Engine::provide`]) and try again.
    Needs(Wanted),
}

impl Engine {
    /// Reads a string with its version.
    pub fn read_entry(&self, key: &[u8]) -> Entered<Result<Option<StringEntry>, CommandError>> {
        self.enter(key, |execution| execution.read_string(key))
    }

    /// Writes a string if a condition holds.
    pub fn put_entry(
        &self,
        key: &[u8],
        value: &[u8],
        expires_at_ms: Option<u64>,
        condition: &Condition,
    ) -> Entered<Result<WriteOutcome, CommandError>> {
        if let Some(error) = self.refuses_writes() {
            return Entered::Done(Err(error), 0);
        }
        let mut refusal = ReplyBuilder::default();
        let number = self.inner.partitions.of(key);
        match self.inner.out_of_room_in(&[number], charged_bytes(value.len() as u64), &mut refusal)
        {
            Some(Executed::Needs(wanted)) => return Entered::Needs(wanted),
            Some(_) => return Entered::Done(Err(OUT_OF_MEMORY), 0),
            None => {}
        }
        self.enter(key, |execution| execution.put_string(key, value, expires_at_ms, condition))
    }

    /// Deletes a key if a condition holds.
    pub fn delete_entry(
        &self,
        key: &[u8],
        condition: &Condition,
    ) -> Entered<Result<WriteOutcome, CommandError>> {
        if let Some(error) = self.refuses_writes() {
            return Entered::Done(Err(error), 0);
        }
        self.enter(key, |execution| Ok(execution.delete_key(key, condition)))
    }

    pub(crate) fn enter<T>(
        &self,
        key: &[u8],
        work: impl FnOnce(&mut Execution<'_>) -> T,
    ) -> Entered<T> {
        let inner = &self.inner;
        let mut guard = inner.lock_with_room(inner.partitions.of(key));
        if guard.state.is_cold(key) {
            return Entered::Needs(Wanted::Keys(vec![key.to_vec()]));
        }
        let partition = &mut *guard;
        let mut nobody = ReplyBuilder::default();
        let mut execution = Execution {
            lsn: inner.lane.next_lsn(partition.state.last_lsn()),
            states: States::One(&mut partition.state),
            effects: &mut partition.pending,
            now_ms: self.now_ms(),
            random: 0,
            gate: 0,
            changed: false,
            answer: &mut nobody,
        };
        let outcome = work(&mut execution);
        let (gate, changed) = (execution.gate, execution.changed);
        let woken = inner.after_execution(partition, changed);
        drop(guard);
        if changed {
            inner.lane.note_work();
            inner.lane.flush();
        }
        inner.waiters.wake(&woken);
        Entered::Done(outcome, gate)
    }
}
