//! Reads a partition's records in order, those in segments and those that are still in the entry.

use super::marks::{self, Mark, Marks};
use super::{Decoder, Fields, Misfit};
use crate::catalog::StreamDefinition;
use crate::error::{SqlError, SqlState};
use crate::streams::segment::{REST, Segment, SegmentReader, SegmentRows, Segments};
use crate::values::record::put_text;
use datafusion::arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use std::sync::Arc;
use thalweg_machine::{StreamId, unpack_fields};
use thalweg_node::{Engine, RecordBlock};

/// Reads one partition.
pub(crate) struct PartitionReader {
    engine: Engine,
    segments: Arc<Segments>,
    key: String,
    number: u16,
    /// The columns that are wanted of segments; nothing: all.
    columns: Option<Vec<String>>,
    decoder: Decoder,
    block: RecordBlock,
    open: Option<SegmentReader>,
    /// Rows of the last piece, where it was of a segment.
    rows: Option<SegmentRows>,
    marks: Marks,
}

/// What was read at once.
pub(crate) struct Piece {
    /// The records that fit. Of a segment, only the columns that are wanted, and the segment's own.
    pub(crate) batch: RecordBatch,
    pub(crate) misfits: Vec<Misfit>,
    /// The partition has been read up to here.
    pub(crate) last: StreamId,
}

