//! What changes as a view runs: its state, how far it is in each partition, and which of them its watermark waits for.

use super::state::State;
use super::worker::Progress;
use crate::error::SqlError;
use std::time::{Duration, Instant};
use thalweg_machine::Lsn;

/// A partition that brings nothing for this long does not hold the watermark back.
const IDLE: Duration = Duration::from_secs(5);

/// Whether a partition holds the watermark back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// There was nothing more to read.
    caught_up: bool,
    /// There was nothing more to read at some time since reading began.
    has_caught_up: bool,
    /// When it last brought anything, or reading began.
    active: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { caught_up: false, has_caught_up: false, active: Instant::now() }
    }

    /// There is nothing more to read.
    pub(super) fn note_end(&mut self) {
        self.caught_up = true;
        self.has_caught_up = true;
    }

    /// Records are under way: the watermark waits for them also if nothing came for long, so what is in time stays in time.
    pub(super) fn note_under_way(&mut self) {
        self.caught_up = false;
    }

    /// Records have been taken in.
    pub(super) fn note_taken(&mut self) {
        self.caught_up = false;
        self.active = Instant::now();
    }

    /// Whether history is behind it.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    fn is_idle(&self) -> bool {
        self.caught_up && self.active.elapsed() >= IDLE
    }
}

/// What changes as a view runs, under one lock: a checkpoint is a moment of all of it.
pub(super) struct Live {
    pub(super) state: State,
    pub(super) progress: Vec<Progress>,
    pub(super) clocks: Vec<Clock>,
    pub(super) misfits: u64,
    pub(super) done: bool,
    /// Taking in a batch failed halfway: what is here now must never be written down.
    pub(super) spoilt: bool,
    /// Where the late records are in the log that were set aside.
    pub(super) late_gate: Lsn,
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

    /// Lets the watermark follow the partitions.
    pub(super) fn advance(&mut self, delay_us: Option<i64>) -> Result<(), SqlError> {
        let Some(delay_us) = delay_us else { return Ok(()) };
        let times = self.progress.iter().map(|progress| progress.max_us);
        let busy: Vec<Option<i64>> = times
            .clone()
            .zip(&self.clocks)
            .filter(|(_, clock)| !clock.is_idle())
            .map(|(time, _)| time)
            .collect();
        let slowest = match busy.is_empty() {
            // Where all are idle, nobody holds anybody back.
            true => times.flatten().max(),
            // A partition that may still bring its first record holds everything.
            false => busy.into_iter().min().flatten(),
        };
        let Some(slowest) = slowest else { return Ok(()) };
        self.take(|state| state.advance(slowest.saturating_sub(delay_us)))
    }
}
