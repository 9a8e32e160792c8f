//! The gate: who waits until an LSN of a lane is settled, and how they are told.

use super::Lane;
use crate::engine::Listener;
use crate::error::EngineError;
use crate::metrics::{Health, Role};
use crate::request::{Signal, Wake};
use crate::settings::Durability;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thalweg_machine::Lsn;

/// Who waits at a lane's gate.
#[derive(Default)]
pub(super) struct Waiting {
    listeners: Mutex<Vec<Arc<Listener>>>,
    /// Tasks, each with its LSN.
    tasks: Mutex<Vec<(Lsn, Wake)>>,
    changed: (Mutex<()>, Condvar),
}

impl Lane {
    /// Whether a reply that depends on an LSN may leave.
    #[inline]
    pub(crate) fn is_settled(&self, lsn: Lsn) -> bool {
        self.durability == Durability::None || lsn <= self.settled_lsn()
    }

    /// Why a reply that waits here will never leave, if it will not.
    pub(crate) fn lost(&self) -> Option<EngineError> {
        match (self.role(), self.health()) {
            (Role::Deposed, _) => Some(EngineError::Deposed { lane: self.number }),
            (_, Health::Failed) => Some(EngineError::Failed),
            _ => None,
        }
    }

    /// Whether a reply that depends on an LSN may leave, or never will; `None` where it must wait.
    pub(crate) fn passed(&self, lsn: Lsn) -> Option<Result<(), EngineError>> {
        if self.is_settled(lsn) {
            Some(Ok(()))
        } else if let Some(error) = self.lost() {
            Some(Err(error))
        } else if self.stopping.load(Ordering::Acquire) {
            Some(Err(EngineError::ShuttingDown))
        } else {
            None
        }
    }

    pub(crate) fn add_listener(&self, listener: Arc<Listener>) {
        self.waiting.listeners.lock().push(listener);
    }

    pub(crate) fn remove_listener(&self, listener: &Arc<Listener>) {
        self.waiting.listeners.lock().retain(|other| !Arc::ptr_eq(other, listener));
    }

    /// Waits until a reply that depends on an LSN may leave.
    pub(crate) async fn settled(&self, lsn: Lsn) -> Result<(), EngineError> {
        loop {
            if let Some(outcome) = self.passed(lsn) {
                return outcome;
            }
            let signal = Signal::new();
            // Registered first, looked at second: a commit in between wakes us.
            self.waiting.tasks.lock().push((lsn, signal.wake()));
            if let Some(outcome) = self.passed(lsn) {
                return outcome;
            }
            signal.given().await;
        }
    }

    /// The same; blocks the thread.
    pub(crate) fn wait_settled(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.flush();
        let (mutex, changed) = &self.waiting.changed;
        let mut guard = mutex.lock();
        loop {
            match self.passed(lsn) {
                Some(outcome) => return outcome,
                None => changed.wait_for(&mut guard, Duration::from_millis(50)),
            };
        }
    }

    /// Waits until everything up to an LSN is in the log for good, whatever the durability.
    pub(crate) fn wait_logged(&self, lsn: Lsn) -> Result<(), EngineError> {
        let (mutex, changed) = &self.waiting.changed;
        let mut guard = mutex.lock();
        while lsn > self.settled_lsn() {
            if let Some(error) = self.lost() {
                return Err(error);
            }
            if self.stopping.load(Ordering::Acquire) {
                return Err(EngineError::ShuttingDown);
            }
            self.wake();
            changed.wait_for(&mut guard, Duration::from_millis(5));
        }
        drop(guard);
        if self.durability != Durability::Sync && self.role() != Role::Standby {
            self.log.sync()?;
        }
        Ok(())
    }

    /// What is settled has moved, or never will again.
    pub(super) fn tell_everybody(&self) {
        {
            let _waiters_see_it = self.waiting.changed.0.lock();
            self.waiting.changed.1.notify_all();
        }
        for listener in &*self.waiting.listeners.lock() {
            listener.tell();
        }
        let passed = |waiting: &mut (Lsn, Wake)| self.passed(waiting.0).is_some();
        let woken: Vec<_> = self.waiting.tasks.lock().extract_if(.., passed).collect();
        for (_, wake) in woken {
            wake();
        }
    }
}
