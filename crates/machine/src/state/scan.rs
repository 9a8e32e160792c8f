//! Keys as they are scanned, drawn and evicted.

use super::*;

/// What one step of a scan found.
#[derive(Debug, Default)]
pub struct ScanPage {
    /// Keys.
    pub keys: Vec<Vec<u8>>,
    /// Where to go on; `None` at the end.
    pub next: Option<u32>,
}

impl State {
    /// Live keys in memory from a slab position on; looks at no more than `limit` slots.
    ///
    /// Only keys are returned that the checkpoint store does not hold: the caller goes on with the
    /// store. (Not only where some keys are cold: a walk must find each key, however keys come and
    /// go from memory meanwhile.)
    pub fn scan(
        &self,
        start: u32,
        limit: usize,
        now_ms: u64,
        type_name: Option<&[u8]>,
    ) -> ScanPage {
        let end = self.table.end().min(start.saturating_add(limit.max(1) as u32));
        let all = !self.residence.has_stored();
        let mut page = ScanPage::default();
        for (position, entry) in self.table.iter_from(start) {
            if position >= end {
                break;
            }
            let expired = self.expiry_ms(position).is_some_and(|at_ms| at_ms <= now_ms);
            let wanted = type_name
                .is_none_or(|name| name.eq_ignore_ascii_case(entry.kind().name().as_bytes()));
            if !expired && wanted && (all || !entry.is_stored()) {
                page.keys.push(entry.key().to_vec());
            }
        }
        page.next = (end < self.table.end()).then_some(end);
        page
    }

    /// A live key in memory, chosen by a random number.
    pub fn random_key(&self, random: u64, now_ms: u64) -> Option<Vec<u8>> {
        let start = (random % u64::from(self.table.end().max(1))) as Position;
        let live = |position: Position, entry: &Entry| {
            let expired = self.expiry_ms(position).is_some_and(|at_ms| at_ms <= now_ms);
            (!expired).then(|| entry.key().to_vec())
        };
        self.table
            .iter_from(start)
            .chain(self.table.iter())
            .find_map(|(position, entry)| live(position, entry))
    }

    /// Drops clean entries until the state uses at most `budget_bytes`, looking at no more than
    /// `limit` entries. Returns whether it got there.
    pub fn evict(&mut self, budget_bytes: usize, limit: usize) -> bool {
        for _ in 0..limit {
            if self.memory_bytes() <= budget_bytes {
                return true;
            }
            let far_over_budget = self.memory_bytes() / 2 > budget_bytes;
            let Some(position) = self.policy.victim(&mut self.table) else { return false };
            let entry = self.table.live(position);
            let must_stay = entry.is_dirty()
                || !entry.is_stored()
                || self.interest.is_watched(entry.key())
                || self.residence.just_arrived(position, far_over_budget);
            if must_stay {
                self.policy.spared(&mut self.table, position);
                continue;
            }
            let entry = self.remove_entry(position);
            self.residence.absent.remove(entry.key());
            self.residence.stored_entry_left();
            self.residence.evicted += 1;
        }
        self.memory_bytes() <= budget_bytes
    }

    /// Whether part of the keys is only in the checkpoint store.
    pub fn has_cold(&self) -> bool {
        self.residence.has_cold()
    }

    /// Whether a walk through all keys must go on in the checkpoint store.
    pub fn has_stored(&self) -> bool {
        self.residence.has_stored()
    }

    /// Whether a key that the store lists is live, as far as memory knows.
    pub fn has_stored_key(&self, key: &[u8], now_ms: u64, type_name: Option<&[u8]>) -> bool {
        match self.table.find(key) {
            // What the type of a cold key is only the store knows; it is listed, as if no type had
            // been asked for.
            None => self.residence.may_be_cold(key),
            Some(position) => {
                let expired = self.expiry_ms(position).is_some_and(|at_ms| at_ms <= now_ms);
                let kind = self.table.live(position).kind().name();
                let wanted =
                    type_name.is_none_or(|name| name.eq_ignore_ascii_case(kind.as_bytes()));
                // Keys that the store did not hold were listed from memory.
                !expired && wanted
            }
        }
    }

    /// Whether a key must be fetched before a command that names it can run.
    pub fn is_cold(&self, key: &[u8]) -> bool {
        // Longer keys cannot exist, and the store does not take their names.
        key.len() <= self.limits.key_max_bytes
            && self.residence.may_be_cold(key)
            && self.table.find(key).is_none()
    }

    /// Says that one command is about to fetch so many keys: they stay until it has run.
    pub fn expect_arrivals(&mut self, count: usize) {
        self.residence.expect_arrivals(count);
    }

    /// Entries that left memory so far.
    pub fn evicted_count(&self) -> u64 {
        self.residence.evicted
    }
}
