//! Connections, as another connection names the one whose statement it stops.

use crate::cancel::Cancel;
use crate::error::{SqlError, SqlState};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

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
