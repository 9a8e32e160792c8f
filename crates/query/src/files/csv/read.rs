//! A CSV file of this machine, or a range of one, as batches.

use super::decode::{Decoder, Layout, Stop};
use super::marks::Special;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Decoder as ArrowDecoder;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    CsvOpener, CsvSource, FileOpenFuture, FileOpener, FileSource,
};
use futures_util::StreamExt;
use object_store::{GetOptions, GetResultPayload, ObjectStore};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const BLOCK_BYTES: usize = 256 << 10;
/// A longer line is not plain.
const LINE_MAX_BYTES: usize = 4 << 20;
/// What some programs begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Opens files.
pub(super) struct Opener {
    pub(super) csv: CsvSource,
    pub(super) layout: Layout,
    /// The columns that are wanted.
    pub(super) indices: Vec<usize>,
    pub(super) batch_rows: usize,
    pub(super) store: Arc<dyn ObjectStore>,
}

impl Opener {
    /// Arrow's reader, for what is not plain.
    fn arrow(&self) -> ReaderBuilder {
        ReaderBuilder::new(self.csv.table_schema().file_schema().clone())
            .with_delimiter(self.csv.delimiter())
            .with_quote(self.csv.quote())
            .with_batch_size(self.batch_rows)
            .with_projection(self.indices.clone())
    }
}

impl FileOpener for Opener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let store = self.store.clone();
        let elsewhere = CsvOpener::new(
            Arc::new(self.csv.clone()),
            FileCompressionType::UNCOMPRESSED,
            store.clone(),
        );
        let (layout, builder) = (self.layout.clone(), self.arrow());
        let (batch_rows, has_header) = (self.batch_rows, self.csv.has_header());
        Ok(Box::pin(async move {
            let location = &file.object_meta.location;
            // A file of this machine comes open; of others only the head is asked for.
            let options = GetOptions { head: true, ..GetOptions::default() };
            let result = store.get_opts(location, options).await?;
            let GetResultPayload::File(handle, _) = result.payload else {
                return elsewhere.open(file)?.await;
            };
            let size = file.object_meta.size;
            let (start, end) = file
                .range
                .as_ref()
                .map_or((0, size), |range| (range.start.max(0) as u64, range.end.max(0) as u64));
            let mut batches = Batches {
                position: line_at(&handle, start, size)?,
                end: line_at(&handle, end, size)?,
                file: handle,
                buffer: Vec::new(),
                used: 0,
                decoder: Decoder::new(&layout, batch_rows),
                builder: Some(builder),
                fields: layout.fields,
                special: layout.special,
                skips_header: has_header && start == 0,
                arrow: None,
                arrow_from: 0,
                begins: start == 0,
                ended_line: false,
                failed: false,
            };
            Ok(futures_util::stream::iter(std::iter::from_fn(move || batches.next())).boxed())
        }))
    }
}

/// Where the first line begins whose first byte is here or behind.
fn line_at(file: &File, position: u64, size: u64) -> Result<u64> {
    if position == 0 || position >= size {
        return Ok(position.min(size));
    }
    let mut at = position - 1;
    let mut piece = [0u8; 4_096];
    loop {
        let count = file.read_at(&mut piece, at)?;
        let read = piece.get(..count).unwrap_or_default();
        match read.iter().position(|&byte| byte == b'\n') {
            Some(newline) => return Ok(at + newline as u64 + 1),
            None if count == 0 => return Ok(size),
            None => at += count as u64,
        }
    }
}

/// How many fields a header has; nothing where one has a quote and more than quotes around it.
fn header_fields(mut text: &[u8], special: Special) -> Option<usize> {
    for fields in 1.. {
        let length = if text.first() == Some(&special.quote) {
            text.iter().skip(1).position(|&byte| byte == special.quote)? + 2
        } else {
            let delimiter = text.iter().position(|&byte| byte == special.delimiter);
            delimiter.unwrap_or(text.len())
        };
        let (_, rest) = text.split_at_checked(length)?;
        match rest.split_first() {
            None => return Some(fields),
            Some((&byte, behind)) if byte == special.delimiter => text = behind,
            Some(_) => return None,
        }
    }
    None
}

/// Arrow's reader counts lines from where it began.
fn said_from(error: ArrowError, from: u64) -> DataFusionError {
    let said = |message: String| match from {
        0 => message,
        _ => format!("{message} (lines counted from byte {from} of the file)"),
    };
    DataFusionError::from(match error {
        ArrowError::ParseError(message) => ArrowError::ParseError(said(message)),
        ArrowError::CsvError(message) => ArrowError::CsvError(said(message)),
        other => other,
    })
}

