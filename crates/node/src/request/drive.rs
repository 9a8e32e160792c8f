//! The driver: runs a request, waits for what it waits for, runs it again. It has one loop, which
//! is a future, and a face that blocks a thread instead. Then the outcome passes the gate.

use super::signal::block_on;
use super::{DoorPart, Executed, Provided, Signal, Wait};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::session::Session;
use thalweg_machine::{Lsn, Reply, ReplyBuilder};

impl Engine {
    /// Runs a request until it is carried out; gives its outcome, and the LSN that must be settled
    /// before anybody is told.
    async fn drive<T>(
        &self,
        mut work: impl FnMut(&Self) -> Executed<T>,
    ) -> Result<(T, Lsn), EngineError> {
        loop {
            match work(self) {
                Executed::Done(outcome, gate) => return Ok((outcome, gate)),
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

    /// Waits until an LSN is settled.
    pub async fn settled(&self, lsn: Lsn) -> Result<(), EngineError> {
        let lane = &self.inner.lane;
        lane.flush();
        loop {
            if let Some(outcome) = lane.passed(lsn) {
                return outcome;
            }
            let signal = Signal::new();
            // Registered first, looked at second: a commit in between wakes us.
            lane.add_settling(lsn, signal.wake());
            if let Some(outcome) = lane.passed(lsn) {
                return outcome;
            }
            signal.given().await;
        }
    }

    /// Accesses a key, getting first what that takes, and waits until nobody can take back what was
    /// seen or done.
    pub async fn enter<T>(&self, work: impl FnMut(&Self) -> Executed<T>) -> Result<T, EngineError> {
        let (outcome, gate) = self.drive(work).await?;
        self.settled(gate).await?;
        Ok(outcome)
    }

    /// Like [`Engine::enter`]; blocks the thread.
    pub fn enter_blocking<T>(
        &self,
        work: impl FnMut(&Self) -> Executed<T>,
    ) -> Result<T, EngineError> {
        let (outcome, gate) = self.enter_ungated(work)?;
        self.wait_settled(gate)?;
        Ok(outcome)
    }

    /// The same for whoever waits at the gate by himself: gives the LSN that must be settled before
    /// anybody is told.
    pub fn enter_ungated<T>(
        &self,
        work: impl FnMut(&Self) -> Executed<T>,
    ) -> Result<(T, Lsn), EngineError> {
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

    /// Runs one command and gives its reply with the LSN that must be settled before anybody is
    /// told.
    pub fn run_in(
        &self,
        session: &mut Session,
        args: &[&[u8]],
    ) -> Result<(Reply, Lsn), EngineError> {
        let (reply, gate) = self.enter_ungated(|engine| engine.call_once(session, args))?;
        Ok((reply?, gate))
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
                Executed::Done(Err(EngineError::NeedsConnection), 0)
            }
            Executed::Done(_, gate) => Executed::Done(Ok(reply.finish()), gate),
            // It is as if the time were over.
            Executed::Suspended(Wait::Change(_)) => Executed::Done(Ok(Reply::Null), 0),
            Executed::Suspended(wait) => Executed::Suspended(wait),
        }
    }
}
