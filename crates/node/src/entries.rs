//! Typed access to string entries with their versions, for the HTTP door and embedded use.

use crate::engine::Engine;
use crate::request::{Demand, Executed, Wait, charged_bytes};
use thalweg_machine::{
    CommandError, Condition, Execution, ReplyBuilder, StringEntry, WriteOutcome,
};

impl Engine {
    /// Reads a string with its version.
    pub fn read_entry(&self, key: &[u8]) -> Executed<Result<Option<StringEntry>, CommandError>> {
        self.access(key, Demand::Nothing, |execution| execution.read_string(key))
    }

    /// Writes a string if a condition holds.
    pub fn put_entry(
        &self,
        key: &[u8],
        value: &[u8],
        expires_at_ms: Option<u64>,
        condition: &Condition,
    ) -> Executed<Result<WriteOutcome, CommandError>> {
        let demand = Demand::Memory(charged_bytes(value.len() as u64));
        self.change(key, demand, |execution| {
            execution.put_string(key, value, expires_at_ms, condition)
        })
    }

    /// Deletes a key if a condition holds.
    pub fn delete_entry(
        &self,
        key: &[u8],
        condition: &Condition,
    ) -> Executed<Result<WriteOutcome, CommandError>> {
        self.change(key, Demand::Log, |execution| Ok(execution.delete_key(key, condition)))
    }

    fn change<T>(
        &self,
        key: &[u8],
        demand: Demand,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, CommandError>,
    ) -> Executed<Result<T, CommandError>> {
        let executed = self.access(key, demand, work);
        self.flush();
        executed
    }

    /// Does something with a key that is in memory, or nowhere.
    pub(crate) fn access<T>(
        &self,
        key: &[u8],
        demand: Demand,
        work: impl FnOnce(&mut Execution<'_>) -> Result<T, CommandError>,
    ) -> Executed<Result<T, CommandError>> {
        let inner = &self.inner;
        let mut nobody = ReplyBuilder::default();
        let number = inner.partitions.of(key);
        let ran = inner.run_on_one(number, demand, self.now_ms(), &mut nobody, |execution| {
            if execution.states.of(key).is_cold(key) {
                return Err(Wait::ColdKeys(vec![key.to_vec()]));
            }
            Ok(work(execution))
        });
        match ran {
            Ok((outcome, gates)) => Executed::Done(outcome, gates),
            Err(stop) => stop.outcome(),
        }
    }
}
