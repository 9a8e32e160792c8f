//! Reads a log back and decides which bytes belong to it, which are a torn tail, and which are
//! damage.

use super::segment::{
    FORMAT_VERSION, HEADER_BYTES, HeaderError, Segment, SegmentHeader, file_name, number_of,
};
use super::{LogError, io_error};
use crate::batch::{self, Batch, decode_batch_header, open_batch};
use std::path::Path;
use std::sync::Arc;
use thalweg_base::fs::{File, Fs};

/// What is read from a segment in one go.
const READ_BYTES: usize = 4 << 20;

/// A log as found.
pub(super) struct Recovered {
    pub(super) segments: Vec<Segment>,
    pub(super) chain: u32,
    pub(super) position: u64,
    pub(super) torn_bytes: u64,
}

/// Where reading a segment came to an end.
struct End {
    offset: u64,
    chain: u32,
    last_lsn: u64,
    /// Why it did not go on; `None` where nothing was ever written.
    misfit: Option<String>,
}

/// Finds the end of the log, cuts a torn tail, refuses damage.
pub(super) fn recover(fs: &dyn Fs, directory: &Path) -> Result<Recovered, LogError> {
    let names = fs.list(directory).map_err(io_error("list directory", directory))?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    let mut found = Recovered { segments: Vec::new(), chain: 0, position: 0, torn_bytes: 0 };
    for (index, &number) in numbers.iter().enumerate() {
        let path = directory.join(file_name(number));
        let file = fs.open(&path).map_err(io_error("open", &path))?;
        let is_last = index + 1 == numbers.len();
        let header = match read_header(file.as_ref(), &path, is_last)? {
            Some(header) => header,
            // A reserve that was never begun: made anew when it is needed.
            None => {
                fs.remove(&path).map_err(io_error("remove", &path))?;
                fs.sync_dir(directory).map_err(io_error("sync directory", directory))?;
                continue;
            }
        };
        check_link(&found, &header, number, &path)?;
        if found.segments.is_empty() {
            found.position = header.base_position;
            found.chain = header.chain;
        }
        let capacity = file.length().map_err(io_error("measure", &path))?;
        let mut segment =
            Segment { file, number, capacity, end: HEADER_BYTES, last_lsn: 0, chain: header.chain };
        let end = scan(&segment, &path, &mut |_| Ok(()))?;
        found.position = header.base_position + (end.offset - HEADER_BYTES);
        found.chain = end.chain;
        segment.end = end.offset;
        segment.last_lsn = end.last_lsn;
        if let Some(what) = end.misfit {
            // A damaged batch in any but the last begun segment shows up here too: the next one's
            // base position is beyond this end.
            refuse_if_acknowledged(&segment, &path, found.position, &what)?;
            if let Some(&next) = numbers.get(index + 1)
                && is_begun(fs, directory, next)?
            {
                // Segments are made durable before the next one is begun.
                return Err(LogError::Damaged { file: path, offset: segment.end, what });
            }
            found.torn_bytes = cut(&segment, &path)?;
            tracing::warn!(
                file = %path.display(), offset = segment.end, bytes = found.torn_bytes,
                    reason = %what,
                "cut the torn tail that a crash left in the log; none of it had been acknowledged"
            );
        }
        found.segments.push(segment);
    }
    Ok(found)
}

