//! Who waits for a key or for the log.

use super::{Engine, Listener};
use crate::channels::Channels;
use crate::request::Wake;
use crate::waiters::WaiterId;
use std::sync::Arc;

impl Engine {
    /// Adds somebody to be told when the settled LSN of a lane moves.
    pub fn add_listener(&self, listener: Arc<Listener>) {
        for lane in self.inner.lanes.iter() {
            lane.add_listener(listener.clone());
        }
    }

    /// Takes a listener back.
    pub fn remove_listener(&self, listener: &Arc<Listener>) {
        for lane in self.inner.lanes.iter() {
            lane.remove_listener(listener);
        }
    }

    /// Where messages are published and listened to.
    pub fn channels(&self) -> &Channels {
        &self.inner.channels
    }

    /// Makes a waiter, to be woken when a key that it waits for changes.
    pub fn add_waiter(&self, wake: Wake) -> WaiterId {
        self.inner.waiters.add(wake, false)
    }

    /// The same for a reader that may take what others wait for: those that wait longest are woken
    /// first, one at a time. It says when it has looked ([`Engine::pass_turn`]).
    pub fn add_waiter_in_turn(&self, wake: Wake) -> WaiterId {
        self.inner.waiters.add(wake, true)
    }

    /// A waiter that was woken has looked, and waits on: the next one's turn has come.
    pub fn pass_turn(&self, waiter: WaiterId) {
        self.inner.waiters.pass_turn(waiter);
    }

    /// Waits for changes of keys. Look at the keys once more after this: a change may have come
    /// before.
    pub fn wait_for(&self, waiter: WaiterId, keys: &[Vec<u8>]) {
        for key in keys {
            let number = self.inner.partitions.of(key);
            self.inner.partitions.lock(number).state.wait(key, waiter);
        }
    }

    /// Ends a waiter.
    pub fn remove_waiter(&self, waiter: WaiterId, keys: &[Vec<u8>]) {
        for key in keys {
            let number = self.inner.partitions.of(key);
            self.inner.partitions.lock(number).state.stop_waiting(key, waiter);
        }
        self.inner.waiters.remove(waiter);
    }

    /// How many readers are blocked.
    pub fn waiter_count(&self) -> usize {
        self.inner.waiters.count()
    }
}
