//! Reads a segment file batch by batch, in large pieces.

use super::io_error;
use super::segment::HEADER_BYTES;
use crate::batch::{Batch, Header, Version, open_batch};
use crate::{LogError, Position, Visit};
use std::path::PathBuf;
use std::sync::Arc;
use thalweg_base::fs::File;

/// What is read from a segment in one go.
pub(super) const READ_BYTES: usize = 4 << 20;

/// Where a reader is in a segment file, and how it goes on.
pub(super) struct Reader {
    window: Window,
    version: Version,
    /// Bytes into the file.
    pub(super) offset: u64,
    /// The CRC of the batch before.
    pub(super) chain: u32,
    scratch: Vec<u8>,
}

/// What stands where a batch may begin.
pub(super) enum Found<'a> {
    Batch(Header, Batch<'a>),
    /// A header's worth of zeros, or the end of the file.
    Blank,
    /// Something that does not fit, and what does not.
    Misfit(String),
}

impl Reader {
    /// A reader at an offset in a file, of which `length` bytes are looked at.
    pub(super) fn new(
        file: Arc<dyn File>,
        version: Version,
        length: u64,
        offset: u64,
        chain: u32,
    ) -> Self {
        let window = Window { file, length, start: 0, bytes: Vec::new() };
        Self { window, version, offset, chain, scratch: Vec::new() }
    }

    /// The next batch. Behind it the reader stands at the one after.
    pub(super) fn next(&mut self) -> std::io::Result<Found<'_>> {
        let head_bytes = self.version.header_bytes();
        let head = self.window.get(self.offset, head_bytes)?;
        if head.get(..8).is_none_or(|start| start.iter().all(|&byte| byte == 0)) {
            // Zeros where a batch should begin: the end, unless the rest of the header says
            // otherwise.
            return Ok(if head.iter().any(|&byte| byte != 0) {
                Found::Misfit("the batch header is cut short".to_owned())
            } else {
                Found::Blank
            });
        }
        let Some(header) = self.version.decode(head) else {
            return Ok(Found::Misfit("the batch header does not fit its checksum".to_owned()));
        };
        let whole = head_bytes + header.stored_bytes as usize;
        let bytes = self.window.get(self.offset, whole)?;
        let Some(stored) = bytes.get(head_bytes..whole) else {
            return Ok(Found::Misfit("the batch is cut short".to_owned()));
        };
        match open_batch(&header, bytes, stored, self.chain, &mut self.scratch) {
            Ok(batch) => {
                self.offset += header.total_bytes();
                self.chain = header.crc();
                Ok(Found::Batch(header, batch))
            }
            Err(what) => Ok(Found::Misfit(what)),
        }
    }
}

/// A part of the log that is durable, in one file.
pub(super) struct Piece {
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) version: Version,
    /// The log position of the file's first batch, and the position where this part ends.
    pub(super) base: u64,
    pub(super) end: u64,
}

impl Piece {
    /// Gives the batches from a position on to `visit`; gives the position behind them.
    pub(super) fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<Position, LogError> {
        let offset_of = |at: u64| HEADER_BYTES + (at - self.base);
        let length = offset_of(self.end);
        let (file, offset) = (self.file.clone(), offset_of(from.at));
        let mut reader = Reader::new(file, self.version, length, offset, from.chain);
        let mut position = from;
        while position.at < self.end {
            let found = reader.next().map_err(io_error("read", &self.path))?;
            let what = match found {
                Found::Batch(header, batch) => {
                    position.at += header.total_bytes();
                    position.chain = header.crc();
                    visit(position, &batch)?;
                    continue;
                }
                Found::Blank => "nothing stands where a batch should begin".to_owned(),
                Found::Misfit(what) => what,
            };
            let offset = offset_of(position.at);
            return Err(LogError::Damaged { file: self.path.clone(), offset, what });
        }
        Ok(position)
    }
}

/// A file read in large pieces and looked at in small ones.
struct Window {
    file: Arc<dyn File>,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Up to `wanted` bytes from `offset`; fewer only at the end of the file.
    fn get(&mut self, offset: u64, wanted: usize) -> std::io::Result<&[u8]> {
        let wanted = wanted.min(self.length.saturating_sub(offset) as usize);
        let have =
            self.start <= offset && offset + wanted as u64 <= self.start + self.bytes.len() as u64;
        if !have {
            let size = wanted.max(READ_BYTES).min(self.length.saturating_sub(offset) as usize);
            self.bytes.resize(size, 0);
            let count = self.file.read_at(&mut self.bytes, offset)?;
            self.bytes.truncate(count);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(self.bytes.get(from..(from + wanted).min(self.bytes.len())).unwrap_or_default())
    }
}
