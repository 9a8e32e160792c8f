//! What changes as a view runs: its state, how far it is in each partition, and when each of them
//! brought something.

use super::idle::{Activities, Position};
use super::state::State;
use super::worker::Progress;
use crate::error::SqlError;
use thalweg_node::Gates;

/// What changes as a view runs, under one lock: a checkpoint is a moment of all of it.
pub(super) struct Live {
    pub(super) state: State,
    pub(super) progress: Vec<Progress>,
    pub(super) activities: Activities,
    pub(super) misfits: u64,
    pub(super) done: bool,
    /// Taking in a batch failed halfway: what is here now must never be written down.
    pub(super) spoilt: bool,
    /// Where the late records are in the log that were set aside.
    pub(super) late_gates: Gates,
}

impl Live {
    /// Changes what is here; a change that fails, or panics, leaves it spoilt.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let spoilt_before = std::mem::replace(&mut self.spoilt, true);
        let outcome = change(self);
        self.spoilt = spoilt_before || outcome.is_err();
        outcome
    }

    /// Changes the state.
    pub(super) fn take<T>(
        &mut self,
        change: impl FnOnce(&mut State) -> datafusion::common::Result<T>,
    ) -> Result<T, SqlError> {
        self.change(|live| Ok(change(&mut live.state)?))
    }

    /// Lets the watermark follow the partitions: it is where the slowest is. What a partition lets
    /// pass by a mark counts as its own event time.
    pub(super) fn advance(&mut self, delay_us: Option<i64>) -> Result<(), SqlError> {
        let Some(delay_us) = delay_us else { return Ok(()) };
        // A partition that may still bring its first record holds everything.
        let slowest = self.progress.iter().map(|progress| progress.max_us).min().flatten();
        let Some(slowest) = slowest else { return Ok(()) };
        self.take(|state| state.advance(slowest.saturating_sub(delay_us)))
    }

    /// How far the partitions are.
    pub(super) fn positions(&self) -> Vec<Position> {
        let position = |progress: &Progress| Position {
            arrived_ms: progress.after().ms,
            event_us: progress.max_us,
        };
        self.progress.iter().map(position).collect()
    }
}
