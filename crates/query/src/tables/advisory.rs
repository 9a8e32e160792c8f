//! Advisory locks: locks on numbers, which programs agree on among themselves (`pg_advisory_lock`
//! and its kin). Migration tools take one so that only one of them runs.
//!
//! A session's locks are counted: it must release a lock as often as it took it. A transaction's
//! locks end with it. Those who wait are served in the order in which they came. Who would wait for
//! ever, because somebody in turn waits for them, is refused at once (40P01). All of it is in
//! memory: locks end with their session, and with the node.

use crate::error::{SqlError, SqlState};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The most locks that all sessions hold together.
const LOCKS_MAX: usize = 100_000;

/// What is locked: a number of 64 bits, or two of 32.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Key {
    One(i64),
    Two(i32, i32),
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mode {
    pub(crate) is_shared: bool,
    /// It ends with the transaction.
    pub(crate) of_transaction: bool,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    session: u64,
    mode: Mode,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    session: u64,
    is_shared: bool,
    ticket: u64,
}

#[derive(Debug, Default)]
struct Lock {
    holds: Vec<Hold>,
    /// In the order in which they came.
    waits: Vec<Wait>,
}

impl Lock {
    /// Those that a session must wait for; `ticket`: its place among those who wait.
    fn in_the_way(&self, session: u64, is_shared: bool, ticket: u64) -> Vec<u64> {
        let conflicts =
            |other: u64, other_is_shared: bool| other != session && !(is_shared && other_is_shared);
        let holds = self.holds.iter();
        let holds = holds.filter(|hold| conflicts(hold.session, hold.mode.is_shared));
        let holds = holds.map(|hold| hold.session);
        // Whoever holds it already does not queue behind those who wait for it.
        let is_holder = self.holds.iter().any(|hold| hold.session == session);
        let waits = self.waits.iter().take_while(|wait| wait.ticket < ticket && !is_holder);
        let waits = waits.filter(|wait| conflicts(wait.session, wait.is_shared));
        holds.chain(waits.map(|wait| wait.session)).collect()
    }
}

#[derive(Debug, Default)]
struct Table {
    locks: BTreeMap<Key, Lock>,
    tickets: u64,
    held: usize,
}

impl Table {
    fn is_free(&self, session: u64, key: Key, is_shared: bool, ticket: u64) -> bool {
        let lock = self.locks.get(&key);
        lock.is_none_or(|lock| lock.in_the_way(session, is_shared, ticket).is_empty())
    }

    fn hold(&mut self, session: u64, key: Key, mode: Mode) -> Result<(), SqlError> {
        let holds = &mut self.locks.entry(key).or_default().holds;
        match holds.iter_mut().find(|hold| hold.session == session && hold.mode == mode) {
            Some(hold) => hold.count += 1,
            None if self.held >= LOCKS_MAX => {
                self.tidy(key);
                let message = format!("out of shared memory: {LOCKS_MAX} advisory locks are held");
                return Err(SqlError::new(SqlState::OutOfMemory, message));
            }
            None => {
                holds.push(Hold { session, mode, count: 1 });
                self.held += 1;
            }
        }
        Ok(())
    }

    /// Whether a session that begins to wait would wait for itself.
    fn is_deadlock(&self, session: u64, key: Key, is_shared: bool, ticket: u64) -> bool {
        let way = |key: Key, session: u64, is_shared: bool, ticket: u64| {
            self.locks.get(&key).map(|lock| lock.in_the_way(session, is_shared, ticket))
        };
        let mut seen = Vec::new();
        let mut next = way(key, session, is_shared, ticket).unwrap_or_default();
        while let Some(other) = next.pop() {
            if other == session {
                return true;
            }
            if seen.contains(&other) {
                continue;
            }
            seen.push(other);
            for (key, lock) in &self.locks {
                for wait in lock.waits.iter().filter(|wait| wait.session == other) {
                    next.extend(way(*key, other, wait.is_shared, wait.ticket).unwrap_or_default());
                }
            }
        }
        false
    }

