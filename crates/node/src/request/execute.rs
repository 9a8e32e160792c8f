//! Commands: found in the table, checked, and run where their keys are.

use super::{Change, Demand, DoorPart, Executed, Numbers, Wait};
use crate::engine::{Engine, Inner};
use crate::gate::Gates;
use crate::session::Session;
use smallvec::SmallVec;
use thalweg_machine::{
    Answer, Command, CommandError, Execution, Flags, KeySpec, Outcome, Run, execute, find_command,
};

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

impl Engine {
    /// Runs a request: its arguments begin with the command's name. The reply goes to `answer`.
    pub fn execute(
        &self,
        session: &mut Session,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        let command = args.first().and_then(|name| find_command(name));
        self.execute_found(session, command, args, now_ms, answer)
    }

    /// The same for whoever has looked for the command already.
    pub fn execute_found(
        &self,
        session: &mut Session,
        command: Option<&'static Command>,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        let refuse = |session: &mut Session, error: &CommandError, answer: &mut dyn Answer| {
            session.break_transaction();
            answer.error(error);
            Executed::answered(Gates::NONE)
        };
        let Some(command) = command else {
            return refuse(session, &unknown_command(args), answer);
        };
        if !command.accepts(args.len()) {
            return refuse(session, &CommandError::arity(command.name), answer);
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
        if session.queue.is_some() {
            if command.flags.has(Flags::WRITE)
                && let Some(error) = self.inner.refusal_of(command, args)
            {
                return refuse(session, &error, answer);
            }
            if let Some(executed) = self.queue(session, command, args, answer) {
                return executed;
            }
        }
        match command.run {
            Run::Machine(_) => self.inner.run_command(command, args, now_ms, answer),
            Run::Node(verb) => self.run_node_verb(session, verb, args, now_ms, answer),
            Run::Door(verb) => Executed::Done(DoorPart::Whole { command, verb }, Gates::NONE),
        }
    }
}

impl Inner {
    /// Why a write is refused, if one of its lanes takes none.
    fn refusal_of(&self, command: &Command, args: &[&[u8]]) -> Option<CommandError> {
        self.numbers_of(command, args).iter().find_map(|&number| self.lanes.of(number).refusal())
    }

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
        let demand = Demand::of(command, args);
        let work = |execution: &mut Execution<'_>| {
            if command.flags.has(Flags::READ) || command.flags.has(Flags::WRITE) {
                execution.random = self.next_random();
            }
            finish(execute(command, args, execution))
        };
        // Nearly every command names one key in the first place.
        let ran = if let (KeySpec::Range(1, 1, _), Some(key)) = (command.keys, args.get(1)) {
            self.run_on_one(self.partitions.of(key), demand, now_ms, &mut *answer, work)
        } else if command.flags.has(Flags::EVERYWHERE) && command.flags.has(Flags::WRITE) {
            self.run_in_each_lane(demand, now_ms, &mut *answer, work)
        } else {
            self.run(&self.numbers_of(command, args), demand, now_ms, &mut *answer, work)
        };
        match ran {
            Ok(((), gates)) => Executed::answered(gates),
            Err(stop) => stop.answer(answer),
        }
    }
}

/// What the machine says of a command, in the node's words.
fn finish(outcome: Outcome) -> Result<(), Wait> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Needs(keys) => Err(Wait::ColdKeys(keys)),
        Outcome::Blocks { keys, timeout_ms, args } => {
            Err(Wait::Change(Change { keys, timeout_ms, args }))
        }
    }
}
