//! MULTI, EXEC, DISCARD, WATCH: several commands as one batch.

use crate::engine::Engine;
use crate::execute::{Executed, Locked, written_bytes};
use crate::memory::Wanted;
use crate::session::{Queue, Session, Watched};
use crate::verbs::Access;
use smallvec::SmallVec;
use thalweg_machine::{
    Answer, Command, CommandError, DoorVerb, EffectBuffer, Execution, Flags, Lsn, NodeVerb,
    Outcome, Run, States, execute_fetched, find_command,
};

/// What one transaction may queue.
const QUEUE_MAX_COMMANDS: usize = 100_000;
const QUEUE_MAX_BYTES: usize = 256 << 20;

impl Engine {
    /// Queues a command of a transaction; `None` for those that end it.
    pub(crate) fn queue(
        &self,
        session: &mut Session,
        command: &Command,
        args: &[&[u8]],
        answer: &mut dyn Answer,
    ) -> Option<Executed> {
        let ends = matches!(
            command.run,
            Run::Node(NodeVerb::Exec | NodeVerb::Discard | NodeVerb::Multi | NodeVerb::Watch)
                | Run::Door(DoorVerb::Quit | DoorVerb::Reset)
        );
        let queue = session.queue.as_mut()?;
        if ends {
            return None;
        }
        queue.bytes += args.iter().map(|arg| arg.len() + 16).sum::<usize>();
        let error = if queue.commands.len() >= QUEUE_MAX_COMMANDS || queue.bytes > QUEUE_MAX_BYTES {
            Some(CommandError::new("the transaction is too large: 100000 commands, 256 MiB"))
        } else {
            None
        };
        match error {
            Some(error) => {
                queue.broken = true;
                answer.error(&error);
            }
            None => {
                queue.commands.push(args.iter().map(|arg| arg.to_vec()).collect());
                answer.simple("QUEUED");
            }
        }
        Some(Executed::Done { gate: 0 })
    }

    pub(crate) fn multi(&self, session: &mut Session, answer: &mut dyn Answer) -> Executed {
        if session.queue.is_some() {
            answer.error(&CommandError::new("MULTI calls can not be nested"));
        } else {
            session.queue = Some(Queue::default());
            answer.ok();
        }
        Executed::Done { gate: 0 }
    }

    pub(crate) fn discard(&self, session: &mut Session, answer: &mut dyn Answer) -> Executed {
        if session.queue.take().is_some() {
            self.unwatch_all(session);
            answer.ok();
        } else {
            answer.error(&CommandError::new("DISCARD without MULTI"));
        }
        Executed::Done { gate: 0 }
    }

    pub(crate) fn watch(
        &self,
        session: &mut Session,
        args: &[&[u8]],
        answer: &mut dyn Answer,
    ) -> Executed {
        if session.queue.is_some() {
            answer.error(&CommandError::new("WATCH inside MULTI is not allowed"));
            return Executed::Done { gate: 0 };
        }
        let mut gate = 0;
        for key in args.iter().skip(1) {
            if session.watched.iter().any(|watched| watched.key == **key) {
                continue;
            }
            let mut partition = self.inner.partitions.lock(self.inner.partitions.of(key));
            partition.state.watch(key);
            let changed_lsn = partition.state.watched_change(key);
            gate = gate.max(changed_lsn);
            session.watched.push(Watched { key: key.to_vec(), changed_lsn });
        }
        answer.ok();
        Executed::Done { gate }
    }

    /// Forgets what a session watches. To be called when a connection ends, too.
    pub fn unwatch_all(&self, session: &mut Session) {
        for watched in session.watched.drain(..) {
            let number = self.inner.partitions.of(&watched.key);
            self.inner.partitions.lock(number).state.unwatch(&watched.key);
        }
    }

    pub(crate) fn exec(
        &self,
        session: &mut Session,
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        let Some(queue) = session.queue.take() else {
            answer.error(&CommandError::new("EXEC without MULTI"));
            return Executed::Done { gate: 0 };
        };
        if queue.broken {
            self.unwatch_all(session);
            answer.error(&CommandError::coded(
                "EXECABORT",
                "Transaction discarded because of previous errors.",
            ));
            return Executed::Done { gate: 0 };
        }
        let executed = self.run_queue(session, &queue, now_ms, answer);
        match executed {
            // To be run again once that is there.
            Executed::Needs(_) => session.queue = Some(queue),
            _ => self.unwatch_all(session),
        }
        executed
    }

