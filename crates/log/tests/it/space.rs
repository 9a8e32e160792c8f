//! A disk that fills up refuses cleanly, keeps what it took, and works again when there is space.

use crate::support::{SEGMENT_BYTES, open, payload, read_back};
use thalweg_base::fs::{Fault, SimulatedFs};
use thalweg_log::{Log, LogError, battery::sample};

#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let fs = SimulatedFs::new(1);
    fs.fail(Fault::Capacity(SEGMENT_BYTES * 4));
    let log = open(&fs).expect("open");
    let mut last = 0;
    let mut warned = None;
    let error = loop {
        let bytes = payload(last + 1);
        match log.append(&[sample((last + 1) * 2, &bytes)]) {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
        log.sync().expect("sync");
        if warned.is_none() && !log.has_room() {
            warned = Some(last);
        }
    };
    assert!(matches!(error, LogError::Full { .. }) && !error.is_fatal(), "{error}");
    let warned = warned.expect("it says that it is full before it has to refuse");
    assert!(last - warned > 10, "a whole segment was left when it said so: {warned} {last}");
    // Refusing is repeatable and harms nothing.
    let noise: Vec<u8> =
        (0..SEGMENT_BYTES as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    assert!(log.append(&[sample(2, &noise)]).is_err());
    assert!(log.append(&[sample(2, &noise)]).is_err());
    fs.fail(Fault::Capacity(u64::MAX));
    assert!(log.has_room());
    let bytes = payload(last + 1);
    log.append(&[sample((last + 1) * 2, &bytes)]).expect("there is space again");
    log.sync().expect("sync");
    drop(log);
    assert_eq!(read_back(&open(&fs).expect("open")), last + 1);
}

#[test]
fn trimming_gives_space_back() {
    let fs = SimulatedFs::new(2);
    let log = open(&fs).expect("open");
    crate::support::fill(&log, 1, 200);
    let before = log.report();
    log.trim(log.position_of(300)).expect("trim");
    let after = log.report();
    assert!(after.size_bytes < before.size_bytes && after.segments < before.segments);
    let mut first = None;
    log.follow(log.oldest(), &mut |_, batch| {
        first.get_or_insert(batch.last_lsn);
        Ok(())
    })
    .expect("follow");
    assert!(first.is_some_and(|lsn| lsn <= 300));
}
