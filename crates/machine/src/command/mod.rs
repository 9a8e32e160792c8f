//! What a command is: its name, its arguments, where its keys are, who runs it.

mod index;
mod reference;
mod table;

pub use index::find_command;
pub use reference::render_reference;
pub use table::COMMANDS;

use crate::execution::{Execution, Verdict};

/// One command. Help, COMMAND replies, the reference and dispatch are all made from this.
#[derive(Clone, Copy)]
pub struct Command {
    /// The name, in capitals.
    pub name: &'static str,
    /// Number of arguments, the name included; negative: at least so many.
    pub arity: i16,
    /// What kind of command it is.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: KeySpec,
    /// The chapter it belongs to.
    pub group: &'static str,
    /// Arguments as people write them.
    pub syntax: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Who runs it.
    pub run: Run,
}

impl Command {
    /// Whether a number of arguments, the name included, is right.
    pub fn accepts(&self, count: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { count >= arity } else { count == arity }
    }
}

/// What kind of command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Changes data.
    pub const WRITE: Self = Self(1);
    /// Only reads data.
    pub const READ: Self = Self(2);
    /// About the connection or the server.
    pub const ADMIN: Self = Self(4);
    /// May block.
    pub const BLOCKING: Self = Self(8);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(16);
    /// Uses all partitions.
    pub const EVERYWHERE: Self = Self(32);
    /// Not allowed inside MULTI.
    pub const NO_MULTI: Self = Self(64);

    /// A write that frees memory, or uses none: allowed when there is none left.
    pub const SHRINKS: Self = Self(128);

    /// Both sets of flags.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other's flags are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which arguments are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// None.
    None,
    /// From the first index to the last (negative: from the end), in steps.
    Range(i16, i16, i16),
    /// The first half of what follows `STREAMS`.
    Streams,
}

impl KeySpec {
    /// Calls `visit` with every key.
    pub fn for_each<'a>(self, args: &[&'a [u8]], mut visit: impl FnMut(&'a [u8])) {
        match self {
            Self::None => {}
            // Most commands: one key, in the first place.
            Self::Range(first, last, step) => {
                let count = args.len() as i64;
                let last = if last < 0 { count + i64::from(last) } else { i64::from(last) };
                let mut index = i64::from(first);
                while index <= last {
                    if let Some(key) = args.get(index as usize) {
                        visit(key);
                    }
                    index += i64::from(step.max(1));
                }
            }
            Self::Streams => {
                let Some(start) = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"STREAMS"))
                else {
                    return;
                };
                let rest = args.get(start + 1..).unwrap_or_default();
                for key in rest.iter().take(rest.len() / 2) {
                    visit(key);
                }
            }
        }
    }

    /// First index, last index and step, as COMMAND INFO says them.
    pub fn positions(self) -> (i64, i64, i64) {
        match self {
            Self::None | Self::Streams => (0, 0, 0),
            Self::Range(first, last, step) => (first.into(), last.into(), step.into()),
        }
    }
}

/// What the machine runs for a command.
#[derive(Clone, Copy)]
pub struct Verb(pub(crate) fn(&mut Execution<'_>, &[&[u8]]) -> Verdict);

/// Who runs a command.
#[derive(Clone, Copy)]
pub enum Run {
    /// The machine, on the states of its keys.
    Machine(Verb),
    /// The node, which knows all partitions and the session.
    Node(NodeVerb),
    /// The door, which knows the connection.
    Door(DoorVerb),
}

/// Commands that need all partitions or the session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of commands says what they do")]
pub enum NodeVerb {
    DbSize,
    Discard,
    Exec,
    Keys,
    Multi,
    Publish,
    RandomKey,
    SPublish,
    Scan,
    Unwatch,
    Watch,
}

/// Commands about the connection and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of commands says what they do")]
pub enum DoorVerb {
    Auth,
    Client,
    Cluster,
    Command,
    Config,
    Echo,
    Hello,
    Info,
    Latency,
    Ping,
    PSubscribe,
    PubSub,
    PUnsubscribe,
    Quit,
    ReadOnly,
    Reset,
    Select,
    SlowLog,
    SSubscribe,
    Subscribe,
    SUnsubscribe,
    Time,
    Unsubscribe,
    Wait,
}
