//! The end of all doors: nobody comes in any more, and those inside end when their answers are out.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Whether the doors are closing. Once they are, they stay so.
#[derive(Debug, Default)]
pub struct Drain {
    begun: AtomicBool,
    notify: Notify,
}

impl Drain {
    /// The doors close now.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether the doors are closing.
    pub fn is_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until the doors close.
    pub async fn begun(&self) {
        let notified = self.notify.notified();
        tokio::pin!(notified);
        // Registered first, looked at second: a beginning in between wakes us.
        notified.as_mut().enable();
        if !self.is_begun() {
            notified.await;
        }
    }
}
