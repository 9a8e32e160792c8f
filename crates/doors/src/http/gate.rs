//! Runs requests for the HTTP door without holding a thread: waits for keys from the store, for
//! memory, and for the gate.

use std::sync::Arc;
use std::time::Duration;
use thalweg_machine::Reply;
use thalweg_node::{Engine, EngineError, Entered, Executed, Health, Listener, Session, Wanted};
use tokio::sync::{Notify, oneshot};

pub(crate) struct Gate {
    engine: Engine,
    listener: Arc<Listener>,
    moved: Arc<Notify>,
}

impl Gate {
    pub(crate) fn new(engine: &Engine) -> Arc<Self> {
        let moved = Arc::new(Notify::new());
        let teller = moved.clone();
        let listener = Listener::new(move || teller.notify_waiters());
        engine.add_listener(listener.clone());
        Arc::new(Self { engine: engine.clone(), listener, moved })
    }

    /// Waits until a reply that depends on an LSN may leave.
    pub(crate) async fn settled(&self, lsn: u64) -> Result<(), EngineError> {
        loop {
            let notified = self.moved.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            self.listener.arm();
            self.engine.flush();
            if self.engine.is_settled(lsn) {
                return Ok(());
            }
            if self.engine.health() == Health::Failed {
                return Err(EngineError::Failed);
            }
            // The listener wakes us; the time is for a node that fails while nobody commits.
            let _woken_or_not = tokio::time::timeout(Duration::from_millis(250), notified).await;
        }
    }

    /// Waits until a request can be run again.
    async fn provide(&self, wanted: &Wanted) {
        let (sender, receiver) = oneshot::channel();
        let waiting = self.engine.provide(wanted, move || {
            // The request may have been given up.
            let _nobody_waits = sender.send(());
        });
        if waiting {
            // An error means that the node is going down; the retry will say so.
            let _closed = receiver.await;
        }
    }

    /// Accesses one key, getting first what that takes, and waits for the gate.
    pub(crate) async fn enter<T>(
        &self,
        mut work: impl FnMut() -> Entered<T>,
    ) -> Result<T, EngineError> {
        loop {
            match work() {
                Entered::Done(outcome, gate) => {
                    self.settled(gate).await?;
                    return Ok(outcome);
                }
                Entered::Needs(wanted) => self.provide(&wanted).await,
            }
        }
    }

    /// Runs a command and waits for the gate; a command that would block answers with nothing.
    pub(crate) async fn call(
        &self,
        session: &mut Session,
        args: &[&[u8]],
    ) -> Result<Reply, EngineError> {
        loop {
            let mut reply = thalweg_machine::ReplyBuilder::default();
            let now_ms = self.engine.now_ms();
            let gate = match self.engine.execute(session, args, now_ms, &mut reply) {
                Executed::Done { gate } | Executed::Transaction { gate, .. } => gate,
                Executed::Blocked { .. } => return Ok(Reply::Null),
                Executed::Door { .. } => return Err(EngineError::NeedsConnection),
                Executed::Needs(wanted) => {
                    self.provide(&wanted).await;
                    continue;
                }
            };
            self.settled(gate).await?;
            return Ok(reply.finish());
        }
    }
}
