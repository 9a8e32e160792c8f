//! The last line of defence against statements that take too much memory. Whatever operators
//! account for, this looks every 20 ms at what the process has. When the process has more than its
//! settings allow, or hardly any memory is left, free memory goes back to the system. When that
//! does not help, running statements are cancelled, the newest first.

use crate::error::{SqlError, SqlState};
use crate::sql::cancel::Cancel;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use thalweg_base::memory;

/// How often the process is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// How often free memory is given back, and how often it is asked what the keys take.
const GIVE_BACK_INTERVAL: Duration = Duration::from_millis(200);
/// What a node takes besides its keys, its statements and its views: code, buffers, caches, what
/// the allocator holds.
const BASE_BYTES: u64 = 1 << 30;
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
    /// In any case.
    resident_bytes: u64,
    /// Besides its keys.
    statements_bytes: u64,
}

/// What is watched, and what helps.
pub(crate) struct Watched {
    /// What the settings allow to statements and views together.
    pub(crate) memory_max_bytes: u64,
    /// What keys and streams take now.
    pub(crate) keys_bytes: Box<dyn Fn() -> u64 + Send>,
    /// Gives memory that nobody uses back to the system.
    pub(crate) give_memory_back: fn(),
    /// Wakes a thread that runs statements.
    pub(crate) wake: Box<dyn Fn() + Send>,
}

impl Limits {
    fn of_process(memory_max_bytes: u64) -> Self {
        let resident = memory::machine_bytes().unwrap_or(u64::MAX);
        // Addresses are taken in advance, and not given back: of them a smaller part can be in use.
        let of_addresses = memory::address_space_bytes()
            .map_or(u64::MAX, |bytes| bytes / 100 * ADDRESSES_HUNDREDTHS);
        Self {
            resident_bytes: (resident / 100 * SHARE_HUNDREDTHS).min(of_addresses),
            statements_bytes: memory_max_bytes + BASE_BYTES,
        }
    }

    /// Keys may take a quarter more than they are accounted for.
    fn are_passed(self, resident_bytes: u64, keys_bytes: u64) -> bool {
        let allowed = keys_bytes.saturating_add(keys_bytes / 4 + self.statements_bytes);
        resident_bytes > self.resident_bytes.min(allowed)
    }
}

/// One look after the other.
struct Look {
    limits: Limits,
    watched: Watched,
    keys_bytes: u64,
    given_back: Instant,
}

impl Look {
    /// Whether the process has too much, though it has given back what it could.
    fn is_memory_short(&mut self) -> bool {
        let passed = |look: &Self| {
            usage().is_some_and(|resident| look.limits.are_passed(resident, look.keys_bytes))
        };
        if !passed(self) {
            return false;
        }
        if self.given_back.elapsed() > GIVE_BACK_INTERVAL {
            self.given_back = Instant::now();
            self.keys_bytes = (self.watched.keys_bytes)();
            (self.watched.give_memory_back)();
        }
        passed(self)
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
    pub(crate) fn start(self: &Arc<Self>, watched: Watched) {
        let itself = Arc::downgrade(self);
        let limits = Limits::of_process(watched.memory_max_bytes);
        let mut look = Look { limits, watched, keys_bytes: 0, given_back: Instant::now() };
        let run = move || {
            while let Some(watch) = itself.upgrade() {
                if watch.look_at_statements() {
                    (look.watched.wake)();
                }
                let is_short = look.is_memory_short();
                MEMORY_IS_SHORT.store(is_short, Ordering::Relaxed);
                if is_short {
                    watch.cancel_newest();
                }
                drop(watch);
                std::thread::sleep(INTERVAL);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("thalweg-watch".to_owned()).spawn(run)
        {
            tracing::warn!(%error, "the memory of the process cannot be watched");
        }
    }

    /// Watches a connection.
    pub(crate) fn register(self: &Arc<Self>, cancel: Arc<Cancel>) -> Registered {
        self.running.lock().push(Arc::downgrade(&cancel));
        Registered { watch: Arc::downgrade(self) }
    }

    fn running(&self) -> Vec<Arc<Cancel>> {
        self.running.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Stops statements that are late, or whose clients have gone. Says whether there are any that
    /// go on for long: a thread that computes for one of them may be the one that others rely on
    /// for news of their sockets and timers, and one that sleeps does not take that over before it
    /// is woken.
    fn look_at_statements(&self) -> bool {
        let long = |cancel: &Arc<Cancel>| {
            cancel.running_since().is_some_and(|since| since.elapsed() > INTERVAL)
        };
        let running = self.running();
        let mut running = running.into_iter().filter(long).peekable();
        let are_any = running.peek().is_some();
        running.for_each(|cancel| cancel.look());
        are_any
    }

    fn cancel_newest(&self) {
        let running = self.running();
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
            cancel.begin(0);
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
        let limits = Limits { resident_bytes: 100, statements_bytes: 10 };
        assert!(limits.are_passed(11, 0) && !limits.are_passed(10, 0));
        assert!(limits.are_passed(61, 40) && !limits.are_passed(60, 40));
        assert!(limits.are_passed(101, 1_000) && !limits.are_passed(100, 1_000));
        assert!(usage().is_some_and(|resident_bytes| resident_bytes > 0));
    }
}
