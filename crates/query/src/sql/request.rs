//! Statements that run for one request, and end with it.

use crate::database::Database;
use crate::error::{SqlError, SqlState};
use crate::sql::cancel::Cancel;
use crate::sql::watch::Registered;
use std::sync::Arc;

/// What runs for a request. When this is dropped, its statements are stopped, whatever they do.
#[derive(Debug)]
pub struct Request {
    cancel: Arc<Cancel>,
    _registered: Registered,
}

impl Request {
    /// For whoever runs its statements; that may go on elsewhere.
    pub fn statements(&self) -> Statements {
        Statements(self.cancel.clone())
    }
}

/// A request's statements, as far as they run.
#[derive(Debug)]
pub struct Statements(pub(crate) Arc<Cancel>);

impl Drop for Request {
    fn drop(&mut self) {
        let message = "the client has closed the connection";
        self.cancel.cancel(SqlError::new(SqlState::QueryCanceled, message));
    }
}

impl Database {
    /// A request begins.
    pub fn request(&self) -> Request {
        let cancel = Arc::new(Cancel::default());
        let registered = self.inner.watch.register(cancel.clone());
        Request { cancel, _registered: registered }
    }
}
