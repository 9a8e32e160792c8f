//! Bytes that changed after they were written: torn tails are cut, damage is refused, and no answer
//! is ever wrong.

use crate::support::{SEGMENT_BYTES, fill, open, open_with, read_back, segment_files};
use thalweg_base::fs::{Fs, SimulatedFs};
use thalweg_log::LogError;

/// A log with several segments, closed cleanly.
fn closed_log(seed: u64) -> (SimulatedFs, u64) {
    let fs = SimulatedFs::new(seed);
    let log = open(&fs).expect("open");
    let last = fill(&log, 1, 120);
    assert_eq!(last, 120);
    drop(log);
    (fs, last)
}

fn copy_of(fs: &SimulatedFs) -> SimulatedFs {
    let copy = SimulatedFs::new(9);
    for path in segment_files(fs) {
        copy.replace(&path, fs.bytes(&path));
    }
    copy
}

#[test]
fn ten_thousand_bit_flips_never_give_a_wrong_answer() {
    let (fs, last) = closed_log(1);
    let files = segment_files(&fs);
    let mut refused = 0;
    let mut random = 0x0123_4567_89AB_CDEF_u64;
    for _ in 0..10_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let path = &files[(random % files.len() as u64) as usize];
        let bits = fs.bytes(path).len() as u64 * 8;
        let bit = (random >> 8) % bits;
        let copy = copy_of(&fs);
        copy.flip_bit(path, bit);
        // What may be cut without loss is the closing mark, which carries nothing: everything else
        // is all or refusal.
        match open(&copy) {
            Ok(log) => assert_eq!(read_back(&log), last, "{} bit {bit}", path.display()),
            Err(LogError::Damaged { .. } | LogError::Version { .. }) => refused += 1,
            Err(other) => panic!("{} bit {bit}: {other}", path.display()),
        }
    }
    assert!(refused > 5_000, "only {refused} flips hit something that matters");
}

/// What a crash may leave of a tail that was written up to `written`.
fn tear(bytes: &[u8], offset: usize, written: usize, pattern: u8) -> Vec<u8> {
    let mut torn = bytes.to_vec();
    match pattern {
        0 => torn.truncate(offset),
        1 => torn[offset..].fill(0),
        2 => {
            let garbage = |(index, byte): (usize, &mut u8)| *byte = (index * 151 + 7) as u8;
            torn[offset..written].iter_mut().enumerate().for_each(garbage);
        }
        _ => torn[offset..written].rotate_left((written - offset) / 2),
    }
    torn
}

/// Tears the tail at each of these offsets; gives the shortest prefix that was kept.
fn shortest_prefix(fs: &SimulatedFs, offsets: impl Iterator<Item = usize>) -> u64 {
    let path = segment_files(fs).pop().expect("a segment");
    let bytes = fs.bytes(&path);
    let written = bytes.iter().rposition(|&byte| byte != 0).expect("bytes") + 1;
    let mut shortest = u64::MAX;
    for offset in offsets {
        for pattern in 0..4u8 {
            // A cut at every offset; the other patterns, which are slower to read, at a sample of
            // them.
            if pattern >= 1 && !offset.is_multiple_of(13) {
                continue;
            }
            let copy = copy_of(fs);
            copy.replace(&path, tear(&bytes, offset, written, pattern));
            match open_with(&copy, LARGE_SEGMENT_BYTES) {
                Ok(log) => shortest = shortest.min(read_back(&log)),
                // Moving whole batches about can leave one that proves that earlier ones were
                // durable.
                Err(LogError::Damaged { .. }) => {
                    assert!(pattern >= 1, "cut at {offset} was refused")
                }
                Err(other) => panic!("offset {offset} pattern {pattern}: {other}"),
            }
        }
    }
    shortest
}

const LARGE_SEGMENT_BYTES: u64 = 80 << 10;

/// Every offset of the last 64 KiB.
#[test]
fn a_tail_torn_at_any_byte_gives_a_prefix() {
    const TAIL_BYTES: usize = 64 << 10;
    let fs = SimulatedFs::new(4);
    let log = open_with(&fs, LARGE_SEGMENT_BYTES).expect("open");
    let last = fill(&log, 1, 132);
    // No clean close: the file is as a crash leaves it.
    std::mem::forget(log);
    let path = segment_files(&fs).pop().expect("a segment");
    let written = fs.bytes(&path).iter().rposition(|&byte| byte != 0).expect("bytes") + 1;
    assert_eq!(segment_files(&fs).len(), 1);
    assert!(written > TAIL_BYTES + 64, "only {written} bytes were written");
    let from = written - TAIL_BYTES;
    let shortest = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let fs = &fs;
            scope.spawn(move || shortest_prefix(fs, (from + half..written).step_by(2)))
        });
        halves.map(|half| half.join().expect("a half")).into_iter().min()
    });
    assert!(shortest.is_some_and(|shortest| shortest < last / 2), "{shortest:?}");
}

#[test]
fn a_log_that_was_cut_can_be_written_again() {
    let fs = SimulatedFs::new(5);
    let log = open(&fs).expect("open");
    fill(&log, 1, 30);
    std::mem::forget(log);
    let path = segment_files(&fs).pop().expect("a segment");
    let mut bytes = fs.bytes(&path);
    let written = bytes.iter().rposition(|&byte| byte != 0).expect("bytes");
    bytes[written - 100..].fill(0xEE);
    fs.replace(&path, bytes);
    let log = open(&fs).expect("open");
    let kept = read_back(&log);
    assert!((27..30).contains(&kept), "{kept}");
    fill(&log, kept + 1, 60);
    drop(log);
    assert_eq!(read_back(&open(&fs).expect("open")), 60);
}

#[test]
fn a_missing_segment_is_refused() {
    let (fs, _) = closed_log(6);
    let files = segment_files(&fs);
    assert!(files.len() > 3);
    fs.remove(&files[1]).expect("remove");
    let error = open(&fs).err().expect("refused");
    assert!(error.to_string().contains("segment 2 is missing"), "{error}");
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let (fs, _) = closed_log(7);
    let path = segment_files(&fs).remove(0);
    let mut bytes = fs.bytes(&path);
    bytes[8] = 3;
    let crc = thalweg_base::checksum::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs.replace(&path, bytes.clone());
    assert!(matches!(open(&fs), Err(LogError::Version { found: 3, known: 2, .. })));
    assert_eq!(fs.bytes(&path), bytes);
    assert_eq!(bytes.len() as u64, SEGMENT_BYTES);
}