impl PartitionReader {
    pub(crate) fn new(
        engine: &Engine,
        segments: &Arc<Segments>,
        (key, number): (String, u16),
        definition: &StreamDefinition,
        columns: Option<Vec<String>>,
    ) -> Self {
        Self {
            engine: engine.clone(),
            segments: segments.clone(),
            key,
            number,
            columns,
            decoder: Decoder::new(definition),
            block: RecordBlock::default(),
            open: None,
            rows: None,
            marks: Marks::default(),
        }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The ID of the partition's last record.
    pub(crate) fn last_id(&mut self) -> Result<StreamId, SqlError> {
        super::read_block(&self.engine, &self.key, StreamId::MAX, 1, &mut self.block)?;
        // A stream that was deleted as a key may still have its segments.
        Ok(self.block.last.max(self.segments.sealed_to(&self.key)))
    }

    /// The records above an ID, so many at most; nothing where there are none.
    pub(crate) fn next(
        &mut self,
        after: StreamId,
        records_max: usize,
    ) -> Result<Option<Piece>, SqlError> {
        loop {
            if let Some(segment) = self.segments.above(&self.key, after) {
                return self.next_sealed(segment, after, records_max).map(Some);
            }
            self.open = None;
            self.rows = None;
            super::read_block(&self.engine, &self.key, after, records_max, &mut self.block)?;
            // What was sealed while we looked may have been trimmed before we did.
            if self.segments.sealed_to(&self.key) > after {
                continue;
            }
            let Some(&last) = self.block.ids.last() else { return Ok(None) };
            let (batch, misfits) = self.decoder.decode(&self.block, self.number);
            return Ok(Some(Piece { batch, misfits, last }));
        }
    }

    fn next_sealed(
        &mut self,
        segment: Arc<Segment>,
        after: StreamId,
        records_max: usize,
    ) -> Result<Piece, SqlError> {
        let goes_on = self
            .open
            .as_ref()
            .is_some_and(|open| open.segment == segment && open.position() <= after);
        if !goes_on {
            let columns = self.columns.as_deref();
            self.open =
                Some(SegmentReader::open(&self.segments, segment.clone(), columns, records_max)?);
        }
        let rows = match &mut self.open {
            Some(open) => open.next(after)?,
            None => None,
        };
        let piece = match &rows {
            Some(rows) => Piece { batch: rows.batch.clone(), misfits: Vec::new(), last: rows.last },
            // What follows its last row did not fit its columns.
            None => Piece {
                batch: self.decoder.decode(&RecordBlock::default(), self.number).0,
                misfits: Vec::new(),
                last: segment.last(),
            },
        };
        self.rows = rows;
        Ok(piece)
    }

    /// The marks between an ID and the last record of the piece that was read above it: each with
    /// the first row of the piece that it stands before, and its watermark.
    pub(crate) fn marks(
        &mut self,
        after: StreamId,
        piece: &Piece,
    ) -> Result<Vec<(usize, i64)>, SqlError> {
        let span = (after, piece.last);
        let found = self.marks.between(&self.engine, &self.key, span)?;
        let row_after = |id: StreamId| match &self.rows {
            Some(rows) => (0..piece.batch.num_rows()).take_while(|&row| rows.id(row) <= id).count(),
            None => {
                let records = self.block.ids.partition_point(|&record| record <= id);
                records - piece.misfits.partition_point(|misfit| misfit.id <= id)
            }
        };
        Ok(found.iter().map(|mark| (row_after(mark.after), mark.watermark_us)).collect())
    }

    /// The watermark of the marks up to the last record, which is `last`.
    pub(crate) fn marked_us(&self, last: StreamId) -> Result<Option<i64>, SqlError> {
        marks::up_to(&self.engine, &self.key, last)
    }

    /// The last ID that was given out.
    pub(crate) fn newest_id(&self) -> Result<StreamId, SqlError> {
        Ok(marks::newest(&self.engine, &self.key)?.max(self.segments.sealed_to(&self.key)))
    }

    /// Writes a mark, unless a record came meanwhile.
    pub(crate) fn append_mark(&mut self, mark: Mark) -> Result<bool, SqlError> {
        let (engine, key) = (self.engine.clone(), self.key.clone());
        marks::append(&engine, &key, mark, || self.first_id())
    }

    /// The ID of the partition's first record.
    fn first_id(&self) -> Result<StreamId, SqlError> {
        if let Some(segment) = self.segments.list(&self.key).first() {
            return Ok(segment.first());
        }
        let mut block = RecordBlock::default();
        super::read_block(&self.engine, &self.key, StreamId::MIN, 1, &mut block)?;
        Ok(block.ids.first().copied().unwrap_or(StreamId::MIN))
    }

    /// Some of the last piece's records as they were appended, with their IDs, by their positions
    /// in its batch.
    pub(crate) fn records(
        &self,
        positions: &[usize],
        misfits: &[Misfit],
    ) -> Result<Vec<(StreamId, Fields)>, SqlError> {
        let Some(rows) = &self.rows else {
            // Positions count the records that fit.
            let fits =
                |id: StreamId| misfits.binary_search_by_key(&id, |misfit| misfit.id).is_err();
            let fits: Vec<_> = self.block.iter().filter(|(id, _)| fits(*id)).collect();
            let found = positions.iter().filter_map(|&position| fits.get(position));
            return Ok(found.map(|&(id, fields)| (id, owned(fields))).collect());
        };
        let ids: Vec<StreamId> = positions.iter().map(|&row| rows.id(row)).collect();
        let (Some(first), Some(open)) = (ids.iter().min(), &self.open) else {
            return Ok(Vec::new());
        };
        let mut all = SegmentReader::open(&self.segments, open.segment.clone(), None, 8_192)?;
        let mut after = first.previous().unwrap_or(StreamId::MIN);
        let mut records = Vec::with_capacity(ids.len());
        while records.len() < ids.len() {
            let Some(rows) = all.next(after)? else { break };
            after = rows.last;
            for row in 0..rows.batch.num_rows() {
                if ids.contains(&rows.id(row)) {
                    records.push((rows.id(row), fields_of(&rows.batch, row)));
                }
            }
        }
        Ok(records)
    }
}

fn owned(fields: &[u8]) -> Fields {
    let mut out = Fields::new();
    let mut pieces = unpack_fields(fields);
    while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
        out.push((name.to_vec(), value.to_vec()));
    }
    out
}

/// Some columns of a batch, by their names.
pub(crate) fn pick(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let columns = schema.fields().iter().map(|field| batch.column_by_name(field.name()).cloned());
    let columns = columns.collect::<Option<Vec<_>>>().ok_or_else(|| {
        SqlError::new(SqlState::Internal, "a segment lacks a column of its stream")
    })?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| DataFusionError::from(error).into())
}

/// A segment's row as the fields of a record.
fn fields_of(batch: &RecordBatch, row: usize) -> Fields {
    let mut out = Fields::new();
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let name = field.name().as_str();
        if name.starts_with('_') && name != REST || column.is_null(row) {
            continue;
        }
        if name == REST || name == "data" && schema.column_with_name("_partition").is_some() {
            let text = column.as_string_view_opt().map(|texts| texts.value(row));
            let object =
                text.and_then(|text| serde_json::from_str::<serde_json::Map<_, _>>(text).ok());
            for (name, value) in object.into_iter().flatten() {
                let value: serde_json::Value = value;
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                out.push((name.into_bytes(), value.into_bytes()));
            }
            continue;
        }
        let mut value = Vec::new();
        if put_text(&mut value, column.as_ref(), row).is_some() {
            out.push((name.as_bytes().to_vec(), value));
        }
    }
    out
}
