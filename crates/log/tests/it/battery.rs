//! Every log passes the battery.

use crate::support;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg_base::fs::{RealFs, SimulatedFs};
use thalweg_log::{LocalLog, LocalLogSettings, Log, MemoryLog, battery};

#[test]
fn memory_log() {
    battery::run(&|| Arc::new(MemoryLog::new(usize::MAX)), &|log| log);
}

#[test]
fn local_log_on_a_real_disk() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let counter = AtomicU64::new(0);
    let settings = |number: u64| LocalLogSettings {
        directory: folder.path().join(number.to_string()),
        segment_bytes: 8 << 10,
        compress_min_bytes: 1 << 10,
    };
    let create = || -> Arc<dyn Log> {
        let number = counter.fetch_add(1, Ordering::SeqCst);
        Arc::new(LocalLog::open(Arc::new(RealFs), settings(number)).expect("open"))
    };
    let reopen = |log: Arc<dyn Log>| -> Arc<dyn Log> {
        drop(log);
        let number = counter.load(Ordering::SeqCst) - 1;
        Arc::new(LocalLog::open(Arc::new(RealFs), settings(number)).expect("reopen"))
    };
    battery::run(&create, &reopen);
}

#[test]
fn local_log_on_a_simulated_disk() {
    let disk = std::sync::Mutex::new(SimulatedFs::new(1));
    let create = || -> Arc<dyn Log> {
        let fresh = SimulatedFs::new(2);
        *disk.lock().expect("lock") = fresh.clone();
        Arc::new(support::open(&fresh).expect("open"))
    };
    let reopen = |log: Arc<dyn Log>| -> Arc<dyn Log> {
        drop(log);
        Arc::new(support::open(&disk.lock().expect("lock")).expect("reopen"))
    };
    battery::run(&create, &reopen);
}

#[test]
fn compression_shows_in_the_report() {
    let log = support::open(&SimulatedFs::new(3)).expect("open");
    let payload = vec![b'a'; 4_000];
    log.append(&[battery::sample(1, &payload)]).expect("append");
    assert!(log.report().compression_ratio() > 10.0);
}
