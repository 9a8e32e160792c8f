//! Logs that version 0.1 wrote: they are read, and go on in the format of today. And logs that were
//! written by leaders that cannot both have been right.

use crate::support::{SEGMENT_BYTES, open, payload};
use std::path::Path;
use thalweg_base::checksum::crc32c;
use thalweg_base::fs::SimulatedFs;
use thalweg_log::{Batch, Log, LogError, Origin, battery};

/// Writes a segment's bytes as a version wrote them.
struct OldEncoder {
    version: u32,
    chain: u32,
    bytes: Vec<u8>,
}

impl OldEncoder {
    fn new(version: u32) -> Self {
        let mut bytes = b"THALWEG\0".to_vec();
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&1u64.to_le_bytes());
        bytes.resize(60, 0);
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        Self { version, chain: 0, bytes }
    }

    fn put(&mut self, batch: &Batch<'_>, durable_position: u64) {
        let mut body = Vec::new();
        body.extend_from_slice(&(batch.payload.len() as u32).to_le_bytes());
        body.extend_from_slice(&(batch.payload.len() as u32).to_le_bytes());
        body.extend_from_slice(&batch.first_lsn.to_le_bytes());
        body.extend_from_slice(&batch.last_lsn.to_le_bytes());
        body.extend_from_slice(&batch.time_ms.to_le_bytes());
        body.extend_from_slice(&durable_position.to_le_bytes());
        body.extend_from_slice(&batch.origin.epoch.to_le_bytes());
        body.extend_from_slice(&batch.count.to_le_bytes());
        body.extend_from_slice(&batch.partition.to_le_bytes());
        body.extend_from_slice(&[0, 0]);
        if self.version == 2 {
            body.extend_from_slice(&batch.origin.lane.to_le_bytes());
            body.extend_from_slice(&[0, 0]);
            body.extend_from_slice(&batch.origin.cluster.to_le_bytes());
            body.extend_from_slice(&batch.origin.writer.to_le_bytes());
            body.resize(body.len() + 12, 0);
        }
        let chained = [&self.chain.to_le_bytes(), body.as_slice(), batch.payload].concat();
        self.chain = crc32c(&chained);
        self.bytes.extend_from_slice(format!("TWB{}", self.version).as_bytes());
        self.bytes.extend_from_slice(&self.chain.to_le_bytes());
        self.bytes.extend_from_slice(&body);
        self.bytes.extend_from_slice(&crc32c(&body).to_le_bytes());
        self.bytes.extend_from_slice(batch.payload);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// The log as a file on a disk.
    fn disk(mut self) -> SimulatedFs {
        assert!(self.bytes.len() < SEGMENT_BYTES as usize);
        self.bytes.resize(SEGMENT_BYTES as usize, 0);
        let fs = SimulatedFs::new(1);
        fs.replace(Path::new("log/0000000000000001.log"), self.bytes);
        fs
    }
}

/// A batch as version 0.1 wrote it: always of epoch 1, and of nobody.
fn old(lsn: u64, bytes: &[u8]) -> Batch<'_> {
    let origin = Origin { epoch: 1, ..Origin::default() };
    Batch { origin, ..battery::sample(lsn, bytes) }
}

/// A log of version 1 with ten batches and the mark of a clean close.
fn first_version(closed: bool) -> OldEncoder {
    let mut encoder = OldEncoder::new(1);
    for lsn in 1..=10u64 {
        let position = encoder.bytes.len() as u64 - 64;
        encoder.put(&old(lsn * 2, &payload(lsn)), position);
    }
    if closed {
        let position = encoder.bytes.len() as u64 - 64;
        let mark = Batch { count: 0, origin: Origin::default(), ..old(20, &[]) };
        encoder.put(&mark, position);
    }
    encoder
}

/// First LSNs and origins of all batches with effects.
fn read(log: &dyn Log) -> Vec<(u64, Origin)> {
    let mut found = Vec::new();
    log.follow(log.oldest(), &mut |_, batch| {
        if batch.count > 0 {
            assert_eq!(batch.payload, payload(batch.first_lsn / 2));
            found.push((batch.first_lsn / 2, batch.origin));
        }
        Ok(())
    })
    .expect("it can be read");
    found
}