    fn tidy(&mut self, key: Key) {
        if self.locks.get(&key).is_some_and(|lock| lock.holds.is_empty() && lock.waits.is_empty()) {
            self.locks.remove(&key);
        }
    }

    /// Ends the holds of a session that are to end.
    fn release(&mut self, session: u64, ends: impl Fn(Mode) -> bool) {
        for lock in self.locks.values_mut() {
            let before = lock.holds.len();
            lock.holds.retain(|hold| hold.session != session || !ends(hold.mode));
            self.held -= before - lock.holds.len();
        }
        self.locks.retain(|_, lock| !lock.holds.is_empty() || !lock.waits.is_empty());
    }
}

/// The locks of a node.
#[derive(Debug, Default)]
pub(crate) struct AdvisoryLocks {
    /// Whether any lock is held: most sessions never take one, and ask for nothing more.
    has_any: AtomicBool,
    table: Mutex<Table>,
    changed: Notify,
}

/// A place among those who wait, which is given up when nobody waits in it any more.
struct Waiting<'a> {
    locks: &'a AdvisoryLocks,
    key: Key,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.locks.table.lock();
        if let Some(lock) = table.locks.get_mut(&self.key) {
            lock.waits.retain(|wait| wait.ticket != self.ticket);
        }
        table.tidy(self.key);
        drop(table);
        self.locks.changed.notify_waiters();
    }
}

impl AdvisoryLocks {
    /// Takes a lock if nobody is in the way.
    pub(crate) fn try_lock(&self, session: u64, key: Key, mode: Mode) -> Result<bool, SqlError> {
        let mut table = self.table.lock();
        if !table.is_free(session, key, mode.is_shared, u64::MAX) {
            return Ok(false);
        }
        table.hold(session, key, mode)?;
        self.has_any.store(true, Ordering::Release);
        Ok(true)
    }

