//! The driver: runs a request, waits for what it waits for, runs it again. It has one loop, which
//! is a future, and a face that blocks a thread instead. Then the outcome passes the gate.

use super::signal::block_on;
use super::{DoorPart, Executed, Provided, Signal, Wait};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::gate::Gates;
use crate::session::Session;
use thalweg_machine::{Reply, ReplyBuilder};

impl Engine {
    /// Runs a request until it is carried out; gives its outcome, and the gates that must be passed
    /// before anybody is told.
    async fn drive<T>(
        &self,
        mut work: impl FnMut(&Self) -> Executed<T>,
    ) -> Result<(T, Gates), EngineError> {
        loop {
            match work(self) {
                Executed::Done(outcome, gates) => return Ok((outcome, gates)),
                Executed::Suspended(wait) => self.provided(&wait).await?,
            }
        }
    }

    async fn provided(&self, wait: &Wait) -> Result<(), EngineError> {
        let signal = Signal::new();
        match self.provide(wait, signal.wake()) {
            Provided::Already => {}
            Provided::Later => signal.given().await,
            // How long it may take, and when to give up, only a connection knows.
            Provided::Listening(waiter) => {
                if let Wait::Change(change) = wait {
                    self.remove_waiter(waiter, &change.keys);
                }
                return Err(EngineError::NeedsConnection);
            }
        }
        Ok(())
    }

    /// Waits until a reply that waits for these may leave.
    pub async fn settled(&self, gates: &Gates) -> Result<(), EngineError> {
        let lanes = &self.inner.lanes;
        lanes.flush();
        for gate in gates.iter() {
            lanes.at(usize::from(gate.lane())).settled(gate.lsn()).await?;
        }
        Ok(())
    }

    /// Accesses a key, getting first what that takes, and waits until nobody can take back what was
    /// seen or done.
    pub async fn enter<T>(&self, work: impl FnMut(&Self) -> Executed<T>) -> Result<T, EngineError> {
        let (outcome, gates) = self.drive(work).await?;
        self.settled(&gates).await?;
        Ok(outcome)
    }

    /// Like [`Engine::enter`]; blocks the thread.
    pub fn enter_blocking<T>(
        &self,
        work: impl FnMut(&Self) -> Executed<T>,
    ) -> Result<T, EngineError> {
        let (outcome, gates) = self.enter_ungated(work)?;
        self.wait_settled(&gates)?;
        Ok(outcome)
    }

    /// The same for whoever waits at the gate by himself: gives the gates that must be passed
    /// before anybody is told.
    pub fn enter_ungated<T>(
        &self,
        work: impl FnMut(&Self) -> Executed<T>,
    ) -> Result<(T, Gates), EngineError> {
        block_on(self.drive(work))
    }

    /// Runs one command within a session, waits until its outcome is as durable as the settings
    /// ask, and gives its reply. A command that would block answers with nothing.
    pub async fn call_async(
        &self,
        session: &mut Session,
        args: &[&[u8]],
    ) -> Result<Reply, EngineError> {
        self.enter(|engine| engine.call_once(session, args)).await?
    }

    /// Runs one command, waits until its outcome is as durable as the settings ask, and gives its
    /// reply. For embedded use; blocks the thread.
    pub fn call(&self, args: &[&[u8]]) -> Result<Reply, EngineError> {
        self.call_in(&mut Session::default(), args)
    }

    /// Like [`Engine::call`], within a session, for transactions.
    pub fn call_in(&self, session: &mut Session, args: &[&[u8]]) -> Result<Reply, EngineError> {
        self.enter_blocking(|engine| engine.call_once(session, args))?
    }

    /// Runs one command and gives its reply with the gates that must be passed before anybody is
    /// told.
    pub fn run_in(
        &self,
        session: &mut Session,
        args: &[&[u8]],
    ) -> Result<(Reply, Gates), EngineError> {
        let (reply, gates) = self.enter_ungated(|engine| engine.call_once(session, args))?;
        Ok((reply?, gates))
    }

    /// Runs a command for a caller that has no connection.
    fn call_once(
        &self,
        session: &mut Session,
        args: &[&[u8]],
    ) -> Executed<Result<Reply, EngineError>> {
        let mut reply = ReplyBuilder::default();
        match self.execute(session, args, self.now_ms(), &mut reply) {
            Executed::Done(DoorPart::Whole { .. }, _) => {
                Executed::Done(Err(EngineError::NeedsConnection), Gates::NONE)
            }
            Executed::Done(_, gates) => Executed::Done(Ok(reply.finish()), gates),
            // It is as if the time were over.
            Executed::Suspended(Wait::Change(_)) => Executed::Done(Ok(Reply::Null), Gates::NONE),
            Executed::Suspended(wait) => Executed::Suspended(wait),
        }
    }
}
