//! What the log tests share: a small log on a simulated disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use thalweg_base::fs::SimulatedFs;
use thalweg_log::battery::sample;
use thalweg_log::{LocalLog, LocalLogSettings, Log, LogError};

pub(crate) const SEGMENT_BYTES: u64 = 16 << 10;

pub(crate) fn settings() -> LocalLogSettings {
    LocalLogSettings {
        directory: PathBuf::from("log"),
        segment_bytes: SEGMENT_BYTES,
        compress_min_bytes: 512,
    }
}

pub(crate) fn open(fs: &SimulatedFs) -> Result<LocalLog, LogError> {
    LocalLog::open(Arc::new(fs.clone()), settings())
}

pub(crate) fn open_with(fs: &SimulatedFs, segment_bytes: u64) -> Result<LocalLog, LogError> {
    LocalLog::open(Arc::new(fs.clone()), LocalLogSettings { segment_bytes, ..settings() })
}

/// A payload that says which LSN it belongs to and has a length of its own.
pub(crate) fn payload(lsn: u64) -> Vec<u8> {
    let length = 40 + (lsn.wrapping_mul(2_654_435_761) % 900) as usize;
    let mut random = lsn | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Appends and syncs groups of three until `last` or an error; returns the last LSN that was
/// acknowledged.
pub(crate) fn fill(log: &LocalLog, first: u64, last: u64) -> u64 {
    let mut acknowledged = first - 1;
    let mut next = first;
    while next <= last {
        let payloads: Vec<_> =
            (next..=(next + 2).min(last)).map(|lsn| (lsn, payload(lsn))).collect();
        let batches: Vec<_> = payloads.iter().map(|(lsn, bytes)| sample(*lsn * 2, bytes)).collect();
        if log.append(&batches).is_err() || log.sync().is_err() {
            break;
        }
        acknowledged = next + payloads.len() as u64 - 1;
        next = acknowledged + 1;
    }
    acknowledged
}

/// The LSNs in the log, which must run from 1 without a gap and carry their payloads.
pub(crate) fn read_back(log: &LocalLog) -> u64 {
    let mut last = 0;
    log.follow(log.oldest(), &mut |_, batch| {
        if batch.count == 0 {
            return Ok(());
        }
        let lsn = batch.first_lsn / 2;
        assert_eq!(lsn, last + 1, "a gap");
        assert_eq!(batch.payload, payload(lsn), "another payload");
        last = lsn;
        Ok(())
    })
    .expect("an opened log can be read");
    last
}

/// The segment files that hold batches, oldest first.
pub(crate) fn segment_files(fs: &SimulatedFs) -> Vec<PathBuf> {
    use thalweg_base::fs::Fs;
    let directory = Path::new("log");
    let names = fs.list(directory).expect("list");
    names
        .iter()
        .map(|name| directory.join(name))
        .filter(|path| fs.bytes(path).iter().any(|&b| b != 0))
        .collect()
}
