//! A log in memory: for tests, and for nodes that are told to keep nothing.

use crate::{Batch, Log, LogError, LogReport, Lsn, Origin, Position, Visit};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// A log in memory. It forgets its oldest batches beyond a limit, and everything with the process;
/// until then what is appended is there. Positions count batches.
pub struct MemoryLog {
    inner: Mutex<Inner>,
    retain_max_bytes: usize,
}

#[derive(Default)]
struct Inner {
    batches: VecDeque<Kept>,
    /// Batches that were forgotten.
    forgotten: u64,
    kept_bytes: usize,
    newest: Origin,
    report: LogReport,
}

#[derive(Clone)]
struct Kept {
    /// The batch without its payload.
    head: Batch<'static>,
    payload: std::sync::Arc<[u8]>,
}

impl Inner {
    fn end(&self) -> Position {
        position(self.forgotten + self.batches.len() as u64)
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.batches.pop_front() {
            self.kept_bytes -= oldest.payload.len();
            self.forgotten += 1;
        }
    }
}

fn position(at: u64) -> Position {
    Position { at, chain: 0 }
}

impl MemoryLog {
    /// A log that keeps at most `retain_max_bytes` of payload. With 0 it keeps nothing and costs
    /// nothing.
    pub fn new(retain_max_bytes: usize) -> Self {
        Self { inner: Mutex::default(), retain_max_bytes }
    }
}

impl Log for MemoryLog {
    fn append(&self, batches: &[Batch<'_>]) -> Result<Position, LogError> {
        let mut inner = self.inner.lock();
        inner.newest = inner.newest.admit(batches)?;
        for batch in batches {
            inner.report.appended_batches += 1;
            inner.report.appended_bytes += batch.payload.len() as u64;
            inner.report.stored_bytes += batch.payload.len() as u64;
            if self.retain_max_bytes == 0 {
                inner.forgotten += 1;
                continue;
            }
            inner.kept_bytes += batch.payload.len();
            let Batch { partition, first_lsn, last_lsn, time_ms, origin, count, payload } = *batch;
            let head =
                Batch { partition, first_lsn, last_lsn, time_ms, origin, count, payload: &[] };
            inner.batches.push_back(Kept { head, payload: payload.into() });
        }
        while inner.kept_bytes > self.retain_max_bytes {
            inner.forget_oldest();
        }
        Ok(inner.end())
    }

    fn sync(&self) -> Result<Position, LogError> {
        let mut inner = self.inner.lock();
        inner.report.syncs += 1;
        Ok(inner.end())
    }

    fn oldest(&self) -> Position {
        position(self.inner.lock().forgotten)
    }

    fn follow(&self, from: Position, visit: &mut Visit<'_>) -> Result<Position, LogError> {
        let (kept, end) = {
            let inner = self.inner.lock();
            let (oldest, newest) = (inner.forgotten, inner.end().at);
            if !(oldest..=newest).contains(&from.at) {
                return Err(LogError::NotHeld { position: from.at, oldest, newest });
            }
            let skipped = (from.at - oldest) as usize;
            (inner.batches.iter().skip(skipped).cloned().collect::<Vec<_>>(), inner.end())
        };
        for (kept, at) in kept.iter().zip(from.at + 1..) {
            visit(position(at), &Batch { payload: &kept.payload, ..kept.head.clone() })?;
        }
        Ok(end)
    }

    fn position_of(&self, lsn: Lsn) -> Position {
        let inner = self.inner.lock();
        let below = inner.batches.iter().take_while(|kept| kept.head.last_lsn < lsn).count();
        position(inner.forgotten + below as u64)
    }

    fn trim(&self, below: Position) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        while inner.forgotten < below.at && !inner.batches.is_empty() {
            inner.forget_oldest();
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        true
    }

    fn report(&self) -> LogReport {
        let inner = self.inner.lock();
        LogReport { size_bytes: inner.kept_bytes as u64, ..inner.report }
    }
}
