//! The tests that every [`Log`] must pass. They are the trait's specification.
//!
//! `reopen` closes a log cleanly and opens the same one again; for a log in memory it returns the
//! log unchanged.

use crate::{Batch, Log, LogError, MANY_PARTITIONS, Origin, Position};
use std::sync::Arc;

/// Runs the whole battery, each test on a fresh log.
pub fn run(create: &dyn Fn() -> Arc<dyn Log>, reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>) {
    gives_back_what_was_appended_in_order(create(), reopen);
    an_empty_log_replays_nothing(create(), reopen);
    keeps_empty_and_large_payloads(create(), reopen);
    trims_only_below(create(), reopen);
    goes_on_after_reopening(create(), reopen);
    reading_stops_at_the_readers_error(create());
    counts_what_it_took(create());
    is_followed_from_the_middle(create(), reopen);
    is_followed_further_when_more_has_come(create());
    is_followed_while_it_is_written(create());
    gives_nothing_at_positions_that_it_does_not_hold(create());
    refuses_a_leader_that_was_succeeded(create(), reopen);
}

/// The origin of sample batches.
pub const ORIGIN: Origin = Origin { cluster: 77, lane: 5, epoch: 3, writer: 99 };

/// A batch with recognisable fields.
pub fn sample(lsn: u64, payload: &[u8]) -> Batch<'_> {
    Batch {
        partition: if lsn.is_multiple_of(7) { MANY_PARTITIONS } else { (lsn % 5) as u16 },
        first_lsn: lsn,
        last_lsn: lsn + 1,
        time_ms: 1_700_000_000_000 + lsn,
        origin: ORIGIN,
        count: 2,
        payload,
    }
}

/// A batch and the position behind it.
type Placed = (Position, (u64, Vec<u8>));
/// First LSNs and payloads.
type Contents = Vec<(u64, Vec<u8>)>;

/// First LSNs and payloads of all sample batches in a log.
pub fn contents(log: &dyn Log) -> Contents {
    let (found, _) = read_from(log, log.oldest());
    found.into_iter().map(|(_, batch)| batch).collect()
}

/// The sample batches behind a position, each with the position behind it, and where they end.
fn read_from(log: &dyn Log, from: Position) -> (Vec<Placed>, Position) {
    let (mut found, mut before) = (Vec::new(), from);
    let outcome = log.follow(from, &mut |position, batch| {
        assert!(position > before, "positions grow: {before:?}, {position:?}");
        before = position;
        // Marks that a log writes itself have no effects.
        if batch.count > 0 {
            let expected = sample(batch.first_lsn, batch.payload);
            assert_eq!(*batch, Batch { origin: batch.origin, ..expected }, "a field changed");
            found.push((position, (batch.first_lsn, batch.payload.to_vec())));
        }
        Ok(())
    });
    match outcome {
        Ok(end) => (found, end),
        Err(error) => panic!("it cannot be read from {from:?}: {error}"),
    }
}

fn fill(log: &dyn Log, lsns: std::ops::Range<u64>) -> Contents {
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
    let (first, below) = (log.oldest(), log.position_of(1_000));
    let (found, _) = read_from(log.as_ref(), below);
    let expected: Contents = written.into_iter().filter(|(lsn, _)| lsn + 1 >= 1_000).collect();
    let kept = |found: Vec<Placed>| -> Contents {
        found.into_iter().map(|(_, batch)| batch).filter(|(lsn, _)| lsn + 1 >= 1_000).collect()
    };
    assert_eq!(kept(found), expected, "nothing of that is below the position");
    assert!(log.trim(below).is_ok());
    let log = reopen(log);
    assert!(first < log.oldest() && log.oldest() <= below, "it forgets, and not too much");
    assert_eq!(kept(read_from(log.as_ref(), log.oldest()).0), expected);
    assert_eq!(kept(read_from(log.as_ref(), below).0), expected);
    let refused = log.follow(first, &mut |_, _| Ok(()));
    assert!(matches!(refused, Err(LogError::NotHeld { .. })), "{refused:?}");
}

fn goes_on_after_reopening(log: Arc<dyn Log>, reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>) {
    let mut written = fill(log.as_ref(), 1..20);
    let log = reopen(log);
    written.extend(fill(log.as_ref(), 20..40));
    let log = reopen(log);
    assert_eq!(contents(log.as_ref()), written);
}

