//! One segment file: its header, its name, and appending to it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use thalweg_base::checksum::crc32c;
use thalweg_base::fs::{File, Fs};

pub(super) const HEADER_BYTES: u64 = 64;
const MAGIC: [u8; 8] = *b"THALWEG\0";
pub(super) const FORMAT_VERSION: u32 = 1;

/// An open segment file.
pub(super) struct Segment {
    pub(super) file: Arc<dyn File>,
    pub(super) number: u64,
    /// Bytes reserved on disk.
    pub(super) capacity: u64,
    /// Where the next batch goes.
    pub(super) end: u64,
    /// The highest LSN inside.
    pub(super) last_lsn: u64,
    /// The CRC of the batch before the first one.
    pub(super) chain: u32,
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) chain: u32,
    pub(super) number: u64,
    pub(super) base_position: u64,
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
        Ok(Self { file, number, capacity, end: HEADER_BYTES, last_lsn: 0, chain: 0 })
    }

    /// Writes the header and makes it durable: from here on the segment belongs to the log.
    pub(super) fn begin(&mut self, header: &SegmentHeader) -> io::Result<()> {
        self.chain = header.chain;
        self.file.write_at(&header.encode(), 0)?;
        self.file.sync_data()
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
        bytes.extend_from_slice(&self.chain.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.base_position.to_le_bytes());
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
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        Ok(Self {
            chain: u32_at(12).ok_or_else(damaged)?,
            number: u64_at(16).ok_or_else(damaged)?,
            base_position: u64_at(24).ok_or_else(damaged)?,
        })
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
