//! Traffic figures: counted by each event loop for itself, added up when somebody looks.

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longer latencies count as this long.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Figures of one event loop.
pub(crate) struct LoopStats {
    pub(crate) commands: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    latency_us: Mutex<Histogram<u64>>,
}

impl LoopStats {
    /// `count` requests were answered this long after they were read.
    pub(crate) fn record(&self, latency_us: u64, count: u64) {
        self.latency_us.lock().saturating_record_n(latency_us.max(1), count);
    }
}

/// Traffic figures of all doors.
#[derive(Default)]
pub struct TrafficStats {
    loops: Mutex<Vec<Arc<LoopStats>>>,
    /// HTTP requests.
    pub http_requests: AtomicU64,
    /// Bytes that were no protocol, and clients cut for a limit.
    pub protocol_errors: AtomicU64,
}

/// Traffic figures at one moment. Latencies are in microseconds, since the start or since the last
/// reset.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// RESP commands.
    pub commands: u64,
    /// Bytes received by the RESP door.
    pub received_bytes: u64,
    /// Bytes sent by the RESP door.
    pub sent_bytes: u64,
    /// From reading a request to handing its reply to the operating system.
    pub latency_us: Histogram<u64>,
}

fn new_histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, LATENCY_MAX_US, 3) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants, and valid"),
    }
}

impl TrafficStats {
    pub(crate) fn add_loop(&self) -> Arc<LoopStats> {
        let stats = Arc::new(LoopStats {
            commands: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            latency_us: Mutex::new(new_histogram()),
        });
        self.loops.lock().push(stats.clone());
        stats
    }

    /// All figures, added up.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot =
            Snapshot { commands: 0, received_bytes: 0, sent_bytes: 0, latency_us: new_histogram() };
        for stats in &*self.loops.lock() {
            snapshot.commands += stats.commands.load(Ordering::Relaxed);
            snapshot.received_bytes += stats.received_bytes.load(Ordering::Relaxed);
            snapshot.sent_bytes += stats.sent_bytes.load(Ordering::Relaxed);
            // All have the same bounds, so adding cannot fail.
            let _same_bounds = snapshot.latency_us.add(&*stats.latency_us.lock());
        }
        snapshot
    }

    /// Forgets latencies.
    pub fn reset_latencies(&self) {
        for stats in &*self.loops.lock() {
            stats.latency_us.lock().reset();
        }
    }
}
