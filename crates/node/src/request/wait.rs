//! What a request may have to wait for, and the one place that sees to it.

use crate::engine::Engine;
use crate::waiters::WaiterId;
use std::sync::Arc;
use thalweg_machine::{Flags, find_command};

/// Called when a request can be run again, from any thread; it must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a request waits for.
#[derive(Debug)]
pub enum Wait {
    /// These keys, which only the checkpoint store holds.
    ColdKeys(Vec<Vec<u8>>),
    /// Memory in this partition: a checkpoint makes some free.
    Memory(usize),
    /// The log, which is behind: until the commit thread has taken what partitions hold.
    Log(Round),
    /// Somebody else, who changes a key.
    Change(Change),
}

/// How often a lane's commit thread had been round its partitions when a writer found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    pub(crate) lane: u16,
    pub(crate) count: u64,
}

/// A change that a command blocks for.
#[derive(Debug)]
pub struct Change {
    /// Of one of these keys.
    pub keys: Vec<Vec<u8>>,
    /// For how long to wait; 0 for ever.
    pub timeout_ms: u64,
    /// The command to run again, with "from now on" made definite.
    pub args: Vec<Vec<u8>>,
}

/// What becomes of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provided {
    /// It is over already: run the request again. `wake` will not be called.
    Already,
    /// `wake` will be called, once.
    Later,
    /// The keys are listened to from now on. Run the request again, for a change may have come
    /// before; if it still blocks, `wake` will be called. The waiter is removed by the caller.
    Listening(WaiterId),
}

impl Engine {
    /// Gets what a request waits for, and then calls `wake`.
    pub fn provide(&self, wait: &Wait, wake: Wake) -> Provided {
        let later = match wait {
            Wait::ColdKeys(keys) => self.load(keys, wake),
            Wait::Memory(number) => {
                self.inner.memory_queue.push(*number, wake);
                true
            }
            Wait::Log(round) => self.inner.lanes.at(usize::from(round.lane)).catch_up(*round, wake),
            Wait::Change(change) => return Provided::Listening(self.listen(change, wake)),
        };
        if later { Provided::Later } else { Provided::Already }
    }

    fn listen(&self, change: &Change, wake: Wake) -> WaiterId {
        let command = change.args.first().and_then(|name| find_command(name));
        // Whoever writes takes what it reads away from the others.
        let takes = command.is_some_and(|command| command.flags.has(Flags::WRITE));
        let waiter = if takes { self.add_waiter_in_turn(wake) } else { self.add_waiter(wake) };
        self.wait_for(waiter, &change.keys);
        waiter
    }
}
