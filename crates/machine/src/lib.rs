//! The machine: what each command does to the state of a partition, and nothing else.
//!
//! It is a deterministic fold. [`execute`] looks at the state and decides [`Effect`]s;
//! [`State::apply`] is the only code that changes the state; the leader, recovery and standbys all
//! go through it. Nothing here is asynchronous, reads a clock, draws a random number that is not
//! handed in, or does input or output.
//!
//! Where to look: `command/` is the one table of commands; `string/`, `hash/`, `keys/`, `stream/`
//! hold the verbs, a folder a family; `effect.rs` has the bytes that go into the log; `apply.rs` is
//! the fold; `table/` is the hot table; `collection.rs` is what hashes and streams have in common.

mod answer;
mod apply;
mod coded;
mod collection;
mod command;
mod decimal;
mod digest;
mod effect;
mod entry_access;
mod error;
mod eviction;
mod execution;
mod glob;
mod hash;
mod interest;
mod keys;
mod number;
mod state;
mod stream;
mod string;
mod table;
mod write;

pub use answer::{Answer, Reply, ReplyBuilder};
pub use command::{
    COMMANDS, Command, DoorVerb, Flags, KeySpec, NodeVerb, Run, Verb, find_command,
    render_reference,
};
pub use effect::{Effect, EffectBuffer, Effects, PutExpiry};
pub use entry_access::{Condition, StringEntry, WriteOutcome};
pub use error::CommandError;
pub use eviction::PolicyName;
pub use execution::{Execution, Outcome, States, execute, execute_fetched};
pub use glob::glob_matches;
pub use number::{parse_i64, parse_u64, push_i64};
pub use state::{
    ElementChange, KeyChange, Loaded, Lsn, ScanPage, State, StateLimits, StreamReport,
};
pub use stream::{NewRecord, StreamId, new_record, pack_fields, unpack_fields};
pub use write::Write;
