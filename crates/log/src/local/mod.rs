//! The log on a local disk: preallocated segment files, written sequentially by one thread.
//!
//! Segment files are named `0000000000000001.log` and up. Each begins with a 64-byte header
//! (integers little-endian):
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | magic `THALWEG` and a zero byte |
//! | 8–11 | format version, 2; 1 is read |
//! | 12–15 | CRC of the last batch before this segment, 0 for the first: the chain goes on |
//! | 16–23 | number of the segment |
//! | 24–31 | log position of the first batch; positions count bytes of batches from the first |
//! | 32–59 | zero |
//! | 60–63 | CRC-32C of bytes 0–59 |
//!
//! Batches follow (see `batch.rs`) until the first eight zero bytes or the end of the file. In a
//! segment of version 1 they are of version 1. Nothing is appended to one: a log that ends in one
//! gets a new segment when it is opened.
//!
//! **One segment is always held in reserve**, created and preallocated before it is needed. When
//! the disk has no room for the next reserve, the log says so. At that time there is still space
//! for everything that is under way, so a full disk refuses new writes and loses none.
//!
//! **Torn or damaged?** Reading stops at the first batch that does not fit. If nothing that was
//! ever durable can be at that point or after it, it is the torn tail of a crash, and it is cut.
//! Each batch carries the position that was durable when it was written. So a later segment, or a
//! later batch header with a durable position beyond the gap, proves that the gap was acknowledged.
//! That is damage, and the log refuses to open.

mod reader;
mod recovery;
mod segment;

use crate::batch::{Batch, Encoder, PAYLOAD_MAX_BYTES, Version};
use crate::{Log, LogError, LogReport, Lsn, Origin, Position, Visit};
use parking_lot::Mutex;
use reader::Piece;
use segment::{Segment, SegmentHeader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thalweg_base::fs::Fs;

/// How a local log is kept.
#[derive(Clone, Debug)]
pub struct LocalLogSettings {
    /// Where the segment files are.
    pub directory: PathBuf,
    /// Size of a segment file. A batch that is larger gets a larger one.
    pub segment_bytes: u64,
    /// Payloads of at least this size are compressed with LZ4.
    pub compress_min_bytes: usize,
}

/// A log in segment files on one disk.
pub struct LocalLog {
    fs: Arc<dyn Fs>,
    settings: LocalLogSettings,
    writer: Mutex<Writer>,
    trimming: Mutex<()>,
    poisoned: AtomicBool,
}

struct Writer {
    encoder: Encoder,
    /// Oldest first; the last one is written to.
    segments: Vec<Segment>,
    reserve: Option<Segment>,
    /// Where what was written ends.
    position: u64,
    durable: Position,
    /// Who wrote the newest batch.
    newest: Origin,
    unsynced: bool,
    bytes: Vec<u8>,
    report: LogReport,
}

impl Writer {
    fn end(&self) -> Position {
        Position { at: self.position, chain: self.encoder.chain }
    }
}

impl LocalLog {
    /// Opens the log in a directory, or begins one. Cuts a torn tail; refuses a damaged log.
    pub fn open(fs: Arc<dyn Fs>, settings: LocalLogSettings) -> Result<Self, LogError> {
        let directory = &settings.directory;
        fs.create_dir_all(directory).map_err(io_error("create directory", directory))?;
        let recovered = recovery::recover(fs.as_ref(), directory)?;
        let encoder =
            Encoder { chain: recovered.end.chain, compress_min_bytes: settings.compress_min_bytes };
        let report = LogReport { torn_bytes: recovered.torn_bytes, ..LogReport::default() };
        let writer = Writer {
            encoder,
            segments: recovered.segments,
            reserve: None,
            position: recovered.end.at,
            durable: recovered.end,
            newest: recovered.newest,
            // What a process left that was killed was read, and need not be on the disk.
            unsynced: true,
            bytes: Vec::new(),
            report,
        };
        let log = Self {
            fs,
            settings,
            writer: Mutex::new(writer),
            trimming: Mutex::new(()),
            poisoned: false.into(),
        };
        let mut writer = log.writer.lock();
        log.ensure_reserve(&mut writer)?;
        log.sync_segment(&mut writer)?;
        if writer.segments.last().is_none_or(|last| last.version != Version::Two) {
            log.roll(&mut writer, 0)?;
        }
        drop(writer);
        Ok(log)
    }

    /// Makes the reserve the current segment and prepares the next reserve. `needed` is what must
    /// fit.
    fn roll(&self, writer: &mut Writer, needed: u64) -> Result<(), LogError> {
        self.ensure_reserve(writer)?;
        let Some(mut next) = writer.reserve.take() else { return Err(self.full()) };
        let capacity = segment::HEADER_BYTES + needed;
        if next.capacity < capacity {
            if let Err(error) = next.file.allocate(capacity) {
                writer.reserve = Some(next);
                return Err(self.not_written("extend segment", error));
            }
            next.capacity = capacity;
        }
        let header =
            SegmentHeader { version: Version::Two, number: next.number, base: writer.end() };
        self.sync_segment(writer)?;
        if let Err(error) = next.begin(&header) {
            self.poisoned.store(true, Ordering::Release);
            return Err(LogError::SyncFailed { source: error });
        }
        writer.segments.push(next);
        // Failing to prepare the one after is not an error yet: `has_room` tells.
        let _no_room_yet = self.ensure_reserve(writer);
        Ok(())
    }

    fn ensure_reserve(&self, writer: &mut Writer) -> Result<(), LogError> {
        if writer.reserve.is_some() {
            return Ok(());
        }
        let number = writer.segments.last().map_or(1, |last| last.number + 1);
        let path = self.settings.directory.join(segment::file_name(number));
        match Segment::prepare(self.fs.as_ref(), &path, number, self.settings.segment_bytes) {
            Ok(segment) => {
                self.fs.sync_dir(&self.settings.directory).map_err(|source| self.poison(source))?;
                writer.reserve = Some(segment);
                Ok(())
            }
            Err(error) => {
                let _best_effort = self.fs.remove(&path);
                Err(self.not_written("create segment", error))
            }
        }
    }

    fn sync_segment(&self, writer: &mut Writer) -> Result<(), LogError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(LogError::Poisoned);
        }
        if !writer.unsynced {
            return Ok(());
        }
        let Some(current) = writer.segments.last() else { return Ok(()) };
        current.file.sync_data().map_err(|source| self.poison(source))?;
        writer.unsynced = false;
        writer.durable = writer.end();
        Ok(())
    }

    /// After a failed fsync nobody knows what is on the disk, so nothing may be written behind it.
    fn poison(&self, source: std::io::Error) -> LogError {
        self.poisoned.store(true, Ordering::Release);
        LogError::SyncFailed { source }
    }

    fn not_written(&self, action: &'static str, error: std::io::Error) -> LogError {
        if error.kind() == std::io::ErrorKind::StorageFull
            || error.kind() == std::io::ErrorKind::QuotaExceeded
        {
            return self.full();
        }
        io_error(action, &self.settings.directory)(error)
    }

    fn full(&self) -> LogError {
        LogError::Full { directory: self.settings.directory.clone() }
    }
}

