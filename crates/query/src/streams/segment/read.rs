//! Reading a segment's rows in order, from an ID on.

use super::{ID_MS, ID_SEQUENCE, Segment, Segments, failed};
use crate::error::SqlError;
use bytes::Bytes;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::DataFusionError;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use std::sync::Arc;
use thalweg_machine::StreamId;

/// A segment, open at a place.
pub(crate) struct SegmentReader {
    pub(crate) segment: Arc<Segment>,
    rows: ParquetRecordBatchReader,
    /// All rows up to here have been given.
    position: StreamId,
}

/// Rows of a segment.
pub(crate) struct SegmentRows {
    pub(crate) batch: RecordBatch,
    pub(crate) ms: Int64Array,
    pub(crate) sequence: Int64Array,
    /// The ID up to which the segment has been read.
    pub(crate) last: StreamId,
}

impl SegmentRows {
    pub(crate) fn id(&self, row: usize) -> StreamId {
        StreamId { ms: self.ms.value(row) as u64, sequence: self.sequence.value(row) as u64 }
    }
}

impl SegmentReader {
    /// Opens a segment. With `columns`, only these are read.
    pub(crate) fn open(
        segments: &Segments,
        segment: Arc<Segment>,
        columns: Option<&[String]>,
        batch_rows: usize,
    ) -> Result<Self, SqlError> {
        let place =
            segments.place.as_ref().ok_or_else(|| failed("read a segment", "no folder is set"))?;
        let path =
            StorePath::parse(&segment.file).map_err(|error| failed("read a segment", error))?;
        let action = format!("read the segment {}", segment.file);
        let bytes: Bytes =
            segments.wait(async { place.store.get(&path).await?.bytes().await }, &action)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .map_err(|error| failed(&action, error))?;
        let mask = match columns {
            None => ProjectionMask::all(),
            Some(columns) => {
                let wanted = columns.iter().map(String::as_str).chain([ID_MS, ID_SEQUENCE]);
                ProjectionMask::columns(builder.parquet_schema(), wanted)
            }
        };
        let rows = builder
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()
            .map_err(|error| failed(&action, error))?;
        Ok(Self { segment, rows, position: StreamId::MIN })
    }

    /// Where the reading is.
    pub(crate) fn position(&self) -> StreamId {
        self.position
    }

    /// The next rows above an ID; nothing at the end.
    pub(crate) fn next(&mut self, after: StreamId) -> Result<Option<SegmentRows>, SqlError> {
        for batch in self.rows.by_ref() {
            let batch = batch.map_err(DataFusionError::from)?;
            let ids = |name: &str| -> Result<Int64Array, SqlError> {
                let column = batch.column_by_name(name);
                let column = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
                column.cloned().ok_or_else(|| failed("read a segment", format!("it has no {name}")))
            };
            let (ms, sequence) = (ids(ID_MS)?, ids(ID_SEQUENCE)?);
            let rows = SegmentRows { last: StreamId::MIN, ms, sequence, batch };
            let count = rows.batch.num_rows();
            if count == 0 {
                continue;
            }
            // Only where reading begins is there anything to skip.
            let skip = (0..count).find(|&row| rows.id(row) > after).unwrap_or(count);
            self.position = rows.id(count - 1);
            if skip == count {
                continue;
            }
            let length = count - skip;
            return Ok(Some(SegmentRows {
                batch: rows.batch.slice(skip, length),
                ms: rows.ms.slice(skip, length),
                sequence: rows.sequence.slice(skip, length),
                last: self.position,
            }));
        }
        self.position = self.segment.last();
        Ok(None)
    }
}
