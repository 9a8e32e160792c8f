//! The tests that every [`Log`] must pass. They are the trait's specification.
//!
//! `reopen` closes a log cleanly and opens the same one again; for a log in memory it returns the
//! log unchanged.

use crate::{Batch, Log, MANY_PARTITIONS};
use std::sync::Arc;

/// Runs the whole battery, each test on a fresh log.
pub fn run(create: &dyn Fn() -> Arc<dyn Log>, reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>) {
    gives_back_what_was_appended_in_order(create(), reopen);
    an_empty_log_replays_nothing(create(), reopen);
    keeps_empty_and_large_payloads(create(), reopen);
    trims_only_below(create(), reopen);
    goes_on_after_reopening(create(), reopen);
    replay_stops_at_the_readers_error(create());
    counts_what_it_took(create());
}

/// A batch with recognisable fields.
pub fn sample(lsn: u64, payload: &[u8]) -> Batch<'_> {
    Batch {
        partition: if lsn.is_multiple_of(7) { MANY_PARTITIONS } else { (lsn % 5) as u16 },
        first_lsn: lsn,
        last_lsn: lsn + 1,
        time_ms: 1_700_000_000_000 + lsn,
        epoch: 3,
        count: 2,
        payload,
    }
}

/// All payloads and first LSNs in a log.
pub fn contents(log: &dyn Log) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    let outcome = log.replay(&mut |batch| {
        assert_eq!(*batch, sample(batch.first_lsn, batch.payload), "a field changed");
        found.push((batch.first_lsn, batch.payload.to_vec()));
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    found
}

fn fill(log: &dyn Log, lsns: std::ops::Range<u64>) -> Vec<(u64, Vec<u8>)> {
    let written: Vec<_> = lsns.map(|lsn| (lsn * 10, lsn.to_le_bytes().repeat(9))).collect();
    for group in written.chunks(3) {
        let batches: Vec<_> = group.iter().map(|(lsn, payload)| sample(*lsn, payload)).collect();
        assert!(log.append(&batches).is_ok());
        assert!(log.sync().is_ok());
    }
    written
}

fn gives_back_what_was_appended_in_order(
    log: Arc<dyn Log>,
    reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>,
) {
    let written = fill(log.as_ref(), 1..100);
    assert_eq!(contents(log.as_ref()), written);
    assert_eq!(contents(reopen(log).as_ref()), written);
}

fn an_empty_log_replays_nothing(log: Arc<dyn Log>, reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>) {
    assert!(contents(log.as_ref()).is_empty());
    assert!(contents(reopen(log).as_ref()).is_empty());
}

fn keeps_empty_and_large_payloads(
    log: Arc<dyn Log>,
    reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>,
) {
    let noise: Vec<u8> =
        (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let payloads = [vec![], vec![7u8; 1], vec![0u8; 200_000], noise];
    for (index, payload) in payloads.iter().enumerate() {
        assert!(log.append(&[sample(index as u64 * 10, payload)]).is_ok());
    }
    assert!(log.sync().is_ok());
    let found: Vec<_> =
        contents(reopen(log).as_ref()).into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(found, payloads);
}

fn trims_only_below(log: Arc<dyn Log>, reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>) {
    let written = fill(log.as_ref(), 1..200);
    assert!(log.trim(1_000).is_ok());
    let expected: Vec<_> = written.into_iter().filter(|(lsn, _)| lsn + 1 >= 1_000).collect();
    let log = reopen(log);
    let found: Vec<_> =
        contents(log.as_ref()).into_iter().filter(|(lsn, _)| lsn + 1 >= 1_000).collect();
    assert_eq!(found, expected);
}

fn goes_on_after_reopening(log: Arc<dyn Log>, reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>) {
    let mut written = fill(log.as_ref(), 1..20);
    let log = reopen(log);
    written.extend(fill(log.as_ref(), 20..40));
    let log = reopen(log);
    assert_eq!(contents(log.as_ref()), written);
}

fn replay_stops_at_the_readers_error(log: Arc<dyn Log>) {
    fill(log.as_ref(), 1..20);
    let mut seen = 0;
    let outcome = log.replay(&mut |batch| {
        seen += 1;
        if seen == 5 {
            return Err(crate::LogError::Replay { lsn: batch.first_lsn, what: "enough".into() });
        }
        Ok(())
    });
    assert!(outcome.is_err());
    assert_eq!(seen, 5);
}

fn counts_what_it_took(log: Arc<dyn Log>) {
    let written = fill(log.as_ref(), 1..10);
    let report = log.report();
    assert_eq!(report.appended_batches, 9);
    assert_eq!(report.appended_bytes, written.iter().map(|(_, p)| p.len() as u64).sum::<u64>());
    assert_eq!(report.syncs, 3);
    assert!(log.has_room());
}
