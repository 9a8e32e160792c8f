//! One segment file: its header, its name, and appending to it.

use crate::Position;
use crate::batch::Version;
use std::io;
use std::path::Path;
use std::sync::Arc;
use thalweg_base::checksum::crc32c;
use thalweg_base::fs::{File, Fs};

pub(super) const HEADER_BYTES: u64 = 64;
const MAGIC: [u8; 8] = *b"THALWEG\0";
/// What is written; version 1 is read, too.
pub(super) const FORMAT_VERSION: u32 = 2;

/// An open segment file.
pub(super) struct Segment {
    pub(super) file: Arc<dyn File>,
    pub(super) number: u64,
    /// Bytes reserved on disk.
    pub(super) capacity: u64,
    /// How its batches are written.
    pub(super) version: Version,
    /// The log position of the first batch.
    pub(super) base: Position,
    /// Where the next batch goes in the file.
    pub(super) end: u64,
    /// The highest LSN inside.
    pub(super) last_lsn: u64,
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) version: Version,
    pub(super) number: u64,
    pub(super) base: Position,
}

/// Why a header could not be read.
pub(super) enum HeaderError {
    /// The file was created but never begun, or its header never reached the disk.
    Blank,
    /// A later version wrote it.
    Version(u32),
    /// The checksum does not fit.
    Damaged,
}

impl Segment {
    /// Creates the file and reserves its space; the name is durable after a `sync_dir`.
    pub(super) fn prepare(
        fs: &dyn Fs,
        path: &Path,
        number: u64,
        capacity: u64,
    ) -> io::Result<Self> {
        let file = fs.create(path)?;
        file.allocate(capacity)?;
        file.sync_data()?;
        let (version, base) = (Version::Two, Position::default());
        Ok(Self { file, number, capacity, version, base, end: HEADER_BYTES, last_lsn: 0 })
    }

    /// Writes the header and makes it durable: from here on the segment belongs to the log.
    pub(super) fn begin(&mut self, header: &SegmentHeader) -> io::Result<()> {
        self.version = header.version;
        self.base = header.base;
        self.file.write_at(&header.encode(), 0)?;
        self.file.sync_data()
    }

    /// The log position where its batches end.
    pub(super) fn end_position(&self) -> u64 {
        self.base.at + (self.end - HEADER_BYTES)
    }

    pub(super) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.end)
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

impl SegmentHeader {
    fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.base.chain.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.base.at.to_le_bytes());
        bytes.resize(60, 0);
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        let mut header = [0; HEADER_BYTES as usize];
        header.copy_from_slice(&bytes);
        header
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let damaged = || HeaderError::Damaged;
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(HeaderError::Blank);
        }
        let body = bytes.get(..60).ok_or_else(damaged)?;
        let crc = bytes.get(60..64).ok_or_else(damaged)?;
        if body.get(..8) != Some(&MAGIC) || crc != crc32c(body).to_le_bytes() {
            return Err(HeaderError::Damaged);
        }
        let u32_at = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let version = u32_at(8).ok_or_else(damaged)?;
        let version = match version {
            1 => Version::One,
            FORMAT_VERSION => Version::Two,
            other => return Err(HeaderError::Version(other)),
        };
        let chain = u32_at(12).ok_or_else(damaged)?;
        let at = u64_at(24).ok_or_else(damaged)?;
        let number = u64_at(16).ok_or_else(damaged)?;
        Ok(Self { version, number, base: Position { at, chain } })
    }
}

/// The file name of a segment.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:016}.log")
}

/// The number in a segment's file name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 16).then(|| digits.parse().ok()).flatten()
}
