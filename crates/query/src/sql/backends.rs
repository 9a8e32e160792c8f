//! Connections of the Postgres door, as other connections see and end them: `pg_stat_activity`,
//! `pg_cancel_backend`, `pg_terminate_backend`, and the cancel request of the protocol. A backend
//! is Postgres' word for what serves one connection. Its number is the connection's process number
//! (`pid`) in Postgres, and here also the number of its session.

use crate::error::{SqlError, SqlState};
use crate::sql::cancel::Cancel;
use crate::sql::session::Variables;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// How much of a statement's text others see.
const QUERY_MAX_BYTES: usize = 1_024;

/// The connections, by number.
#[derive(Debug, Default)]
pub(crate) struct Backends(Mutex<BTreeMap<u64, Listed>>);

#[derive(Debug)]
struct Listed {
    address: String,
    since_ms: u64,
    activity: Arc<Activity>,
    /// Once the client has been let in.
    served: Option<Served>,
}

/// A connection whose client has been let in.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// What its client proves with that it is the one who cancels.
    pub(crate) secret: Vec<u8>,
    pub(crate) cancel: Arc<Cancel>,
    pub(crate) variables: Arc<Mutex<Variables>>,
}

/// A connection as others see it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) pid: i32,
    pub(crate) address: String,
    pub(crate) since_ms: u64,
    pub(crate) application: String,
    pub(crate) statement: Option<LastStatement>,
}

/// What a connection does now or did last.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastStatement {
    pub(crate) query: String,
    pub(crate) began_ms: u64,
    /// When it began or, where it is over, when it ended.
    pub(crate) changed_ms: u64,
    pub(crate) is_active: bool,
}

/// What one connection does, and whether somebody has ended it.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    last: Mutex<Option<LastStatement>>,
    is_terminated: AtomicBool,
    terminated: Notify,
}

/// The number of a connection as clients see it.
pub(crate) fn pid_of(number: u64) -> i32 {
    (number & i32::MAX as u64) as i32
}

impl Activity {
    /// A statement begins.
    pub(crate) fn begin(&self, query: &str, now_ms: u64) {
        let mut end = query.len().min(QUERY_MAX_BYTES);
        while !query.is_char_boundary(end) {
            end -= 1;
        }
        let query = query.get(..end).unwrap_or_default();
        let mut last = self.last.lock();
        let last = last.get_or_insert_default();
        // One that comes again and again needs no new memory.
        if last.query != query {
            query.clone_into(&mut last.query);
        }
        (last.began_ms, last.changed_ms, last.is_active) = (now_ms, now_ms, true);
    }

    /// The connection waits for its client.
    pub(crate) fn end(&self, now_ms: u64) {
        if let Some(last) = self.last.lock().as_mut() {
            (last.changed_ms, last.is_active) = (now_ms, false);
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.is_terminated.load(Ordering::Acquire)
    }

    /// Ends when somebody has ended the connection.
    pub(crate) async fn terminated(&self) {
        loop {
            let notified = self.terminated.notified();
            if self.is_terminated() {
                return;
            }
            notified.await;
        }
    }

    fn terminate(&self) {
        self.is_terminated.store(true, Ordering::Release);
        self.terminated.notify_waiters();
    }
}

/// What a client is told whose connection somebody has ended.
pub(crate) fn terminated() -> SqlError {
    let message = "terminating connection due to administrator command";
    SqlError::new(SqlState::AdminShutdown, message)
}

fn cancelled() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

impl Backends {
    /// A client has connected.
    pub(crate) fn add(&self, number: u64, address: String, since_ms: u64) -> Arc<Activity> {
        let activity = Arc::<Activity>::default();
        let listed = Listed { address, since_ms, activity: activity.clone(), served: None };
        self.0.lock().insert(number, listed);
        activity
    }

    /// It has been let in.
    pub(crate) fn serve(&self, number: u64, served: Served) {
        if let Some(listed) = self.0.lock().get_mut(&number) {
            listed.served = Some(served);
        }
    }

    pub(crate) fn remove(&self, number: u64) {
        self.0.lock().remove(&number);
    }

    pub(crate) fn list(&self) -> Vec<Seen> {
        let seen = |(number, listed): (&u64, &Listed)| Seen {
            pid: pid_of(*number),
            address: listed.address.clone(),
            since_ms: listed.since_ms,
            application: listed
                .served
                .as_ref()
                .and_then(|served| served.variables.lock().get("application_name"))
                .unwrap_or_default(),
            statement: listed.activity.last.lock().clone(),
        };
        self.0.lock().iter().map(seen).collect()
    }

    /// Does something with a connection. Says whether there is one of this number.
    fn with(&self, pid: i32, act: impl FnOnce(&Activity, Option<&Served>)) -> bool {
        let listed = self.0.lock();
        let found = listed.iter().find(|(number, _)| pid_of(**number) == pid);
        let Some((_, listed)) = found else { return false };
        act(&listed.activity, listed.served.as_ref());
        true
    }

    /// Stops a connection's statement, for the client that knows its secret.
    pub(crate) fn cancel_with(&self, pid: i32, secret: &[u8]) {
        let _is_there = self.with(pid, |_, served| {
            if let Some(served) = served.filter(|served| served.secret == secret) {
                served.cancel.cancel(cancelled());
            }
        });
    }

    /// Stops a connection's statement. Says whether there is such a connection.
    pub(crate) fn cancel(&self, pid: i32) -> bool {
        self.with(pid, |_, served| {
            if let Some(served) = served {
                served.cancel.cancel(cancelled());
            }
        })
    }

    /// Ends a connection. Says whether there is one.
    pub(crate) fn terminate(&self, pid: i32) -> bool {
        self.with(pid, |activity, served| {
            activity.terminate();
            if let Some(served) = served {
                served.cancel.cancel(terminated());
            }
        })
    }
}