    /// Takes a lock, and waits for it.
    pub(crate) async fn lock(&self, session: u64, key: Key, mode: Mode) -> Result<(), SqlError> {
        if self.try_lock(session, key, mode)? {
            return Ok(());
        }
        let waiting = {
            let mut table = self.table.lock();
            table.tickets += 1;
            let ticket = table.tickets;
            if table.is_deadlock(session, key, mode.is_shared, ticket) {
                return Err(SqlError::new(SqlState::DeadlockDetected, "deadlock detected"));
            }
            let wait = Wait { session, is_shared: mode.is_shared, ticket };
            table.locks.entry(key).or_default().waits.push(wait);
            Waiting { locks: self, key, ticket }
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut table = self.table.lock();
                if table.is_free(session, key, mode.is_shared, waiting.ticket) {
                    self.has_any.store(true, Ordering::Release);
                    return table.hold(session, key, mode);
                }
            }
            changed.await;
        }
    }

    /// Gives a session's lock back once; false where it does not hold it.
    pub(crate) fn unlock(&self, session: u64, key: Key, is_shared: bool) -> bool {
        let mut table = self.table.lock();
        let mode = Mode { is_shared, of_transaction: false };
        let Some(lock) = table.locks.get_mut(&key) else { return false };
        let found = |hold: &Hold| hold.session == session && hold.mode == mode;
        let Some(at) = lock.holds.iter().position(found) else { return false };
        match lock.holds.get_mut(at) {
            Some(hold) if hold.count > 1 => hold.count -= 1,
            _ => {
                lock.holds.remove(at);
                table.held -= 1;
                table.tidy(key);
            }
        }
        drop(table);
        self.changed.notify_waiters();
        true
    }

    /// Gives all locks of a session back, but not those of its transaction.
    pub(crate) fn unlock_all(&self, session: u64) {
        self.release(session, |mode| !mode.of_transaction);
    }

    /// The transaction of a session is over.
    pub(crate) fn end_transaction(&self, session: u64) {
        self.release(session, |mode| mode.of_transaction);
    }

    /// A session is over.
    pub(crate) fn end_session(&self, session: u64) {
        self.release(session, |_| true);
    }

    fn release(&self, session: u64, ends: impl Fn(Mode) -> bool) {
        if !self.has_any.load(Ordering::Acquire) {
            return;
        }
        let mut table = self.table.lock();
        table.release(session, ends);
        self.has_any.store(table.held > 0, Ordering::Release);
        drop(table);
        self.changed.notify_waiters();
    }

    /// The sessions that some session waits for.
    pub(crate) fn in_the_way(&self, waits: impl Fn(u64) -> bool) -> Vec<u64> {
        let table = self.table.lock();
        let mut found = Vec::new();
        for lock in table.locks.values() {
            for wait in lock.waits.iter().filter(|wait| waits(wait.session)) {
                found.extend(lock.in_the_way(wait.session, wait.is_shared, wait.ticket));
            }
        }
        found
    }

    /// Who holds which lock how, and who waits for which: session, lock, whether it is shared,
    /// whether it is held.
    pub(crate) fn list(&self) -> Vec<(u64, Key, bool, bool)> {
        let table = self.table.lock();
        let mut rows = Vec::new();
        for (key, lock) in &table.locks {
            let holds = lock.holds.iter();
            rows.extend(holds.map(|hold| (hold.session, *key, hold.mode.is_shared, true)));
            let waits = lock.waits.iter();
            rows.extend(waits.map(|wait| (wait.session, *key, wait.is_shared, false)));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    const ALONE: Mode = Mode { is_shared: false, of_transaction: false };
    const SHARED: Mode = Mode { is_shared: true, of_transaction: false };
    const KEY: Key = Key::One(7);

    #[test]
    fn locks_are_counted_and_end_with_their_session_or_transaction() {
        let locks = AdvisoryLocks::default();
        let of_transaction = Mode { of_transaction: true, ..ALONE };
        for mode in [ALONE, ALONE, of_transaction] {
            assert!(locks.try_lock(1, KEY, mode).expect("room"));
        }
        assert!(locks.unlock(1, KEY, false) && locks.unlock(1, KEY, false));
        assert!(!locks.unlock(1, KEY, false), "the transaction's is not the session's");
        assert!(!locks.try_lock(2, KEY, ALONE).expect("room"));
        assert!(
            locks.try_lock(2, Key::Two(0, 7), ALONE).expect("room"),
            "two numbers are another key"
        );
        locks.end_transaction(1);
        assert!(locks.try_lock(2, KEY, SHARED).expect("room"));
        assert!(locks.try_lock(3, KEY, SHARED).expect("room"));
        assert!(!locks.try_lock(3, KEY, ALONE).expect("room"));
        locks.end_session(2);
        assert!(locks.try_lock(3, KEY, ALONE).expect("room"), "its own is not in the way");
        locks.end_session(3);
        assert!(locks.list().is_empty());
    }

    #[tokio::test]
    async fn who_waits_is_served_in_turn_and_a_circle_is_refused() {
        let locks = Arc::new(AdvisoryLocks::default());
        locks.lock(1, KEY, ALONE).await.expect("free");
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for session in [2, 3, 4] {
            let (taken, told) = (locks.clone(), told.clone());
            tasks.push(tokio::spawn(async move {
                taken.lock(session, KEY, ALONE).await.expect("its turn");
                told.send(session).expect("somebody listens");
                assert!(taken.unlock(session, KEY, false));
            }));
            while locks.list().len() < session as usize {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(!locks.try_lock(5, KEY, SHARED).expect("room"), "nobody goes past those who wait");
        // One who gave up is not waited for.
        tasks.remove(1).abort();
        while locks.list().len() > 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Session 2 waits for 1; so 1 cannot wait for 2.
        let other = Key::One(8);
        locks.lock(2, other, ALONE).await.expect("free");
        let circle = locks.lock(1, other, ALONE).await.expect_err("a circle");
        assert_eq!(circle.state, SqlState::DeadlockDetected);
        locks.end_session(1);
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!((order.recv().await, order.recv().await), (Some(2), Some(4)));
    }
}
