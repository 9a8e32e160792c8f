//! Running a request to completion on the thread that brings it.

mod charge;

use crate::engine::{Engine, Inner};
use crate::memory::Wanted;
use crate::metrics::Health;
use crate::partition::Partition;
use crate::session::Session;
use charge::{LOG_PAUSE, grows};
pub(crate) use charge::{charged_bytes, written_bytes};
use parking_lot::MutexGuard;
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thalweg_machine::{
    Answer, Command, CommandError, DoorVerb, EffectBuffer, Execution, Flags, KeySpec, Lsn, Outcome,
    Run, State, States, execute, find_command, parse_u64,
};

/// How a request ended.
pub enum Executed {
    /// The reply was written; it may leave when this LSN is settled.
    Done {
        /// The LSN.
        gate: Lsn,
    },
    /// Nothing was done: wait for this ([`Engine::provide`]) and run the request again.
    Needs(Wanted),
    /// Nothing was done: run this request when one of these keys has changed.
    Blocked {
        /// The keys.
        keys: Vec<Vec<u8>>,
        /// For how long to wait; 0 for ever.
        timeout_ms: u64,
        /// The request, with "from now on" made definite.
        args: Vec<Vec<u8>>,
    },
    /// A transaction was carried out, up to its commands about the connection or the server: the
    /// door runs these and puts their replies where [`Answer::door`] was called.
    Transaction {
        /// The LSN that the reply depends on.
        gate: Lsn,
        /// The commands, in order.
        doors: Vec<(DoorVerb, Vec<Vec<u8>>)>,
    },
    /// The request is about the connection or the server: the door runs it.
    Door {
        /// The table entry.
        command: &'static Command,
        /// What it asks for.
        verb: DoorVerb,
    },
}

/// The refusal of a command that is not in the table.
fn unknown_command(args: &[&[u8]]) -> CommandError {
    let shorten = |arg: &&[u8]| {
        let text = String::from_utf8_lossy(arg.get(..128.min(arg.len())).unwrap_or_default());
        text.replace(['\r', '\n'], " ")
    };
    let name = args.first().map(shorten).unwrap_or_default();
    let mut rest = String::new();
    for arg in args.iter().skip(1).take(20) {
        rest.push('\'');
        rest.push_str(&shorten(arg));
        rest.push_str("' ");
        if rest.len() > 128 {
            break;
        }
    }
    CommandError::text(format!("unknown command '{name}', with args beginning with: {rest}"))
}

const DISK_FULL: CommandError = CommandError::coded(
    "MISCONF",
    "the disk is full: no room for another log segment; writes are refused until there is space",
);
const DISK_FAILED: CommandError = CommandError::coded(
    "MISCONF",
    "the log's disk failed; the node has stopped taking writes. Check the disk, then restart",
);
pub(crate) const OUT_OF_MEMORY: CommandError =
    CommandError::coded("OOM", "command not allowed when used memory > 'maxmemory'.");

impl Engine {
    /// Runs a request: its arguments begin with the command's name. The reply goes to `answer`.
    pub fn execute(
        &self,
        session: &mut Session,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        let refuse = |session: &mut Session, error: &CommandError, answer: &mut dyn Answer| {
            session.break_transaction();
            answer.error(error);
            Executed::Done { gate: 0 }
        };
        let Some(command) = args.first().and_then(|name| find_command(name)) else {
            return refuse(session, &unknown_command(args), answer);
        };
        if !command.accepts(args.len()) {
            return refuse(session, &CommandError::arity(command.name), answer);
        }
        if command.flags.has(Flags::WRITE)
            && let Some(error) = self.refuses_writes()
        {
            return refuse(session, &error, answer);
        }
        let key;
        let mut routed: SmallVec<[&[u8]; 16]>;
        let args = match self.admit(session, command, args) {
            Ok(None) => args,
            Ok(Some(to)) => {
                key = to;
                routed = SmallVec::from_slice(args);
                if let Some(slot) = routed.get_mut(1) {
                    *slot = &key;
                }
                &routed
            }
            Err(error) => return refuse(session, &error, answer),
        };
        if session.queue.is_some()
            && let Some(executed) = self.queue(session, command, args, answer)
        {
            return executed;
        }
        match command.run {
            Run::Machine(_) => self.inner.run_command(command, args, now_ms, answer),
            Run::Node(verb) => self.run_node_verb(session, verb, args, now_ms, answer),
            Run::Door(verb) => Executed::Door { command, verb },
        }
    }

    pub(crate) fn refuses_writes(&self) -> Option<CommandError> {
        match self.inner.lane.health() {
            Health::Ok => None,
            Health::Full => Some(DISK_FULL),
            Health::Failed => Some(DISK_FAILED),
        }
    }
}

/// The partitions that a command's keys are in, ascending, each once.
type Numbers = SmallVec<[usize; 8]>;

