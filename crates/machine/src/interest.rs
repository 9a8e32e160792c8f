//! Which clients want to know when a key changes: for WATCH, and for readers that block on a
//! stream.

use crate::state::Lsn;
use foldhash::HashMap;

/// Keys that somebody watches or waits for. Empty nearly always, and then it costs one comparison a
/// change.
#[derive(Default)]
pub(crate) struct Interest {
    keys: HashMap<Box<[u8]>, Entry>,
    /// Waiters to wake, collected until the node takes them.
    woken: Vec<u64>,
}

#[derive(Default)]
struct Entry {
    watchers: usize,
    changed_lsn: Lsn,
    waiters: Vec<u64>,
}

impl Interest {
    /// Notes a change.
    pub(crate) fn changed(&mut self, key: &[u8], lsn: Lsn) {
        if self.keys.is_empty() {
            return;
        }
        let Some(entry) = self.keys.get_mut(key) else { return };
        entry.changed_lsn = lsn;
        self.woken.append(&mut entry.waiters);
        self.drop_if_unused(key);
    }

    /// Notes that every key changed.
    pub(crate) fn all_changed(&mut self, lsn: Lsn) {
        for entry in self.keys.values_mut() {
            entry.changed_lsn = lsn;
            self.woken.append(&mut entry.waiters);
        }
        self.keys.retain(|_, entry| entry.watchers > 0);
    }

    /// Whether anybody watches or waits for a key.
    pub(crate) fn is_watched(&self, key: &[u8]) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(key)
    }

    pub(crate) fn watch(&mut self, key: &[u8]) {
        self.keys.entry(key.into()).or_default().watchers += 1;
    }

    pub(crate) fn unwatch(&mut self, key: &[u8]) {
        if let Some(entry) = self.keys.get_mut(key) {
            entry.watchers = entry.watchers.saturating_sub(1);
        }
        self.drop_if_unused(key);
    }

    /// The LSN of the last change since somebody began to watch; 0 for none.
    pub(crate) fn changed_lsn(&self, key: &[u8]) -> Lsn {
        self.keys.get(key).map_or(0, |entry| entry.changed_lsn)
    }

    pub(crate) fn wait(&mut self, key: &[u8], waiter: u64) {
        // In the order in which they began to wait: one that was woken in vain goes back to its
        // place.
        let waiters = &mut self.keys.entry(key.into()).or_default().waiters;
        if let Err(place) = waiters.binary_search(&waiter) {
            waiters.insert(place, waiter);
        }
    }

    pub(crate) fn stop_waiting(&mut self, key: &[u8], waiter: u64) {
        if let Some(entry) = self.keys.get_mut(key) {
            entry.waiters.retain(|&other| other != waiter);
        }
        self.drop_if_unused(key);
    }

    pub(crate) fn take_woken(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.woken)
    }

    pub(crate) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    fn drop_if_unused(&mut self, key: &[u8]) {
        if self.keys.get(key).is_some_and(|entry| entry.watchers == 0 && entry.waiters.is_empty()) {
            self.keys.remove(key);
        }
    }
}
