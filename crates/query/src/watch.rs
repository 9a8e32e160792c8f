//! The last line against statements that take too much memory: whatever operators account for, the process itself is
//! looked at every 20 ms, and before it has no more memory, statements that run are cancelled, the newest first.

use crate::error::{SqlError, SqlState};
use crate::pg::Cancel;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the process is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// Of what the process may have, statements get no more than this part, in hundredths.
const SHARE_HUNDREDTHS: u64 = 85;
/// The same of the addresses that it may have.
const ADDRESSES_HUNDREDTHS: u64 = 45;

/// The process has hardly any memory left.
static MEMORY_IS_SHORT: AtomicBool = AtomicBool::new(false);

/// Whether the process has hardly any memory left: what is large is not begun then.
pub(crate) fn is_memory_short() -> bool {
    MEMORY_IS_SHORT.load(Ordering::Relaxed)
}

/// Connections whose statements may be cancelled.
#[derive(Debug, Default)]
pub(crate) struct MemoryWatch {
    running: Mutex<Vec<Weak<Cancel>>>,
    cancelled: AtomicU64,
}

/// A connection that is watched as long as this is kept.
#[derive(Debug)]
pub(crate) struct Registered {
    watch: Weak<MemoryWatch>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.upgrade() {
            watch.running.lock().retain(|cancel| cancel.strong_count() > 0);
        }
    }
}

/// What the process may have in memory.
#[derive(Clone, Copy, Debug)]
struct Limits {
    resident_bytes: u64,
}

fn first_number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

impl Limits {
    fn of_process() -> Self {
        let physical_kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let group = group.iter().find_map(|path| first_number(path));
        let physical = physical_kib.map_or(u64::MAX, |kib| kib << 10);
        let resident = physical.min(group.unwrap_or(u64::MAX));
        let virtual_limit = std::fs::read_to_string("/proc/self/limits").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("Max address space"))?.to_owned();
            line.split_whitespace().nth(3)?.parse::<u64>().ok()
        });
        // Addresses are taken in advance, and not given back: of them a smaller part can be in use.
        let of_addresses =
            virtual_limit.map_or(u64::MAX, |bytes| bytes / 100 * ADDRESSES_HUNDREDTHS);
        Self { resident_bytes: (resident / 100 * SHARE_HUNDREDTHS).min(of_addresses) }
    }

    fn are_passed(self, resident_bytes: u64) -> bool {
        resident_bytes > self.resident_bytes
    }
}

/// What the process has.
fn usage() -> Option<u64> {
    const PAGE_BYTES: u64 = 4_096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    Some(numbers.nth(1)?.ok()? * PAGE_BYTES)
}

impl MemoryWatch {
    /// Begins to watch.
    pub(crate) fn start() -> Arc<Self> {
        let watch = Arc::new(Self::default());
        let watched = Arc::downgrade(&watch);
        let limits = Limits::of_process();
        let run = move || {
            while let Some(watch) = watched.upgrade() {
                let is_short =
                    usage().is_some_and(|resident_bytes| limits.are_passed(resident_bytes));
                MEMORY_IS_SHORT.store(is_short, Ordering::Relaxed);
                if is_short {
                    watch.cancel_newest();
                }
                drop(watch);
                std::thread::sleep(INTERVAL);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("thalweg-memory".to_owned()).spawn(run)
        {
            tracing::warn!(%error, "the process' memory is not watched");
        }
        watch
    }

    /// Watches a connection.
    pub(crate) fn register(self: &Arc<Self>, cancel: Arc<Cancel>) -> Registered {
        self.running.lock().push(Arc::downgrade(&cancel));
        Registered { watch: Arc::downgrade(self) }
    }

    fn cancel_newest(&self) {
        let running: Vec<Arc<Cancel>> =
            self.running.lock().iter().filter_map(Weak::upgrade).collect();
        let newest = running
            .iter()
            .filter_map(|cancel| Some((cancel.running_since()?, cancel)))
            .max_by_key(|(since, _)| *since);
        if let Some((_, cancel)) = newest {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
            let message = "the statement was cancelled: the node has hardly any memory left";
            cancel.cancel(SqlError::new(SqlState::OutOfMemory, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_statement_that_runs_is_cancelled() {
        let watch = Arc::new(MemoryWatch::default());
        let cancels: Vec<Arc<Cancel>> = (0..3).map(|_| Arc::new(Cancel::default())).collect();
        let _registered: Vec<Registered> =
            cancels.iter().map(|cancel| watch.register(cancel.clone())).collect();
        for cancel in cancels.iter().take(2) {
            cancel.begin();
            std::thread::sleep(Duration::from_millis(2));
        }
        watch.cancel_newest();
        assert_eq!(
            cancels.iter().map(|cancel| cancel.is_cancelled()).collect::<Vec<_>>(),
            [false, true, false]
        );
        watch.cancel_newest();
        assert!(cancels[0].is_cancelled(), "one that is cancelled is not cancelled again");
    }

    #[test]
    fn limits_are_read() {
        let limits = Limits { resident_bytes: 10 };
        assert!(limits.are_passed(11) && !limits.are_passed(10));
        assert!(usage().is_some_and(|resident_bytes| resident_bytes > 0));
    }
}