    fn run_queue(
        &self,
        session: &Session,
        queue: &Queue,
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        let inner = &self.inner;
        let commands: Vec<(&Command, Vec<&[u8]>)> = queue
            .commands
            .iter()
            .filter_map(|args| {
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                Some((find_command(args.first()?)?, args))
            })
            .collect();
        let numbers = self.numbers_of_queue(session, &commands);
        if let Some(error) = self.refuses_writes()
            && commands.iter().any(|(command, _)| command.flags.has(Flags::WRITE))
        {
            answer.error(&error);
            return Executed::Done { gate: 0 };
        }
        if commands.iter().any(|(command, _)| command.flags.has(Flags::WRITE))
            && let Some(executed) =
                inner.out_of_room_in(&numbers, written_by_queue(&commands), answer)
        {
            return executed;
        }
        inner.wait_for_log(&numbers);
        let mut locked = Locked::new(inner, &numbers);
        let route = locked.route(inner);
        let changed_since = session.watched.iter().any(|watched| {
            let state = locked.guards.get(route(&watched.key)).map(|guard| &guard.state);
            state.is_none_or(|state| state.watched_change(&watched.key) != watched.changed_lsn)
        });
        if changed_since {
            answer.null_array();
            let gate = session.watched.iter().map(|watched| watched.changed_lsn).max();
            return Executed::Done { gate: gate.unwrap_or(0) };
        }
        let needs = cold_keys(&locked, &route, &commands);
        if !needs.is_empty() {
            return Executed::Needs(Wanted::Keys(needs));
        }
        let lsn = locked.next_lsn(inner);
        let mut effects = EffectBuffer::default();
        let (mut gate, mut changed, mut doors) = (0, false, Vec::new());
        answer.array(commands.len());
        for (command, args) in &commands {
            match command.run {
                Run::Node(verb) => {
                    let mut access = Access::Held(&mut locked);
                    gate = gate.max(access.run(inner, verb, args, now_ms, answer));
                }
                Run::Door(verb) => {
                    answer.door();
                    doors.push((verb, args.iter().map(|arg| arg.to_vec()).collect()));
                }
                Run::Machine(_) => {
                    let mut execution = Execution {
                        states: States::Many { states: locked.states(), route: &route },
                        effects: &mut effects,
                        lsn,
                        now_ms,
                        random: inner.next_random(),
                        gate: 0,
                        changed: false,
                        answer,
                    };
                    let outcome = execute_fetched(command, args, &mut execution);
                    gate = gate.max(execution.gate);
                    changed |= execution.changed;
                    // Inside a transaction nothing blocks: it is as if the time were over.
                    if let Outcome::Blocks { .. } = outcome {
                        answer.null_array();
                    }
                }
            }
        }
        let woken = locked.finish(inner, lsn, effects, changed);
        drop(locked);
        inner.waiters.wake(&woken);
        if doors.is_empty() {
            Executed::Done { gate }
        } else {
            Executed::Transaction { gate, doors }
        }
    }

    fn numbers_of_queue(
        &self,
        session: &Session,
        commands: &[(&Command, Vec<&[u8]>)],
    ) -> SmallVec<[usize; 8]> {
        let inner = &self.inner;
        let mut numbers = SmallVec::new();
        if commands.iter().any(|(command, _)| command.flags.has(Flags::EVERYWHERE)) {
            numbers.extend(0..inner.partitions.count());
            return numbers;
        }
        for (command, args) in commands {
            inner.add_numbers(command, args, &mut numbers);
        }
        for watched in &session.watched {
            numbers.push(inner.partitions.of(&watched.key));
        }
        if numbers.is_empty() {
            numbers.push(0);
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

fn written_by_queue(commands: &[(&Command, Vec<&[u8]>)]) -> u64 {
    let writes = commands.iter().filter(|(command, _)| command.flags.has(Flags::WRITE));
    writes.map(|(command, args)| written_bytes(command, args)).fold(0, u64::saturating_add)
}

fn cold_keys(
    locked: &Locked<'_>,
    route: &dyn Fn(&[u8]) -> usize,
    commands: &[(&Command, Vec<&[u8]>)],
) -> Vec<Vec<u8>> {
    let mut needs: Vec<Vec<u8>> = Vec::new();
    if !locked.guards.iter().any(|guard| guard.state.has_cold()) {
        return needs;
    }
    for (command, args) in commands {
        command.keys.for_each(args, |key| {
            let cold = locked.guards.get(route(key)).is_some_and(|guard| guard.state.is_cold(key));
            if cold && !needs.iter().any(|other| other == key) {
                needs.push(key.to_vec());
            }
        });
    }
    needs
}

/// The LSN a verb's reply depends on: everything the states have seen.
pub(crate) fn last_lsn(locked: &Locked<'_>) -> Lsn {
    locked.guards.iter().map(|guard| guard.state.last_lsn()).max().unwrap_or(0)
}