impl Inner {
    fn numbers_of(&self, command: &Command, args: &[&[u8]]) -> Numbers {
        let mut numbers = Numbers::new();
        if command.flags.has(Flags::EVERYWHERE) {
            numbers.extend(0..self.partitions.count());
            return numbers;
        }
        self.add_numbers(command, args, &mut numbers);
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub(crate) fn add_numbers(&self, command: &Command, args: &[&[u8]], numbers: &mut Numbers) {
        command.keys.for_each(args, |key| {
            let number = self.partitions.of(key);
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        });
    }

    fn run_command(
        &self,
        command: &Command,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        // Nearly every command names one key in the first place.
        if let (KeySpec::Range(1, 1, _), Some(key)) = (command.keys, args.get(1)) {
            return self.run_on_one(self.partitions.of(key), command, args, now_ms, answer);
        }
        let numbers = self.numbers_of(command, args);
        match numbers.as_slice() {
            [] => self.run_on_one(0, command, args, now_ms, answer),
            [number] => self.run_on_one(*number, command, args, now_ms, answer),
            _ => self.run_on_many(&numbers, command, args, now_ms, answer),
        }
    }

    fn run_on_one(
        &self,
        number: usize,
        command: &Command,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        let mut guard = self.lock_with_room(number);
        let partition = &mut *guard;
        if grows(command)
            && let Some(executed) =
                self.out_of_room(number, partition, written_bytes(command, args), answer)
        {
            return executed;
        }
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
        if command.flags.has(Flags::READ) || command.flags.has(Flags::WRITE) {
            execution.random = self.next_random();
        }
        let outcome = execute(command, args, &mut execution);
        let (gate, changed) = (execution.gate, execution.changed);
        let woken = self.after_execution(partition, changed);
        drop(guard);
        if changed {
            self.lane.note_work();
        }
        self.waiters.wake(&woken);
        finish(outcome, gate)
    }

    fn run_on_many(
        &self,
        numbers: &[usize],
        command: &Command,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        if grows(command)
            && let Some(executed) =
                self.out_of_room_in(numbers, written_bytes(command, args), answer)
        {
            return executed;
        }
        self.wait_for_log(numbers);
        let mut locked = Locked::new(self, numbers);
        let mut effects = EffectBuffer::default();
        let lsn = locked.next_lsn(self);
        let (outcome, gate, changed) = {
            let route = locked.route(self);
            let mut execution = Execution {
                states: States::Many { states: locked.states(), route: &route },
                effects: &mut effects,
                lsn,
                now_ms,
                random: self.next_random(),
                gate: 0,
                changed: false,
                answer,
            };
            let outcome = execute(command, args, &mut execution);
            (outcome, execution.gate, execution.changed)
        };
        let woken = locked.finish(self, lsn, effects, changed);
        drop(locked);
        self.waiters.wake(&woken);
        finish(outcome, gate)
    }

    /// Locks a partition that can take more effects. Where the log cannot keep up, writers wait
    /// here.
    pub(crate) fn lock_with_room(&self, number: usize) -> MutexGuard<'_, Partition> {
        loop {
            let partition = self.partitions.lock(number);
            if partition.pending.bytes().len() < self.settings.pending_max_bytes
                || self.lane.health() != Health::Ok
            {
                return partition;
            }
            drop(partition);
            self.lane.wake();
            std::thread::sleep(LOG_PAUSE);
        }
    }

    /// The same for several partitions, before they are locked.
    pub(crate) fn wait_for_log(&self, numbers: &[usize]) {
        let most = self.settings.pending_max_bytes;
        while self.lane.taken_bytes() >= most * 4 && self.lane.health() == Health::Ok {
            self.lane.wake();
            std::thread::sleep(LOG_PAUSE);
        }
        for &number in numbers {
            drop(self.lock_with_room(number));
        }
    }

    /// What follows every execution: eviction, statistics, and readers that were waiting.
    pub(crate) fn after_execution(&self, partition: &mut Partition, changed: bool) -> Vec<u64> {
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

fn finish(outcome: Outcome, gate: Lsn) -> Executed {
    match outcome {
        Outcome::Done => Executed::Done { gate },
        Outcome::Needs(keys) => Executed::Needs(Wanted::Keys(keys)),
        Outcome::Blocks { keys, timeout_ms, args } => Executed::Blocked { keys, timeout_ms, args },
    }
}

/// Several partitions, locked in ascending order.
pub(crate) struct Locked<'a> {
    pub(crate) numbers: SmallVec<[usize; 8]>,
    pub(crate) guards: Vec<MutexGuard<'a, Partition>>,
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

    /// An LSN that is above all that these partitions have.
    pub(crate) fn next_lsn(&self, inner: &Inner) -> Lsn {
        let last = self.guards.iter().map(|guard| guard.state.last_lsn()).max();
        inner.lane.next_lsn(last.unwrap_or(0))
    }

    pub(crate) fn states(&mut self) -> Vec<&mut State> {
        self.guards.iter_mut().map(|guard| &mut guard.state).collect()
    }

    /// Which of the states holds a key.
    pub(crate) fn route(&self, inner: &'a Inner) -> impl Fn(&[u8]) -> usize + use<'a> {
        let numbers = self.numbers.clone();
        move |key| numbers.binary_search(&inner.partitions.of(key)).unwrap_or(0)
    }

    /// Sends the transaction's effects on their way and does what follows every execution.
    pub(crate) fn finish(
        &mut self,
        inner: &Inner,
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
            inner.lane.take_transaction(parts, effects);
        }
        for guard in &mut self.guards {
            woken.extend(inner.after_execution(guard, changed));
        }
        woken
    }
}