/// A range of a file, read block by block.
struct Batches {
    file: File,
    /// What has been read of the file, and to where it is to be read.
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// How much of the buffer is done.
    used: usize,
    decoder: Decoder,
    builder: Option<ReaderBuilder>,
    /// How many fields a line has.
    fields: usize,
    special: Special,
    skips_header: bool,
    /// Reads what is left, after the first line that is not plain.
    arrow: Option<ArrowDecoder>,
    /// Where in the file it began.
    arrow_from: u64,
    /// Nothing of the file has been looked at.
    begins: bool,
    /// The end of the last line is ours.
    ended_line: bool,
    failed: bool,
}

impl Batches {
    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if self.failed {
            return None;
        }
        let batch = match self.arrow {
            None => self.next_plain(),
            Some(_) => self.next_arrow(),
        };
        self.failed = batch.is_err();
        batch.transpose()
    }

    fn next_plain(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.position == 0 && !self.fill()? {
                return Ok(None);
            }
            if self.begins && self.buffer.starts_with(BYTE_ORDER_MARK) {
                return self.give_up_plain();
            }
            self.begins = false;
            if self.skips_header {
                match self.skip_header() {
                    Some(true) => {}
                    Some(false) => return self.give_up_plain(),
                    None if self.buffer.len() - self.used > LINE_MAX_BYTES => {
                        return self.give_up_plain();
                    }
                    None if self.fill()? => continue,
                    None => return Ok(None),
                }
            }
            let fresh = self.buffer.get(self.used..).unwrap_or_default();
            let (used, stop) = self.decoder.decode(fresh);
            self.used += used;
            match stop {
                Stop::Full => return self.decoder.finish().map(Some),
                Stop::Drained if self.buffer.len() - self.used > LINE_MAX_BYTES => {
                    return self.give_up_plain();
                }
                Stop::Drained if self.fill()? => {}
                Stop::Drained if self.decoder.rows() > 0 => return self.decoder.finish().map(Some),
                Stop::Drained => return Ok(None),
                Stop::NotPlain => return self.give_up_plain(),
            }
        }
    }

    /// Leaves the rest to Arrow's reader.
    fn give_up_plain(&mut self) -> Result<Option<RecordBatch>> {
        if std::mem::take(&mut self.ended_line) {
            self.buffer.pop();
        }
        let builder = self.builder.take().map(|builder| builder.with_header(self.skips_header));
        self.arrow = builder.map(ReaderBuilder::build_decoder);
        self.arrow_from = self.position - (self.buffer.len() - self.used) as u64;
        if let Some(arrow) = &mut self.arrow
            && self.arrow_from > 0
        {
            // It takes what it is given first for the beginning of a file, and a byte order mark
            // there for nothing. So is an empty line.
            arrow.decode(b"\n").map_err(DataFusionError::from)?;
        }
        match self.decoder.rows() {
            0 => self.next_arrow(),
            _ => self.decoder.finish().map(Some),
        }
    }

    /// Leaves out the first line; false if that is not what a header is, nothing if it is not all
    /// there yet.
    fn skip_header(&mut self) -> Option<bool> {
        let fresh = self.buffer.get(self.used..)?;
        let newline = fresh.iter().position(|&byte| byte == b'\n')?;
        let header = fresh.get(..newline)?;
        let text = header.strip_suffix(b"\r").unwrap_or(header);
        // Behind an empty line comes the header still, and `\r` may be the end of a line.
        let fits = header_fields(text, self.special) == Some(self.fields);
        if text.is_empty() || !fits || text.contains(&b'\r') {
            return Some(false);
        }
        self.used += newline + 1;
        self.skips_header = false;
        Some(true)
    }

    fn next_arrow(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            // Given nothing, it takes this for the end.
            let ended = self.used >= self.buffer.len() && !self.fill()?;
            let fresh = self.buffer.get(self.used..).unwrap_or_default();
            let Some(arrow) = &mut self.arrow else { return Ok(None) };
            let from = self.arrow_from;
            let failed = |error| said_from(error, from);
            self.used += arrow.decode(fresh).map_err(failed)?;
            if ended || arrow.capacity() == 0 {
                return arrow.flush().map_err(failed);
            }
        }
    }

    /// Reads more; false at the end. A last line without an end is given one.
    fn fill(&mut self) -> Result<bool> {
        let left = self.end.saturating_sub(self.position);
        if left == 0 {
            return Ok(false);
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let kept = self.buffer.len();
        let wanted = left.min(BLOCK_BYTES as u64) as usize;
        self.buffer.resize(kept + wanted, 0);
        let target = self.buffer.get_mut(kept..).unwrap_or_default();
        let count = self.file.read_at(target, self.position)?;
        self.buffer.truncate(kept + count);
        self.position += count as u64;
        if count == 0 {
            // The file has become shorter meanwhile.
            self.position = self.end;
        }
        let ended = self.position >= self.end;
        if ended && self.arrow.is_none() && self.buffer.last().is_some_and(|&byte| byte != b'\n') {
            self.buffer.push(b'\n');
            self.ended_line = true;
        }
        Ok(true)
    }
}
