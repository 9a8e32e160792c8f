//! Writers that wait because the log is behind: their partitions, or the transactions in line, hold
//! as much as they may until the commit thread has been round and taken it.

use crate::request::Wake;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(crate) struct Backlog {
    /// How often the commit thread has been round all partitions of the lane.
    rounds: AtomicU64,
    waiting: Mutex<Vec<Wake>>,
}

impl Backlog {
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }

    /// Calls `wake` when a round has ended. False: one has ended since, and `wake` is not called.
    pub(super) fn wait(&self, since: u64, wake: Wake) -> bool {
        let mut waiting = self.waiting.lock();
        // Looked at under the lock under which rounds end: none can end unseen.
        if self.rounds() != since {
            return false;
        }
        waiting.push(wake);
        true
    }

    pub(super) fn end_round(&self) {
        let woken = {
            let mut waiting = self.waiting.lock();
            self.rounds.fetch_add(1, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        for wake in woken {
            wake();
        }
    }
}
