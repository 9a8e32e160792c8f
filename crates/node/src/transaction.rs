//! MULTI, EXEC, DISCARD, WATCH: several commands as one batch.

use crate::engine::{Engine, Inner};
use crate::gate::{Gate, Gates};
use crate::halt::halt_on_bug;
use crate::request::{Demand, DoorPart, Executed, Numbers, Wait, written_bytes};
use crate::session::{Queue, Session, Watched};
use crate::verbs::Access;
use thalweg_machine::{
    Answer, Command, CommandError, DoorVerb, Execution, Flags, NodeVerb, Outcome, Run, States,
    execute_fetched, find_command,
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
        Some(Executed::answered(Gates::NONE))
    }

    pub(crate) fn multi(&self, session: &mut Session, answer: &mut dyn Answer) -> Executed {
        if session.queue.is_some() {
            answer.error(&CommandError::new("MULTI calls can not be nested"));
        } else {
            session.queue = Some(Queue::default());
            answer.ok();
        }
        Executed::answered(Gates::NONE)
    }

    pub(crate) fn discard(&self, session: &mut Session, answer: &mut dyn Answer) -> Executed {
        if session.queue.take().is_some() {
            self.unwatch_all(session);
            answer.ok();
        } else {
            answer.error(&CommandError::new("DISCARD without MULTI"));
        }
        Executed::answered(Gates::NONE)
    }

    pub(crate) fn watch(
        &self,
        session: &mut Session,
        args: &[&[u8]],
        answer: &mut dyn Answer,
    ) -> Executed {
        if session.queue.is_some() {
            answer.error(&CommandError::new("WATCH inside MULTI is not allowed"));
            return Executed::answered(Gates::NONE);
        }
        let mut gates = Gates::NONE;
        for key in args.iter().skip(1) {
            if session.watched.iter().any(|watched| watched.key == **key) {
                continue;
            }
            let number = self.inner.partitions.of(key);
            let mut partition = self.inner.partitions.lock(number);
            partition.state.watch(key);
            let changed_lsn = partition.state.watched_change(key);
            gates.add(Gate::new(self.inner.lanes.of(number).number, changed_lsn));
            session.watched.push(Watched { key: key.to_vec(), changed_lsn });
        }
        answer.ok();
        Executed::answered(gates)
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
            return Executed::answered(Gates::NONE);
        };
        if queue.broken {
            self.unwatch_all(session);
            answer.error(&CommandError::coded(
                "EXECABORT",
                "Transaction discarded because of previous errors.",
            ));
            return Executed::answered(Gates::NONE);
        }
        let executed = self.run_queue(session, &queue, now_ms, answer);
        match executed {
            // To be run again once that is there.
            Executed::Suspended(_) => session.queue = Some(queue),
            Executed::Done(..) => self.unwatch_all(session),
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
        let commands = commands_of(queue);
        let writes = commands.iter().any(|(command, _)| command.flags.has(Flags::WRITE));
        let demand =
            if writes { Demand::Memory(written_by_queue(&commands)) } else { Demand::Nothing };
        let numbers = self.numbers_of_queue(session, &commands);
        let ran = self.inner.run(&numbers, demand, now_ms, &mut *answer, |execution| {
            self.inner.run_transaction(session, &commands, execution)
        });
        match ran {
            Ok((doors, gates)) if doors.is_empty() => Executed::answered(gates),
            Ok((doors, gates)) => Executed::Done(DoorPart::Within(doors), gates),
            Err(stop) => stop.answer(answer),
        }
    }

    fn numbers_of_queue(&self, session: &Session, commands: &[Queued<'_>]) -> Numbers {
        let inner = &self.inner;
        let mut numbers = Numbers::new();
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
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

/// Commands that the door is to run.
type ForDoor = Vec<(DoorVerb, Vec<Vec<u8>>)>;

impl Inner {
    /// Runs the commands of a transaction on its partitions, which are locked.
    fn run_transaction(
        &self,
        session: &Session,
        commands: &[Queued<'_>],
        execution: &mut Execution<'_>,
    ) -> Result<ForDoor, Wait> {
        if session.has_watched_change(&mut execution.states) {
            execution.answer.null_array();
            execution.gate = session.watched_gate();
            return Ok(ForDoor::new());
        }
        let cold = cold_keys(&mut execution.states, commands);
        if !cold.is_empty() {
            return Err(Wait::ColdKeys(cold));
        }
        let mut doors = ForDoor::new();
        execution.answer.array(commands.len());
        for (command, args) in commands {
            match command.run {
                Run::Node(verb) => {
                    let mut access = Access::Held(&execution.states);
                    let now_ms = execution.now_ms;
                    let gate = access.run(self, verb, args, now_ms, execution.answer);
                    execution.gate = execution.gate.max(gate);
                }
                Run::Door(verb) => {
                    execution.answer.door();
                    doors.push((verb, args.iter().map(|arg| arg.to_vec()).collect()));
                }
                Run::Machine(_) => {
                    execution.random = self.next_random();
                    // Inside a transaction nothing blocks: it is as if the time were over.
                    if let Outcome::Blocks { .. } = execute_fetched(command, args, execution) {
                        execution.answer.null_array();
                    }
                }
            }
        }
        Ok(doors)
    }
}

/// The commands of a queue, as they are in the table: a command that is not there was not queued.
fn commands_of(queue: &Queue) -> Vec<Queued<'_>> {
    let commands = queue.commands.iter().map(|args| {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        match args.first().and_then(|name| find_command(name)) {
            Some(command) => (command, args),
            None => halt_on_bug("a transaction has queued a command that does not exist"),
        }
    });
    commands.collect()
}

fn written_by_queue(commands: &[Queued<'_>]) -> u64 {
    let writes = commands.iter().filter(|(command, _)| command.flags.has(Flags::WRITE));
    writes.map(|(command, args)| written_bytes(command, args)).fold(0, u64::saturating_add)
}

fn cold_keys(states: &mut States<'_>, commands: &[Queued<'_>]) -> Vec<Vec<u8>> {
    let mut cold: Vec<Vec<u8>> = Vec::new();
    if !states.all().iter().any(|state| state.has_cold()) {
        return cold;
    }
    for (command, args) in commands {
        command.keys.for_each(args, |key| {
            if states.of(key).is_cold(key) && !cold.iter().any(|other| other == key) {
                cold.push(key.to_vec());
            }
        });
    }
    cold
}
