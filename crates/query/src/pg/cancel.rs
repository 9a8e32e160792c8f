//! What stops a statement from outside: another connection that asks for it, time, memory, a client that is gone.

use crate::error::{SqlError, SqlState};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// One connection's statement, as others may stop it.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    reason: Mutex<Option<SqlError>>,
    notify: Notify,
    since: Mutex<Option<Instant>>,
}

impl Cancel {
    /// Stops the statement that runs.
    pub(crate) fn cancel(&self, reason: SqlError) {
        self.reason.lock().get_or_insert(reason);
        self.notify.notify_waiters();
    }

    /// A statement begins: nobody has asked for it to be stopped.
    pub(crate) fn begin(&self) {
        *self.reason.lock() = None;
        *self.since.lock() = Some(Instant::now());
    }

    /// The statement is over.
    pub(super) fn end(&self) {
        *self.since.lock() = None;
    }

    /// Since when a statement runs that nobody has stopped yet.
    pub(crate) fn running_since(&self) -> Option<Instant> {
        if self.reason.lock().is_some() { None } else { *self.since.lock() }
    }

    #[cfg(test)]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.reason.lock().is_some()
    }

    /// Ends, with the reason, when somebody stops it.
    pub(super) async fn stopped(&self) -> SqlError {
        loop {
            let notified = self.notify.notified();
            if let Some(reason) = self.reason.lock().clone() {
                return reason;
            }
            notified.await;
        }
    }
}

/// The connections, by what their clients cancel them with.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<CancelKey, Arc<Cancel>>>);

/// The number of a connection, and its secret.
type CancelKey = (i32, Vec<u8>);

impl Running {
    pub(super) fn add(&self, key: (i32, Vec<u8>), cancel: Arc<Cancel>) {
        self.0.lock().insert(key, cancel);
    }

    pub(super) fn remove(&self, key: &(i32, Vec<u8>)) {
        self.0.lock().remove(key);
    }

    pub(super) fn cancel(&self, pid: i32, secret: &[u8]) {
        let found = self.0.lock().get(&(pid, secret.to_vec())).cloned();
        if let Some(found) = found {
            let message = "canceling statement due to user request";
            found.cancel(SqlError::new(SqlState::QueryCanceled, message));
        }
    }
}