#[test]
fn a_log_of_the_first_version_is_read_and_goes_on() {
    for closed in [true, false] {
        let fs = first_version(closed).disk();
        let before = fs.bytes(Path::new("log/0000000000000001.log"));
        let log = open(&fs).expect("open");
        let old_origin = Origin { epoch: 1, ..Origin::default() };
        let expected: Vec<_> = (1..=10).map(|lsn| (lsn, old_origin)).collect();
        assert_eq!(read(&log), expected);
        // Its own leader is as old as any.
        assert!(log.append(&[Batch { origin: Origin::default(), ..old(22, b"") }]).is_err());
        log.append(&[battery::sample(22, &payload(11))]).expect("append");
        log.sync().expect("sync");
        drop(log);
        let after = fs.bytes(Path::new("log/0000000000000001.log"));
        assert!(before == after, "a segment of another version is not written to");
        let log = open(&fs).expect("open again");
        let mut expected = expected;
        expected.push((11, battery::ORIGIN));
        assert_eq!(read(&log), expected);
        // A position in the old segment is as good as any.
        let mut middle = None;
        log.follow(log.oldest(), &mut |position, batch| {
            middle = middle.or((batch.first_lsn == 10).then_some(position));
            Ok(())
        })
        .expect("it can be read");
        let mut first_behind = None;
        log.follow(middle.expect("a batch"), &mut |_, batch| {
            first_behind.get_or_insert(batch.first_lsn);
            Ok(())
        })
        .expect("it can be read from the middle");
        assert_eq!(first_behind, Some(12));
    }
}

#[test]
fn damage_in_a_log_of_the_first_version_is_found() {
    let mut encoder = first_version(true);
    encoder.bytes[400] ^= 1;
    assert!(matches!(open(&encoder.disk()), Err(LogError::Damaged { .. })));
    let mut encoder = first_version(false);
    let torn = encoder.bytes.len() - 20;
    encoder.bytes[torn] ^= 1;
    let log = open(&encoder.disk()).expect("a torn tail is cut");
    assert_eq!(read(&log).len(), 9);
}

fn refused(epochs: &[(u32, u64)]) -> String {
    let mut encoder = OldEncoder::new(2);
    for (number, &(epoch, writer)) in (1..).zip(epochs) {
        let origin = Origin { epoch, writer, ..battery::ORIGIN };
        let bytes = payload(number);
        encoder.put(&Batch { origin, ..battery::sample(number * 2, &bytes) }, 0);
    }
    match open(&encoder.disk()) {
        Ok(log) => format!("{} batches", read(&log).len()),
        Err(error @ LogError::Damaged { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
    }
}

/// They fit their checksums, so they are no torn tail: each was written by somebody.
#[test]
fn a_log_whose_epochs_go_back_is_refused() {
    assert_eq!(refused(&[(1, 7), (2, 8), (2, 8), (5, 9)]), "4 batches");
    let back = refused(&[(1, 7), (4, 8), (3, 9)]);
    assert!(back.contains("the epoch goes back from 4 to 3"), "{back}");
    let rivals = refused(&[(1, 7), (2, 8), (2, 9)]);
    assert!(rivals.contains("epoch 2 has two writers"), "{rivals}");
}

/// A reader sees what is durable: what was appended may still go.
#[test]
fn only_what_is_durable_is_read() {
    let log = open(&SimulatedFs::new(3)).expect("open");
    let bytes = [1, 2, 3].map(payload);
    let end = log.append(&[battery::sample(2, &bytes[0])]).expect("append");
    assert!(read(&log).is_empty());
    assert_eq!(log.sync().expect("sync"), end);
    log.append(&[battery::sample(4, &bytes[1])]).expect("append");
    assert_eq!(read(&log).len(), 1);
    log.sync().expect("sync");
    assert_eq!(read(&log).len(), 2);
}

/// A position is good for the log that gave it.
#[test]
fn positions_of_another_log_are_refused() {
    let logs = [1u64, 100].map(|first| {
        let log = open(&SimulatedFs::new(first)).expect("open");
        for lsn in first..first + 5 {
            log.append(&[battery::sample(lsn * 2, b"of the same length")]).expect("append");
            log.sync().expect("sync");
        }
        log
    });
    let mut positions = Vec::new();
    logs[0]
        .follow(logs[0].oldest(), &mut |position, _| {
            positions.push(position);
            Ok(())
        })
        .expect("it can be read");
    assert_eq!(positions.len(), 5);
    for position in positions {
        assert!(logs[0].follow(position, &mut |_, _| Ok(())).is_ok());
        let refused = logs[1].follow(position, &mut |_, _| panic!("it reads on"));
        let is_refused =
            matches!(refused, Err(LogError::NotHeld { .. } | LogError::Damaged { .. }));
        assert!(is_refused, "{refused:?}");
    }
}
