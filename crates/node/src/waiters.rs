//! Readers that block until a key changes.
//!
//! A record that one reader of a consumer group takes, no other reader gets. So such readers take
//! turns: the one that has waited longest is woken first, and the next one when that one has
//! looked. All other readers are woken together.

use crate::request::Wake;
use foldhash::HashMap;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names a waiter; later ones have greater names.
pub type WaiterId = u64;

struct Waiter {
    wake: Wake,
    takes_turns: bool,
    /// Those whose turn comes when this one has looked.
    next: Vec<WaiterId>,
}

#[derive(Default)]
pub(crate) struct Waiters {
    next: AtomicU64,
    all: Mutex<HashMap<WaiterId, Waiter>>,
}

impl Waiters {
    pub(crate) fn add(&self, wake: Wake, takes_turns: bool) -> WaiterId {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.all.lock().insert(id, Waiter { wake, takes_turns, next: Vec::new() });
        id
    }

    pub(crate) fn remove(&self, id: WaiterId) {
        let removed = self.all.lock().remove(&id);
        self.wake(&removed.map(|waiter| waiter.next).unwrap_or_default());
    }

    pub(crate) fn count(&self) -> usize {
        self.all.lock().len()
    }

    /// Wakes those that come after a waiter: it has looked.
    pub(crate) fn pass_turn(&self, id: WaiterId) {
        let next = self.all.lock().get_mut(&id).map(|waiter| std::mem::take(&mut waiter.next));
        self.wake(&next.unwrap_or_default());
    }

    /// Wakes waiters; never under a partition's lock.
    pub(crate) fn wake(&self, ids: &[WaiterId]) {
        if ids.is_empty() {
            return;
        }
        let mut found: Vec<Wake> = Vec::new();
        {
            let mut all = self.all.lock();
            let mut taking_turns: Vec<WaiterId> = Vec::new();
            for id in ids {
                match all.get(id) {
                    Some(waiter) if waiter.takes_turns => taking_turns.push(*id),
                    Some(waiter) => found.push(waiter.wake.clone()),
                    None => {}
                }
            }
            taking_turns.sort_unstable();
            let mut taking_turns = taking_turns.into_iter();
            if let Some(first) = taking_turns.next().and_then(|first| all.get_mut(&first)) {
                found.push(first.wake.clone());
                first.next.extend(taking_turns);
                first.next.sort_unstable();
                first.next.dedup();
            }
        }
        for wake in found {
            wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn readers_of_a_group_take_turns() {
        let (waiters, woken) = (Waiters::default(), Arc::new(Mutex::new(Vec::new())));
        let add = |name: &'static str, takes_turns| {
            let woken = woken.clone();
            waiters.add(Arc::new(move || woken.lock().push(name)), takes_turns)
        };
        let ids =
            [add("first", true), add("second", true), add("reader", false), add("third", true)];
        let [first, second, reader, third] = ids;
        let seen = || std::mem::take(&mut *woken.lock());
        waiters.wake(&[third, reader, second, first]);
        assert_eq!(seen(), ["reader", "first"]);
        waiters.pass_turn(first);
        assert_eq!(seen(), ["second"]);
        waiters.remove(second);
        assert_eq!(seen(), ["third"], "one that leaves passes its turn on");
        waiters.pass_turn(third);
        waiters.wake(&[second]);
        assert_eq!(seen(), [""; 0]);
    }
}
