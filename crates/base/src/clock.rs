//! Time as a value that can be replaced. Only this file asks the operating system what time it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time in milliseconds since 1970. It may jump.
    fn now_ms(&self) -> u64;
    /// Microseconds since some fixed moment. It never goes back.
    fn monotonic_us(&self) -> u64;
}

/// The operating system's clocks.
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

/// A clock that stands still until a test moves it.
pub struct SimulatedClock {
    now_us: AtomicU64,
}

impl SimulatedClock {
    /// A clock that shows `now_ms`.
    pub fn at_ms(now_ms: u64) -> Self {
        Self { now_us: AtomicU64::new(now_ms * 1_000) }
    }

    /// Moves the clock forward.
    pub fn advance_ms(&self, by_ms: u64) {
        self.now_us.fetch_add(by_ms * 1_000, Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> u64 {
        self.now_us.load(Ordering::SeqCst) / 1_000
    }

    fn monotonic_us(&self) -> u64 {
        self.now_us.load(Ordering::SeqCst)
    }
}
