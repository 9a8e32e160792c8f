//! How a request ended, or what it waits for.

use super::Wait;
use crate::gate::Gates;
use thalweg_machine::{Command, DoorVerb};

/// How a request ended: a command, or an access to one key with an outcome of its own.
pub enum Executed<T = DoorPart> {
    /// It was carried out. Nobody may be told of the outcome before these are settled.
    Done(T, Gates),
    /// Nothing was done: wait for this ([`crate::Engine::provide`]) and run the request again.
    Suspended(Wait),
}

/// What is left of a command for its door. The rest of the reply is written.
pub enum DoorPart {
    /// Nothing.
    None,
    /// All of it: it is about the connection or the server.
    Whole {
        /// The table entry.
        command: &'static Command,
        /// What it asks for.
        verb: DoorVerb,
    },
    /// Those commands of a transaction that are about the connection or the server, in order. Their
    /// replies belong where [`thalweg_machine::Answer::door`] was called.
    Within(Vec<(DoorVerb, Vec<Vec<u8>>)>),
}

impl Executed {
    /// The reply is written, and may leave when these are settled.
    pub(crate) fn answered(gates: Gates) -> Self {
        Self::Done(DoorPart::None, gates)
    }
}
