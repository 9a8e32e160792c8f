//! MULTI, EXEC, DISCARD, WATCH: several commands as one batch.

use crate::engine::{Engine, Inner};
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

/// A command that was queued, with its arguments.
type Queued<'a> = (&'a Command, Vec<&'a [u8]>);

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
        let commands = commands_of(queue);
        let numbers = self.numbers_of_queue(session, &commands);
        if let Some(executed) = self.refuses_queue(&numbers, &commands, answer) {
            return executed;
        }
        inner.wait_for_log(&numbers);
        let locked = Locked::new(inner, &numbers);
        let route = locked.route(inner);
        if has_watched_change(session, &locked, &route) {
            answer.null_array();
            let gate = session.watched.iter().map(|watched| watched.changed_lsn).max();
            return Executed::Done { gate: gate.unwrap_or(0) };
        }
        let needs = cold_keys(&locked, &route, &commands);
        if !needs.is_empty() {
            return Executed::Needs(Wanted::Keys(needs));
        }
        let mut transaction = Transaction::new(inner, locked, now_ms);
        answer.array(commands.len());
        for (command, args) in &commands {
            transaction.run(command, args, &route, answer);
        }
        transaction.finish()
    }

    /// How a queue ends whose writes are refused or have no room; `None` where it can go on.
    fn refuses_queue(
        &self,
        numbers: &[usize],
        commands: &[Queued<'_>],
        answer: &mut dyn Answer,
    ) -> Option<Executed> {
        if !commands.iter().any(|(command, _)| command.flags.has(Flags::WRITE)) {
            return None;
        }
        if let Some(error) = self.refuses_writes() {
            answer.error(&error);
            return Some(Executed::Done { gate: 0 });
        }
        self.inner.out_of_room_in(numbers, written_by_queue(commands), answer)
    }

    fn numbers_of_queue(&self, session: &Session, commands: &[Queued<'_>]) -> SmallVec<[usize; 8]> {
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

/// A transaction under way: its partitions, which are locked, and what has come of it so far.
struct Transaction<'a> {
    inner: &'a Inner,
    locked: Locked<'a>,
    lsn: Lsn,
    now_ms: u64,
    effects: EffectBuffer,
    gate: Lsn,
    changed: bool,
    /// Commands that the door is to run.
    doors: Vec<(DoorVerb, Vec<Vec<u8>>)>,
}

impl<'a> Transaction<'a> {
    fn new(inner: &'a Inner, locked: Locked<'a>, now_ms: u64) -> Self {
        let lsn = locked.next_lsn(inner);
        let effects = EffectBuffer::default();
        Self { inner, locked, lsn, now_ms, effects, gate: 0, changed: false, doors: Vec::new() }
    }

    /// Runs one of the commands.
    fn run(
        &mut self,
        command: &Command,
        args: &[&[u8]],
        route: &dyn Fn(&[u8]) -> usize,
        answer: &mut dyn Answer,
    ) {
        match command.run {
            Run::Node(verb) => {
                let mut access = Access::Held(&mut self.locked);
                let gate = access.run(self.inner, verb, args, self.now_ms, answer);
                self.gate = self.gate.max(gate);
            }
            Run::Door(verb) => {
                answer.door();
                self.doors.push((verb, args.iter().map(|arg| arg.to_vec()).collect()));
            }
            Run::Machine(_) => self.run_on_states(command, args, route, answer),
        }
    }

    fn run_on_states(
        &mut self,
        command: &Command,
        args: &[&[u8]],
        route: &dyn Fn(&[u8]) -> usize,
        answer: &mut dyn Answer,
    ) {
        let mut execution = Execution {
            states: States::Many { states: self.locked.states(), route },
            effects: &mut self.effects,
            lsn: self.lsn,
            now_ms: self.now_ms,
            random: self.inner.next_random(),
            gate: 0,
            changed: false,
            answer,
        };
        let outcome = execute_fetched(command, args, &mut execution);
        self.gate = self.gate.max(execution.gate);
        self.changed |= execution.changed;
        // Inside a transaction nothing blocks: it is as if the time were over.
        if let Outcome::Blocks { .. } = outcome {
            execution.answer.null_array();
        }
    }

    /// Sends the effects on their way and wakes those who waited for them.
    fn finish(mut self) -> Executed {
        let woken = self.locked.finish(self.inner, self.lsn, self.effects, self.changed);
        drop(self.locked);
        self.inner.waiters.wake(&woken);
        if self.doors.is_empty() {
            Executed::Done { gate: self.gate }
        } else {
            Executed::Transaction { gate: self.gate, doors: self.doors }
        }
    }
}

/// The commands of a queue, as they are in the table.
fn commands_of(queue: &Queue) -> Vec<Queued<'_>> {
    let commands = queue.commands.iter().filter_map(|args| {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        Some((find_command(args.first()?)?, args))
    });
    commands.collect()
}

/// Whether a key has changed since the session began to watch it.
fn has_watched_change(
    session: &Session,
    locked: &Locked<'_>,
    route: &dyn Fn(&[u8]) -> usize,
) -> bool {
    session.watched.iter().any(|watched| {
        let state = locked.guards.get(route(&watched.key)).map(|guard| &guard.state);
        state.is_none_or(|state| state.watched_change(&watched.key) != watched.changed_lsn)
    })
}

fn written_by_queue(commands: &[Queued<'_>]) -> u64 {
    let writes = commands.iter().filter(|(command, _)| command.flags.has(Flags::WRITE));
    writes.map(|(command, args)| written_bytes(command, args)).fold(0, u64::saturating_add)
}

fn cold_keys(
    locked: &Locked<'_>,
    route: &dyn Fn(&[u8]) -> usize,
    commands: &[Queued<'_>],
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
