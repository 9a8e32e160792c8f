//! Power cuts and failed fsyncs: what was acknowledged is there afterwards, and nothing is in a
//! wrong place.

use crate::support::{fill, open, payload, read_back};
use thalweg_base::fs::{Fault, SimulatedFs};
use thalweg_log::{Log, LogError, battery};

#[test]
fn a_power_cut_at_every_write() {
    let whole = {
        let fs = SimulatedFs::new(0);
        let log = open(&fs).expect("open");
        fill(&log, 1, 150);
        log.trim(log.position_of(100)).expect("trim");
        drop(log);
        fs.changes()
    };
    assert!(whole > 100, "{whole}");
    for cut_after in 0..whole {
        for seed in [1, 2, 3] {
            let fs = SimulatedFs::new(seed * 1_000 + cut_after);
            fs.fail(Fault::PowerCutAfter(cut_after));
            let acknowledged = open(&fs).map_or(0, |log| fill(&log, 1, 150));
            fs.power_cut();
            let log = match open(&fs) {
                Ok(log) => log,
                Err(error) => panic!("seed {seed}, cut after {cut_after}: {error}"),
            };
            let found = read_back(&log);
            assert!(found >= acknowledged, "cut after {cut_after}: {found} < {acknowledged}");
            // It goes on from there, and survives a second cut.
            let last = fill(&log, found + 1, found + 10);
            std::mem::forget(log);
            fs.power_cut();
            assert_eq!(read_back(&open(&fs).expect("opens again")), last);
        }
    }
}

#[test]
fn after_a_failed_fsync_nothing_is_acknowledged_and_nothing_is_lost() {
    for fail_after in 0..60 {
        let fs = SimulatedFs::new(fail_after);
        fs.fail(Fault::SyncErrorAfter(fail_after));
        let Ok(log) = open(&fs) else { continue };
        let acknowledged = fill(&log, 1, 100);
        if acknowledged == 100 {
            continue;
        }
        // The fault is over, but the log must not trust its file again.
        assert!(matches!(log.append(&[battery::sample(2, b"x")]), Err(LogError::Poisoned)));
        assert!(matches!(log.sync(), Err(LogError::Poisoned)));
        drop(log);
        fs.power_cut();
        let found = read_back(&open(&fs).expect("opens again"));
        assert!(found >= acknowledged, "{found} < {acknowledged}");
    }
}

/// A killed process leaves what the system has and the disk may not. Whoever reads that tells
/// others, so it must not go in a power cut later.
#[test]
fn what_was_read_after_a_kill_survives_a_power_cut() {
    for seed in 0..20 {
        let fs = SimulatedFs::new(seed);
        let log = open(&fs).expect("open");
        let last = fill(&log, 1, 9);
        let bytes = [10, 11].map(payload);
        let batches = [(20, &bytes[0]), (22, &bytes[1])].map(|(lsn, b)| battery::sample(lsn, b));
        log.append(&batches).expect("append");
        // Neither synced nor closed.
        std::mem::forget(log);
        let log = open(&fs).expect("opens again");
        assert_eq!(read_back(&log), last + 2);
        std::mem::forget(log);
        fs.power_cut();
        assert_eq!(read_back(&open(&fs).expect("opens a third time")), last + 2, "seed {seed}");
    }
}
