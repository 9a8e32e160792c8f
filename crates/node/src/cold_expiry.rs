//! Expired keys that only the store holds. Nothing in memory knows of them, so a slow walk through
//! the store finds them and fetches them. Then the timers delete them like any other.

use crate::engine::Inner;
use crate::metrics::Role;
use std::sync::atomic::{AtomicBool, Ordering};
use thalweg_machine::Loaded;
use thalweg_store::Store;

/// Heads that are looked at in one step.
const STEP_HEADS: usize = 2_000;

/// Where the walk is.
#[derive(Default)]
pub(crate) struct ColdExpiry {
    number: usize,
    after: Option<Vec<u8>>,
    found_any: bool,
}

impl ColdExpiry {
    /// Looks at the next heads.
    pub(crate) fn step(&mut self, inner: &Inner, store: &Store) {
        let Some(expiries) = inner.stored_expiries.get(self.number) else {
            *self = Self::default();
            return;
        };
        if inner.lanes.of(self.number).role() != Role::Leader {
            // Only the leader decides that a key has expired.
            *self = Self { number: self.number + 1, ..Self::default() };
            return;
        }
        if self.after.is_none() && !expiries.swap(false, Ordering::AcqRel) {
            // Nothing in this partition of the store expires.
            self.number += 1;
            return;
        }
        let now_ms = inner.settings.clock.now_ms();
        let (mut expired, mut last) = (Vec::new(), None);
        let mut visit = |key: &[u8], head: &[u8]| {
            if let Some(at_ms) = Loaded::head_expiry_ms(head) {
                self.found_any = true;
                if at_ms <= now_ms {
                    expired.push(key.to_vec());
                }
            }
            last = Some(key.to_vec());
        };
        let walked = store.walk(self.number as u16, self.after.as_deref(), STEP_HEADS, &mut visit);
        for key in &expired {
            inner.fetch(key);
        }
        self.after = match walked {
            Ok(count) if count == STEP_HEADS => last,
            Ok(_) => None,
            Err(error) => {
                tracing::error!(%error, "the search for expired keys on disk failed");
                // Unknown is not none: the next walk tries again.
                self.found_any = true;
                None
            }
        };
        if self.after.is_none() {
            if std::mem::take(&mut self.found_any) {
                expiries.store(true, Ordering::Release);
            }
            self.number += 1;
        }
    }
}

/// One flag a partition: whether heads in the store may have an expiry.
pub(crate) fn unknown(partitions: u16) -> Box<[AtomicBool]> {
    (0..partitions).map(|_| AtomicBool::new(true)).collect()
}
