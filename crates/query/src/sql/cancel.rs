//! What stops a statement from outside: another connection that asks for it, time, memory, a client
//! that is gone.

use crate::error::{SqlError, SqlState};
use crate::sql::stop::{self, Stop};
use parking_lot::Mutex;
use socket2::SockRef;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// How often it is asked whether a client is still there that has already sent more.
const LOST_INTERVAL: Duration = Duration::from_millis(50);

/// One connection's statement, as others may stop it.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    stop: Mutex<Arc<Stop>>,
    notify: Notify,
    since: Mutex<Option<Instant>>,
    client: Option<Arc<TcpStream>>,
}

impl Cancel {
    /// Of a client's statements: they stop when it goes.
    pub(crate) fn of_client(client: Arc<TcpStream>) -> Self {
        Self { client: Some(client), ..Self::default() }
    }

    /// Stops the statement that runs.
    pub(crate) fn cancel(&self, reason: SqlError) {
        self.stop().stop(reason);
        self.notify.notify_waiters();
    }

    /// A statement begins, which may take so long; 0 is as long as it likes. Nobody has asked for
    /// it to be stopped.
    pub(crate) fn begin(&self, limit_ms: u64) {
        *self.stop.lock() = Arc::new(Stop::new(limit_ms));
        *self.since.lock() = Some(Instant::now());
    }

    /// The statement is over.
    pub(crate) fn end(&self) {
        *self.since.lock() = None;
    }

    /// Since when a statement runs that nobody has stopped yet.
    pub(crate) fn running_since(&self) -> Option<Instant> {
        if self.stop().is_stopped() { None } else { *self.since.lock() }
    }

    #[cfg(test)]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.stop().is_stopped()
    }

    pub(crate) fn stop(&self) -> Arc<Stop> {
        self.stop.lock().clone()
    }

    /// Stops a statement that is late or has lost its client. Its own task cannot see that while it
    /// computes.
    pub(crate) fn look(&self) {
        if let Some(reason) = self.stop().reason() {
            return self.cancel(reason);
        }
        let Some(client) = &self.client else { return };
        let mut byte = [MaybeUninit::uninit()];
        let is_lost = match SockRef::from(client.as_ref()).peek(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        if is_lost {
            self.cancel(lost());
        }
    }

    /// Does work that ends early when somebody cancels it, when its time is over, or when the
    /// client is gone.
    pub(crate) async fn guarded<T, E: From<SqlError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let stop = self.stop();
        let reason = tokio::select! {
            biased;
            reason = self.stopped(&stop) => reason,
            () = stop.passed() => stop::timed_out(),
            outcome = stop::within(stop.clone(), work) => return outcome,
            () = self.client_is_lost() => lost(),
        };
        // What the work has begun elsewhere is to end, too.
        stop.stop(reason.clone());
        Err(reason.into())
    }

    /// Ends, with the reason, when somebody stops it.
    async fn stopped(&self, stop: &Stop) -> SqlError {
        loop {
            let notified = self.notify.notified();
            if stop.is_stopped()
                && let Some(reason) = stop.reason()
            {
                return reason;
            }
            notified.await;
        }
    }

    /// The same for what does not compute: it waits for the client.
    pub(crate) async fn cancelled(&self) -> SqlError {
        let stop = self.stop();
        self.stopped(&stop).await
    }

    /// Ends when the client has closed the connection, whatever it has sent before.
    async fn client_is_lost(&self) {
        let Some(client) = &self.client else { return std::future::pending().await };
        let mut byte = [0u8; 1];
        loop {
            match client.peek(&mut byte).await {
                Ok(0) | Err(_) => return,
                // More of a pipeline: that waits.
                Ok(_) => tokio::time::sleep(LOST_INTERVAL).await,
            }
        }
    }
}

fn lost() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "the client has closed the connection")
}
