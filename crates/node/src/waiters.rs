//! Readers that block until a key changes.

use foldhash::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names a waiter.
pub type WaiterId = u64;

type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(crate) struct Waiters {
    next: AtomicU64,
    all: Mutex<HashMap<WaiterId, Wake>>,
}

impl Waiters {
    pub(crate) fn add(&self, wake: Wake) -> WaiterId {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.all.lock().insert(id, wake);
        id
    }

    pub(crate) fn remove(&self, id: WaiterId) {
        self.all.lock().remove(&id);
    }

    pub(crate) fn count(&self) -> usize {
        self.all.lock().len()
    }

    /// Wakes waiters; never under a partition's lock.
    pub(crate) fn wake(&self, ids: &[WaiterId]) {
        if ids.is_empty() {
            return;
        }
        let found: Vec<Wake> = {
            let all = self.all.lock();
            ids.iter().filter_map(|id| all.get(id).cloned()).collect()
        };
        for wake in found {
            wake();
        }
    }
}