impl LocalLog {
    fn path_of(&self, number: u64) -> PathBuf {
        self.settings.directory.join(segment::file_name(number))
    }

    /// The oldest segment, if it ends at or below a position. The current segment stays, however
    /// old: it is where the next batch goes.
    fn oldest_below(&self, below: Position) -> Option<u64> {
        match self.writer.lock().segments.as_slice() {
            [oldest, _, ..] if oldest.end_position() <= below.at => Some(oldest.number),
            _ => None,
        }
    }

    /// What is durable from a position on, file by file.
    fn pieces_from(&self, from: Position) -> Result<Vec<Piece>, LogError> {
        let writer = self.writer.lock();
        let oldest = writer.segments.first().map_or(0, |first| first.base.at);
        let newest = writer.durable;
        // At the very end there is no batch to tell whether the log is the one that was read.
        let is_end = from.at == newest.at;
        if !(oldest..=newest.at).contains(&from.at) || (is_end && from.chain != newest.chain) {
            let (position, newest) = (from.at, newest.at);
            return Err(LogError::NotHeld { position, oldest, newest });
        }
        let held = writer.segments.iter().filter(|segment| segment.end_position() > from.at);
        let pieces = held.map(|segment| Piece {
            file: segment.file.clone(),
            path: self.path_of(segment.number),
            version: segment.version,
            base: segment.base.at,
            end: segment.end_position().min(newest.at),
        });
        Ok(pieces.filter(|piece| piece.base < piece.end && piece.end > from.at).collect())
    }
}