/// Gives every batch of a segment to `visit`. The segment was checked when the log was opened.
pub(super) fn replay_segment(
    segment: &Segment,
    path: &Path,
    visit: &mut dyn FnMut(&Batch<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let end = scan(segment, path, &mut |batch| {
        // Marks carry nothing.
        if batch.count == 0 { Ok(()) } else { visit(batch) }
    })?;
    match end.misfit {
        Some(what) if end.offset < segment.end => {
            Err(LogError::Damaged { file: path.to_owned(), offset: end.offset, what })
        }
        _ => Ok(()),
    }
}

/// Whether a segment has a header, so that the one before was complete.
fn is_begun(fs: &dyn Fs, directory: &Path, number: u64) -> Result<bool, LogError> {
    let path = directory.join(file_name(number));
    let file = fs.open(&path).map_err(io_error("open", &path))?;
    Ok(read_header(file.as_ref(), &path, true)?.is_some())
}

fn read_header(
    file: &dyn File,
    path: &Path,
    is_last: bool,
) -> Result<Option<SegmentHeader>, LogError> {
    let mut bytes = [0; HEADER_BYTES as usize];
    let count = file.read_at(&mut bytes, 0).map_err(io_error("read", path))?;
    let damaged =
        |what: &str| LogError::Damaged { file: path.to_owned(), offset: 0, what: what.to_owned() };
    match SegmentHeader::decode(bytes.get(..count).unwrap_or_default()) {
        Ok(header) => Ok(Some(header)),
        Err(HeaderError::Version(found)) => {
            Err(LogError::Version { file: path.to_owned(), found, known: FORMAT_VERSION })
        }
        Err(HeaderError::Blank) if is_last => Ok(None),
        Err(HeaderError::Blank) => Err(damaged("a segment in the middle has no header")),
        // A header is durable before the first batch: no batch behind it means that it was being
        // written.
        Err(HeaderError::Damaged) if is_last && !any_batch_from(file, path, HEADER_BYTES, 0)? => {
            Ok(None)
        }
        Err(HeaderError::Damaged) => Err(damaged("the segment's header does not fit its checksum")),
    }
}

/// A segment must go on exactly where the one before it ended.
fn check_link(
    found: &Recovered,
    header: &SegmentHeader,
    number: u64,
    path: &Path,
) -> Result<(), LogError> {
    let damaged = |what: String| LogError::Damaged { file: path.to_owned(), offset: 0, what };
    if header.number != number {
        return Err(damaged(format!("the file says that it is segment {}", header.number)));
    }
    let Some(before) = found.segments.last() else { return Ok(()) };
    if before.number + 1 != number {
        return Err(damaged(format!("segment {} is missing", before.number + 1)));
    }
    if header.base_position != found.position || header.chain != found.chain {
        return Err(damaged(format!(
            "it continues from log position {}, but segment {} ends at {}",
            header.base_position, before.number, found.position
        )));
    }
    Ok(())
}

/// Reads batches from the segment's start until one does not fit.
fn scan(
    segment: &Segment,
    path: &Path,
    visit: &mut dyn FnMut(&Batch<'_>) -> Result<(), LogError>,
) -> Result<End, LogError> {
    let mut window = Window::new(segment.file.clone(), segment.capacity);
    let mut end = End { offset: HEADER_BYTES, chain: segment.chain, last_lsn: 0, misfit: None };
    let mut scratch = Vec::new();
    loop {
        let head = window.get(end.offset, batch::HEADER_BYTES).map_err(io_error("read", path))?;
        if head.get(..8).is_none_or(|start| start.iter().all(|&byte| byte == 0)) {
            // Zeros where a batch should begin: the end, unless the rest of the header says
            // otherwise.
            if head.iter().any(|&byte| byte != 0) {
                end.misfit = Some("the batch header is cut short".to_owned());
            } else if any_batch_from(segment.file.as_ref(), path, end.offset, 0)? {
                end.misfit = Some("nothing stands where a batch should begin".to_owned());
            }
            return Ok(end);
        }
        let Some(header) = decode_batch_header(head) else {
            end.misfit = Some("the batch header does not fit its checksum".to_owned());
            return Ok(end);
        };
        let whole = batch::HEADER_BYTES + header.stored_bytes as usize;
        let bytes = window.get(end.offset, whole).map_err(io_error("read", path))?;
        let Some(stored) = bytes.get(batch::HEADER_BYTES..whole) else {
            end.misfit = Some("the batch is cut short".to_owned());
            return Ok(end);
        };
        match open_batch(&header, bytes, stored, end.chain, &mut scratch) {
            Ok(batch) => visit(&batch)?,
            Err(what) => {
                end.misfit = Some(what);
                return Ok(end);
            }
        }
        end.offset += header.total_bytes();
        end.chain = header.crc();
        end.last_lsn = end.last_lsn.max(header.last_lsn);
    }
}

/// Refuses to cut what a later batch proves to have been durable.
fn refuse_if_acknowledged(
    segment: &Segment,
    path: &Path,
    position: u64,
    what: &str,
) -> Result<(), LogError> {
    // Batches begin at multiples of 8, so the next candidate is 8 bytes on.
    if any_batch_from(segment.file.as_ref(), path, segment.end + 8, position + 1)? {
        return Err(LogError::Damaged {
            file: path.to_owned(),
            offset: segment.end,
            what: what.to_owned(),
        });
    }
    Ok(())
}

/// Whether a believable batch header with at least this durable position stands anywhere from
/// `offset` on.
fn any_batch_from(
    file: &dyn File,
    path: &Path,
    offset: u64,
    durable_position: u64,
) -> Result<bool, LogError> {
    let length = file.length().map_err(io_error("measure", path))?;
    let mut chunk = vec![0; READ_BYTES];
    let mut at = offset;
    while at < length {
        let count = file.read_at(&mut chunk, at).map_err(io_error("read", path))?;
        if count < batch::HEADER_BYTES {
            return Ok(false);
        }
        for start in (0..=count - batch::HEADER_BYTES).step_by(8) {
            let candidate = chunk.get(start..).and_then(decode_batch_header);
            if candidate.is_some_and(|header| header.durable_position >= durable_position) {
                return Ok(true);
            }
        }
        // The last header of a chunk may reach into the next.
        at += ((count - batch::HEADER_BYTES) as u64 / 8 + 1) * 8;
    }
    Ok(false)
}

/// Removes the tail and gives the file its reserved size again; returns how many written bytes
/// went.
fn cut(segment: &Segment, path: &Path) -> Result<u64, LogError> {
    let mut tail = vec![0; (segment.capacity - segment.end) as usize];
    let count = segment.file.read_at(&mut tail, segment.end).map_err(io_error("read", path))?;
    let written = tail.get(..count).unwrap_or_default().iter().rposition(|&byte| byte != 0);
    segment.file.set_len(segment.end).map_err(io_error("cut", path))?;
    segment.file.allocate(segment.capacity).map_err(io_error("extend", path))?;
    segment.file.sync_data().map_err(io_error("sync", path))?;
    Ok(written.map_or(0, |last| last as u64 + 1))
}

/// A file read in large pieces and looked at in small ones.
struct Window {
    file: Arc<dyn File>,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(file: Arc<dyn File>, length: u64) -> Self {
        Self { file, length, start: 0, bytes: Vec::new() }
    }

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
