//! One count of connections for all doors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Connections beyond the limit that are kept for long enough to be told why they are refused. The
/// others are closed without a word.
const TOLD_MAX: usize = 64;

/// How many connections there are, and how many there may be.
#[derive(Debug)]
pub struct Limit {
    open: AtomicUsize,
    most: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    telling: AtomicUsize,
    emptied: Notify,
}

impl Limit {
    /// A limit with no connection yet.
    pub fn new(most: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            telling: AtomicUsize::new(0),
            emptied: Notify::new(),
        }
    }

    /// Changes how many there may be. Those beyond it that are open already stay.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were let in since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts one connection more; nothing where there are as many as there may be.
    pub fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let most = self.most.load(Ordering::Relaxed);
        let one_more = |open: usize| (open < most).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Admitted(self.clone()))
    }

    /// Room to tell one refused client why; nothing where too many are being told already.
    pub fn tell(self: &Arc<Self>) -> Option<Telling> {
        let one_more = |telling: usize| (telling < TOLD_MAX).then_some(telling + 1);
        self.telling.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Telling(self.clone()))
    }

    /// Waits until no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            tokio::pin!(notified);
            // Registered first, looked at second: an end in between wakes us.
            notified.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// A connection that counts until this goes.
#[derive(Debug)]
pub struct Admitted(Arc<Limit>);

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

/// A refused connection that is told why, until this goes.
#[derive(Debug)]
pub struct Telling(Arc<Limit>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.telling.fetch_sub(1, Ordering::Relaxed);
    }
}
