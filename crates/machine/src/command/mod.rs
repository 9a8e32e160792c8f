//! What a command is: its name, its arguments, where its keys are, who runs it.

mod index;
mod key_spec;
mod reference;
mod table;

pub use index::find_command;
pub use key_spec::KeySpec;
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
pub struct Flags(u32);

impl Flags {
    /// Changes data.
    pub const WRITE: Self = Self(1);
    /// Only reads data.
    pub const READ: Self = Self(1 << 1);
    /// About the connection or the server.
    pub const ADMIN: Self = Self(1 << 2);
    /// May block.
    pub const BLOCKING: Self = Self(1 << 3);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 4);
    /// Uses all partitions.
    pub const EVERYWHERE: Self = Self(1 << 5);
    /// Not allowed inside MULTI.
    pub const NO_MULTI: Self = Self(1 << 6);
    /// A write that frees memory, or uses none: allowed when there is none left.
    pub const SHRINKS: Self = Self(1 << 7);
    /// Takes constant or logarithmic time for each key, as Redis says it of its own: clients ask.
    pub const FAST: Self = Self(1 << 8);
    /// Not FAST, for what it replaces may be large, but run so often that it is not timed.
    pub const UNTIMED: Self = Self(1 << 9);
    /// Writes a whole value once more, under another name: a large one takes long.
    pub const COPIES: Self = Self(1 << 10);
    /// Appends a record: whoever knows the stream's columns looks at it first.
    pub const ADMITTED: Self = Self(1 << 11);

    /// Both sets of flags.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other's flags are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of the other's flags is set.
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
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
