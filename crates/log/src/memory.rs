//! A log in memory: for tests, and for nodes that are told to keep nothing.

use crate::{Batch, Log, LogError, LogReport, Lsn};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// A log in memory. It forgets its oldest batches beyond a limit, and everything with the process.
pub struct MemoryLog {
    inner: Mutex<Inner>,
    retain_max_bytes: usize,
}

#[derive(Default)]
struct Inner {
    batches: VecDeque<Kept>,
    kept_bytes: usize,
    report: LogReport,
}

struct Kept {
    /// The batch without its payload.
    head: Batch<'static>,
    payload: Box<[u8]>,
}

impl MemoryLog {
    /// A log that keeps at most `retain_max_bytes` of payload. With 0 it keeps nothing and costs
    /// nothing.
    pub fn new(retain_max_bytes: usize) -> Self {
        Self { inner: Mutex::default(), retain_max_bytes }
    }
}

impl Log for MemoryLog {
    fn append(&self, batches: &[Batch<'_>]) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        for batch in batches {
            inner.report.appended_batches += 1;
            inner.report.appended_bytes += batch.payload.len() as u64;
            inner.report.stored_bytes += batch.payload.len() as u64;
            if self.retain_max_bytes == 0 {
                continue;
            }
            inner.kept_bytes += batch.payload.len();
            let head = Batch {
                payload: &[],
                partition: batch.partition,
                first_lsn: batch.first_lsn,
                last_lsn: batch.last_lsn,
                time_ms: batch.time_ms,
                epoch: batch.epoch,
                count: batch.count,
            };
            inner.batches.push_back(Kept { head, payload: batch.payload.into() });
        }
        while inner.kept_bytes > self.retain_max_bytes {
            let Some(oldest) = inner.batches.pop_front() else { break };
            inner.kept_bytes -= oldest.payload.len();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        self.inner.lock().report.syncs += 1;
        Ok(())
    }

    fn replay(
        &self,
        visit: &mut dyn FnMut(&Batch<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        for kept in &self.inner.lock().batches {
            visit(&Batch { payload: &kept.payload, ..kept.head.clone() })?;
        }
        Ok(())
    }

    fn trim(&self, lsn: Lsn) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        while inner.batches.front().is_some_and(|oldest| oldest.head.last_lsn < lsn) {
            let Some(oldest) = inner.batches.pop_front() else { break };
            inner.kept_bytes -= oldest.payload.len();
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
