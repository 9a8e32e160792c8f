//! What the node remembers of a connection between commands: the commands that MULTI has queued,
//! and the keys that WATCH has named.

use thalweg_machine::{Lsn, States};

/// What a connection remembers between commands.
#[derive(Default)]
pub struct Session {
    pub(crate) queue: Option<Queue>,
    pub(crate) watched: Vec<Watched>,
    /// Its records were looked at already.
    pub(crate) trusted: bool,
}

/// Commands queued since MULTI.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) commands: Vec<Vec<Vec<u8>>>,
    pub(crate) bytes: usize,
    /// A command was refused, so EXEC will be.
    pub(crate) broken: bool,
}

pub(crate) struct Watched {
    pub(crate) key: Vec<u8>,
    pub(crate) changed_lsn: Lsn,
}

impl Session {
    /// A session of somebody who has looked at the records himself that he appends.
    pub fn trusted() -> Self {
        Self { trusted: true, ..Self::default() }
    }

    /// Whether commands are being queued.
    pub fn in_transaction(&self) -> bool {
        self.queue.is_some()
    }

    /// Whether a key has changed since the session began to watch it.
    pub(crate) fn has_watched_change(&self, states: &mut States<'_>) -> bool {
        self.watched.iter().any(|watched| {
            states.of(&watched.key).watched_change(&watched.key) != watched.changed_lsn
        })
    }

    /// What must be settled before anybody hears what was watched.
    pub(crate) fn watched_gate(&self) -> Lsn {
        self.watched.iter().map(|watched| watched.changed_lsn).max().unwrap_or(0)
    }

    /// Notes that a command was refused before it reached the engine, so that EXEC refuses, too.
    pub fn break_transaction(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.broken = true;
        }
    }
}
