//! Running one command: what it sees, where its effects and its reply go.

use crate::answer::Answer;
use crate::command::{Command, Run};
use crate::effect::{Effect, EffectBuffer};
use crate::error::CommandError;
use crate::hash::HashObject;
use crate::state::{Lsn, State};
use crate::stream::StreamObject;
use crate::table::{Entry, Kind, Position};

/// The states that a command may use, all locked by the caller.
pub enum States<'a> {
    /// All keys of the command are in one state.
    One(&'a mut State),
    /// Several states, and which one holds a key.
    Many {
        /// The states.
        states: Vec<&'a mut State>,
        /// The index in `states` for a key.
        route: &'a dyn Fn(&[u8]) -> usize,
    },
}

impl<'a> States<'a> {
    /// The state that holds a key.
    #[inline]
    pub fn of(&mut self, key: &[u8]) -> &mut State {
        match self {
            Self::One(state) => state,
            Self::Many { states, route } => match states.get_mut(route(key)) {
                Some(state) => state,
                // Another state would be a wrong answer, or a write to a wrong place.
                None => panic!("a command names a key whose partition was not locked for it"),
            },
        }
    }

    /// All of them, in the caller's order.
    pub fn all(&self) -> &[&'a mut State] {
        match self {
            Self::One(state) => std::slice::from_ref(state),
            Self::Many { states, .. } => states,
        }
    }
}

/// One command at work.
pub struct Execution<'a> {
    /// The states.
    pub states: States<'a>,
    /// Where effects go on their way into the log.
    pub effects: &'a mut EffectBuffer,
    /// The LSN that the command's effects get.
    pub lsn: Lsn,
    /// The time, decided once for the command.
    pub now_ms: u64,
    /// Randomness for commands that need some.
    pub random: u64,
    /// Whether anything may be decided here. Where not, a command only reads, and what has expired
    /// is as good as deleted.
    pub decides: bool,
    /// The LSN that must be durable before the reply leaves.
    pub gate: Lsn,
    /// Whether the command had effects.
    pub changed: bool,
    /// Where the reply goes.
    pub answer: &'a mut dyn Answer,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply was written.
    Done,
    /// Nothing was done: these keys must be fetched first.
    Needs(Vec<Vec<u8>>),
    /// Nothing was done or written: the command would block, until one of these keys changes.
    Blocks {
        /// The keys.
        keys: Vec<Vec<u8>>,
        /// For how long; 0 for ever.
        timeout_ms: u64,
        /// The arguments that mean "from now on" (`$`), made definite, so that the command can be
        /// run again.
        args: Vec<Vec<u8>>,
    },
}

/// How a verb ends when it does not end with a reply.
#[derive(Debug)]
pub(crate) enum Stop {
    Error(CommandError),
    Blocks { keys: Vec<Vec<u8>>, timeout_ms: u64, args: Vec<Vec<u8>> },
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

/// What a verb returns.
pub(crate) type Verdict = Result<(), Stop>;

/// Runs one command. The arguments begin with its name; their number has been checked against the
/// table.
pub fn execute(command: &Command, args: &[&[u8]], execution: &mut Execution<'_>) -> Outcome {
    match cold_keys(command, args, execution) {
        Some(needs) => Outcome::Needs(needs),
        None => execute_fetched(command, args, execution),
    }
}

/// Runs one command whose keys are known to be in memory, or nowhere: inside a transaction, where
/// all keys were looked for before the first command and none can leave in between.
pub fn execute_fetched(
    command: &Command,
    args: &[&[u8]],
    execution: &mut Execution<'_>,
) -> Outcome {
    let Run::Machine(verb) = command.run else {
        execution.answer.error(&CommandError::new("this command is not one of the machine's"));
        return Outcome::Done;
    };
    match (verb.0)(execution, args) {
        Ok(()) => Outcome::Done,
        Err(Stop::Error(error)) => {
            execution.answer.error(&error);
            Outcome::Done
        }
        Err(Stop::Blocks { keys, timeout_ms, args }) => Outcome::Blocks { keys, timeout_ms, args },
    }
}

fn cold_keys(
    command: &Command,
    args: &[&[u8]],
    execution: &mut Execution<'_>,
) -> Option<Vec<Vec<u8>>> {
    if !execution.states.all().iter().any(|state| state.has_cold()) {
        return None;
    }
    let mut needs = Vec::new();
    command.keys.for_each(args, |key| {
        if execution.states.of(key).is_cold(key) {
            needs.push(key.to_vec());
        }
    });
    (!needs.is_empty()).then_some(needs)
}

impl Execution<'_> {
    /// Where a live key is. An expired one is deleted on the way, as a logged effect, where that
    /// may be decided.
    pub(crate) fn find(&mut self, key: &[u8]) -> Option<Position> {
        let now_ms = self.now_ms;
        let state = self.states.of(key);
        let Some(position) = state.table.find(key) else {
            self.gate = self.gate.max(state.vanished_lsn);
            return None;
        };
        if state.expiry_ms(position).is_some_and(|at_ms| at_ms <= now_ms) {
            if self.decides {
                self.emit(&Effect::Delete { key });
            } else {
                self.gate = self.gate.max(state.table.live(position).lsn);
            }
            return None;
        }
        self.gate = self.gate.max(state.table.live(position).lsn);
        Some(position)
    }