impl Log for LocalLog {
    fn append(&self, batches: &[Batch<'_>]) -> Result<Position, LogError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(LogError::Poisoned);
        }
        if batches.iter().any(|batch| batch.payload.len() > PAYLOAD_MAX_BYTES) {
            // It could not be read back.
            return Err(self.poison(std::io::Error::other("a batch is larger than the log takes")));
        }
        let mut guard = self.writer.lock();
        let writer = &mut *guard;
        let newest = writer.newest.admit(batches)?;
        let chain = writer.encoder.chain;
        let mut bytes = std::mem::take(&mut writer.bytes);
        bytes.clear();
        let (mut raw, mut stored) = (0, 0);
        for batch in batches {
            raw += batch.payload.len();
            stored += writer.encoder.encode(batch, writer.durable.at, &mut bytes);
        }
        let length = bytes.len() as u64;
        let end_chain = std::mem::replace(&mut writer.encoder.chain, chain);
        let fits = writer.segments.last().is_some_and(|current| current.room() >= length);
        if !fits {
            let rolled = self.roll(writer, length);
            if let Err(error) = rolled {
                writer.bytes = bytes;
                return Err(error);
            }
        }
        let current = writer.segments.last_mut().ok_or(LogError::Poisoned)?;
        // Space is reserved, so a write that fails anyway is a failing disk.
        current.append(&bytes).map_err(|source| self.poison(source))?;
        for batch in batches {
            current.last_lsn = current.last_lsn.max(batch.last_lsn);
        }
        writer.encoder.chain = end_chain;
        writer.position += length;
        writer.newest = newest;
        writer.unsynced = true;
        writer.report.appended_batches += batches.len() as u64;
        writer.report.appended_bytes += raw as u64;
        writer.report.stored_bytes += stored as u64;
        // One very large batch must not leave its memory behind.
        bytes.shrink_to(8 << 20);
        writer.bytes = bytes;
        Ok(writer.end())
    }

    fn sync(&self) -> Result<Position, LogError> {
        let mut writer = self.writer.lock();
        self.sync_segment(&mut writer)?;
        writer.report.syncs += 1;
        Ok(writer.durable)
    }

    fn oldest(&self) -> Position {
        self.writer.lock().segments.first().map_or(Position::default(), |first| first.base)
    }

    fn follow(&self, from: Position, visit: &mut Visit<'_>) -> Result<Position, LogError> {
        // Read without the lock: what is durable does not change, and a file that is trimmed
        // meanwhile stays until it is closed.
        let pieces = self.pieces_from(from)?;
        pieces.iter().try_fold(from, |position, piece| piece.read(position, visit))
    }

    fn position_of(&self, lsn: Lsn) -> Position {
        let writer = self.writer.lock();
        let mut segments = writer.segments.iter();
        segments.find(|segment| segment.last_lsn >= lsn).map_or(writer.end(), |found| found.base)
    }

    fn trim(&self, below: Position) -> Result<(), LogError> {
        let _one_at_a_time = self.trimming.lock();
        // Removing a file takes a while: nobody who appends waits for it.
        while let Some(number) = self.oldest_below(below) {
            let path = self.path_of(number);
            // Oldest first, so that a crash in the middle leaves no gap.
            self.fs.remove(&path).map_err(io_error("remove segment", &path))?;
            let removed = self.writer.lock().segments.remove(0);
            // The last handle, unless somebody reads: closing it is what frees the space.
            drop(removed);
        }
        let directory = &self.settings.directory;
        self.fs.sync_dir(directory).map_err(io_error("sync directory", directory))
    }

    fn has_room(&self) -> bool {
        // Looking must never wait for an fsync that is under way: then there was room a moment ago.
        let Some(mut writer) = self.writer.try_lock() else { return true };
        writer.reserve.is_some() || self.ensure_reserve(&mut writer).is_ok()
    }

    fn report(&self) -> LogReport {
        let writer = self.writer.lock();
        let files = writer.segments.iter().chain(&writer.reserve);
        LogReport {
            size_bytes: files.map(|segment| segment.capacity).sum(),
            segments: writer.segments.len() as u64,
            ..writer.report
        }
    }
}

impl Drop for LocalLog {
    /// A clean close leaves a mark behind the last batch: an empty batch that says everything
    /// before it is durable, so that damage to the last batch is told from a torn tail.
    fn drop(&mut self) {
        if self.poisoned.load(Ordering::Acquire) || self.sync().is_err() {
            return;
        }
        let lsn = self.writer.lock().segments.last().map_or(0, |segment| segment.last_lsn);
        let _the_mark_is_a_courtesy = self.mark_durable(lsn);
    }
}

impl LocalLog {
    fn mark_durable(&self, lsn: Lsn) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        let mut bytes = Vec::new();
        let mark = Batch {
            partition: crate::MANY_PARTITIONS,
            first_lsn: lsn,
            last_lsn: lsn,
            time_ms: 0,
            origin: writer.newest,
            count: 0,
            payload: &[],
        };
        let chain = writer.encoder.chain;
        let durable = writer.durable.at;
        writer.encoder.encode(&mark, durable, &mut bytes);
        let end_chain = std::mem::replace(&mut writer.encoder.chain, chain);
        let Some(current) = writer.segments.last_mut() else { return Ok(()) };
        if current.room() < bytes.len() as u64 {
            return Ok(());
        }
        current.append(&bytes).map_err(|source| self.poison(source))?;
        writer.encoder.chain = end_chain;
        writer.position += bytes.len() as u64;
        writer.unsynced = true;
        self.sync_segment(&mut writer)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { action, path, source }
}
