//! Writes and reads with types, for SQL and embedded use: without the words of a command, and
//! without a reply to take apart.

use crate::engine::Engine;
use crate::gate::Gates;
use crate::request::{Demand, Executed, Numbers, Wait, charged_bytes};
use crate::session::Session;
use thalweg_machine::{CommandError, Execution, ReplyBuilder, Write};

/// What one batch may add; the same for a transaction of commands.
const WRITES_MAX_BYTES: usize = 256 << 20;

impl Engine {
    /// Reads a field of a hash into `value`; false where there is no such field.
    pub fn read_field(
        &self,
        key: &[u8],
        field: &[u8],
        value: &mut Vec<u8>,
    ) -> Executed<Result<bool, CommandError>> {
        self.access(key, Demand::Nothing, |execution| {
            value.clear();
            execution.visit_field(key, field, &mut |found| value.extend_from_slice(found))
        })
    }

    /// Makes all of these writes as one batch of the log, if nothing that the session watches has
    /// changed. False: something has, and nothing was written. A write that is refused refuses all
    /// of them. The session watches nothing afterwards.
    ///
    /// Records are not looked at by whoever admits those of clients: the caller has done that.
    pub fn write_all(
        &self,
        session: &mut Session,
        writes: &[Write<'_>],
    ) -> Executed<Result<bool, CommandError>> {
        let bytes: usize = writes.iter().map(Write::bytes).sum();
        if bytes > WRITES_MAX_BYTES {
            self.unwatch_all(session);
            let message = "these writes are too large for one batch: 256 MiB are possible";
            return Executed::Done(Err(CommandError::new(message)), Gates::NONE);
        }
        // What only takes away is done when memory is full, too.
        let demand = match writes.iter().all(Write::shrinks) {
            true => Demand::Log,
            false => Demand::Memory(charged_bytes(bytes as u64)),
        };
        let numbers = self.numbers_of_writes(session, writes);
        let mut nobody = ReplyBuilder::default();
        let now_ms = self.now_ms();
        let ran = self.inner.run(&numbers, demand, now_ms, &mut nobody, |execution| {
            if session.has_watched_change(&mut execution.states) {
                execution.gate = session.watched_gate();
                return Ok(Ok(false));
            }
            let cold = cold_keys(execution, writes);
            if !cold.is_empty() {
                return Err(Wait::ColdKeys(cold));
            }
            Ok(execution.write_all(writes).map(|()| true))
        });
        match ran {
            Ok((outcome, gates)) => {
                self.unwatch_all(session);
                Executed::Done(outcome, gates)
            }
            Err(stop) => {
                let executed = stop.outcome();
                if matches!(executed, Executed::Done(..)) {
                    self.unwatch_all(session);
                }
                executed
            }
        }
    }

    fn numbers_of_writes(&self, session: &Session, writes: &[Write<'_>]) -> Numbers {
        let partitions = &self.inner.partitions;
        let keys = writes.iter().map(Write::key);
        let watched = session.watched.iter().map(|watched| watched.key.as_slice());
        let mut numbers: Numbers = keys.chain(watched).map(|key| partitions.of(key)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

fn cold_keys(execution: &mut Execution<'_>, writes: &[Write<'_>]) -> Vec<Vec<u8>> {
    let states = &mut execution.states;
    if !states.all().iter().any(|state| state.has_cold()) {
        return Vec::new();
    }
    let mut keys: Vec<&[u8]> = writes.iter().map(Write::key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| states.of(key).is_cold(key));
    keys.into_iter().map(<[u8]>::to_vec).collect()
}