    /// Like [`Execution::find`], and counts as a use of the key.
    pub(crate) fn find_used(&mut self, key: &[u8]) -> Option<Position> {
        let position = self.find(key)?;
        self.states.of(key).touch(position);
        Some(position)
    }

    /// Like [`Execution::find_used`] for a key that must be of a kind if it is there.
    pub(crate) fn find_kind(
        &mut self,
        key: &[u8],
        kind: Kind,
    ) -> Result<Option<Position>, CommandError> {
        let Some(position) = self.find_used(key) else { return Ok(None) };
        if !self.states.of(key).entry(position).is(kind) {
            return Err(CommandError::WRONG_TYPE);
        }
        Ok(Some(position))
    }

    /// The entry of a string key.
    pub(crate) fn find_string(&mut self, key: &[u8]) -> Result<Option<&Entry>, CommandError> {
        let Some(position) = self.find_kind(key, Kind::String)? else { return Ok(None) };
        Ok(Some(self.states.of(key).entry(position)))
    }

    /// The value of a hash key.
    pub(crate) fn find_hash(&mut self, key: &[u8]) -> Result<Option<&HashObject>, CommandError> {
        let Some(position) = self.find_kind(key, Kind::Hash)? else { return Ok(None) };
        Ok(Some(self.states.of(key).hash_at(position)))
    }

    /// The value of a stream key.
    pub(crate) fn find_stream(
        &mut self,
        key: &[u8],
    ) -> Result<Option<&StreamObject>, CommandError> {
        let Some(position) = self.find_kind(key, Kind::Stream)? else { return Ok(None) };
        Ok(Some(self.states.of(key).stream_at(position)))
    }

    /// Decides an effect that no command asked for, such as an expiry.
    pub fn decide(&mut self, effect: &Effect<'_>) {
        self.emit(effect);
    }

    /// Decides an effect: it goes into the log and is applied at once.
    pub(crate) fn emit(&mut self, effect: &Effect<'_>) {
        self.effects.push(self.lsn, effect);
        self.gate = self.gate.max(self.lsn);
        self.changed = true;
        match effect.key() {
            Some(key) => self.states.of(key).apply(self.lsn, effect),
            None => match &mut self.states {
                States::One(state) => state.apply(self.lsn, effect),
                States::Many { states, .. } => {
                    for state in states {
                        state.apply(self.lsn, effect);
                    }
                }
            },
        }
    }

    /// Refuses a key or value that is too large.
    pub(crate) fn check_sizes(
        &mut self,
        key: &[u8],
        value_bytes: usize,
    ) -> Result<(), CommandError> {
        let limits = self.states.of(key).limits;
        if key.len() > limits.key_max_bytes {
            return Err(CommandError::text(format!(
                "key is {} bytes long, the limit is {}",
                key.len(),
                limits.key_max_bytes
            )));
        }
        if value_bytes > limits.value_max_bytes {
            return Err(CommandError::STRING_TOO_LONG);
        }
        Ok(())
    }
}