fn reading_stops_at_the_readers_error(log: Arc<dyn Log>) {
    fill(log.as_ref(), 1..20);
    let mut seen = 0;
    let outcome = log.follow(log.oldest(), &mut |_, batch| {
        seen += 1;
        if seen == 5 {
            return Err(LogError::Replay { lsn: batch.first_lsn, what: "enough".into() });
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

fn is_followed_from_the_middle(log: Arc<dyn Log>, reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>) {
    let written = fill(log.as_ref(), 1..100);
    let (found, end) = read_from(log.as_ref(), log.oldest());
    let behind = |log: &dyn Log| {
        for (count, (position, _)) in (1..).zip(&found).step_by(7) {
            let (rest, _) = read_from(log, *position);
            let rest: Contents = rest.into_iter().map(|(_, batch)| batch).collect();
            assert_eq!(rest, written.get(count..).unwrap_or_default(), "behind {position:?}");
        }
        assert!(read_from(log, end).0.is_empty());
    };
    behind(log.as_ref());
    // Positions are good for as long as the log is.
    behind(reopen(log).as_ref());
}

fn is_followed_further_when_more_has_come(log: Arc<dyn Log>) {
    let (mut at, mut found) = (log.oldest(), Contents::new());
    let mut written = Contents::new();
    for first in (1..100).step_by(10) {
        written.extend(fill(log.as_ref(), first..first + 10));
        let (more, end) = read_from(log.as_ref(), at);
        found.extend(more.into_iter().map(|(_, batch)| batch));
        assert_eq!(found, written);
        assert!(end > at);
        at = end;
    }
    let appended = log.append(&[sample(5_000, b"more")]);
    let durable = log.sync();
    assert!(appended.is_ok() && appended.ok() == durable.ok(), "what was appended is durable");
}

fn is_followed_while_it_is_written(log: Arc<dyn Log>) {
    const BATCHES: u64 = 400;
    let (mut at, mut found) = (log.oldest(), Contents::new());
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| fill(log.as_ref(), 1..BATCHES + 1));
        let mut is_over = false;
        while !is_over {
            // Asked first, read second: then the last reading has all.
            is_over = writer.is_finished();
            let (more, end) = read_from(log.as_ref(), at);
            found.extend(more.into_iter().map(|(_, batch)| batch));
            at = end;
        }
        writer.join()
    });
    assert!(written.is_ok_and(|written| written == found), "it has read what was written");
}

fn gives_nothing_at_positions_that_it_does_not_hold(log: Arc<dyn Log>) {
    fill(log.as_ref(), 1..10);
    let (_, end) = read_from(log.as_ref(), log.oldest());
    let beyond = Position { at: end.at + 1_000, ..end };
    let refused = log.follow(beyond, &mut |_, _| Ok(()));
    assert!(matches!(refused, Err(LogError::NotHeld { .. })), "{refused:?}");
}

fn refuses_a_leader_that_was_succeeded(
    log: Arc<dyn Log>,
    reopen: &dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>,
) {
    let written = fill(log.as_ref(), 1..10);
    let successor = Origin { epoch: 5, writer: 100, ..ORIGIN };
    let later = Batch { origin: successor, ..sample(500, b"later") };
    assert!(log.append(std::slice::from_ref(&later)).is_ok() && log.sync().is_ok());
    let expected: Contents = written.into_iter().chain([(500, b"later".to_vec())]).collect();
    let mut log = log;
    for _ in 0..2 {
        let end = log.sync().ok();
        let rival = Origin { writer: 101, ..successor };
        for origin in [ORIGIN, Origin { epoch: 4, ..rival }, rival] {
            // The first of both may be written, the second must not: then neither is.
            let both = [later.clone(), Batch { origin, ..sample(600, b"refused") }];
            let refused = log.append(&both);
            let expected = origin.epoch;
            assert!(
                matches!(refused, Err(LogError::Fenced { epoch, newer: 5 }) if epoch == expected),
                "{refused:?}"
            );
        }
        assert_eq!(log.sync().ok(), end, "nothing was written");
        assert_eq!(contents(log.as_ref()), expected);
        log = reopen(log);
    }
    let next = Batch { origin: Origin { epoch: 6, writer: 7, ..ORIGIN }, ..sample(700, b"next") };
    assert!(log.append(&[next]).is_ok(), "a newer leader is welcome");
}
