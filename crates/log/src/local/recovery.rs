//! Reads a log back and decides which bytes belong to it, which are a torn tail, and which are
//! damage.

use super::reader::{Found, READ_BYTES, Reader};
use super::segment::{
    FORMAT_VERSION, HEADER_BYTES, HeaderError, Segment, SegmentHeader, file_name, number_of,
};
use super::{LogError, io_error};
use crate::batch::Version;
use crate::{Origin, Position};
use std::path::Path;
use thalweg_base::fs::{File, Fs};

/// A log as found.
#[derive(Default)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Segment>,
    /// Where it ends.
    pub(super) end: Position,
    /// The newest origin in it.
    pub(super) newest: Origin,
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
    let mut found = Recovered::default();
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
            found.end = header.base;
        }
        let capacity = file.length().map_err(io_error("measure", &path))?;
        let SegmentHeader { version, base, .. } = header;
        let mut segment =
            Segment { file, number, capacity, version, base, end: HEADER_BYTES, last_lsn: 0 };
        let end = scan(&segment, &path, &mut found.newest)?;
        segment.end = end.offset;
        found.end = Position { at: segment.end_position(), chain: end.chain };
        segment.last_lsn = end.last_lsn;
        if let Some(what) = end.misfit {
            // A damaged batch in any but the last begun segment shows up here too: the next one's
            // base position is beyond this end.
            refuse_if_acknowledged(&segment, &path, &what)?;
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
        Err(HeaderError::Damaged) if is_last && !is_written(file, path)? => Ok(None),
        Err(HeaderError::Damaged) => Err(damaged("the segment's header does not fit its checksum")),
    }
}

/// Whether there is a batch in a file whose header does not say of which version it is.
fn is_written(file: &dyn File, path: &Path) -> Result<bool, LogError> {
    Ok(holds_batch(file, Version::Two, path, HEADER_BYTES, 0)?
        || holds_batch(file, Version::One, path, HEADER_BYTES, 0)?)
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
    if header.base != found.end {
        return Err(damaged(format!(
            "it continues from log position {}, but segment {} ends at {}",
            header.base.at, before.number, found.end.at
        )));
    }
    Ok(())
}

/// Reads batches from the segment's start until one does not fit. One that fits and has an origin
/// that cannot stand there is no torn tail.
fn scan(segment: &Segment, path: &Path, newest: &mut Origin) -> Result<End, LogError> {
    let (version, start) = (segment.version, segment.base.chain);
    let mut reader =
        Reader::new(segment.file.clone(), version, segment.capacity, HEADER_BYTES, start);
    let mut end = End { offset: HEADER_BYTES, chain: start, last_lsn: 0, misfit: None };
    loop {
        match reader.next().map_err(io_error("read", path))? {
            Found::Batch(header, batch) => {
                let misfit = newest.misfit(&batch.origin);
                // Version 1 had no epochs worth the name: its marks have none.
                if let Some(what) = misfit.filter(|_| version != Version::One) {
                    let (file, offset) = (path.to_owned(), end.offset);
                    return Err(LogError::Damaged { file, offset, what });
                }
                if batch.origin.epoch >= newest.epoch {
                    *newest = batch.origin;
                }
                end.offset += header.total_bytes();
                end.chain = header.crc();
                end.last_lsn = end.last_lsn.max(header.last_lsn);
            }
            Found::Blank => {
                if any_batch_from(segment, path, end.offset, 0)? {
                    end.misfit = Some("nothing stands where a batch should begin".to_owned());
                }
                return Ok(end);
            }
            Found::Misfit(what) => {
                end.misfit = Some(what);
                return Ok(end);
            }
        }
    }
}

/// Refuses to cut what a later batch proves to have been durable.
fn refuse_if_acknowledged(segment: &Segment, path: &Path, what: &str) -> Result<(), LogError> {
    // Batches begin at multiples of 8, so the next candidate is 8 bytes on.
    if any_batch_from(segment, path, segment.end + 8, segment.end_position() + 1)? {
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
    segment: &Segment,
    path: &Path,
    offset: u64,
    durable_position: u64,
) -> Result<bool, LogError> {
    holds_batch(segment.file.as_ref(), segment.version, path, offset, durable_position)
}

fn holds_batch(
    file: &dyn File,
    version: Version,
    path: &Path,
    offset: u64,
    durable_position: u64,
) -> Result<bool, LogError> {
    let header_bytes = version.header_bytes();
    let length = file.length().map_err(io_error("measure", path))?;
    let mut chunk = vec![0; READ_BYTES];
    let mut at = offset;
    while at < length {
        let count = file.read_at(&mut chunk, at).map_err(io_error("read", path))?;
        if count < header_bytes {
            return Ok(false);
        }
        for start in (0..=count - header_bytes).step_by(8) {
            let candidate = chunk.get(start..).and_then(|bytes| version.decode(bytes));
            if candidate.is_some_and(|header| header.durable_position >= durable_position) {
                return Ok(true);
            }
        }
        // The last header of a chunk may reach into the next.
        at += ((count - header_bytes) as u64 / 8 + 1) * 8;
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
