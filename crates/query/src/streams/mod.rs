//! Streams as tables: their history and their tail, as one.
//!
//! `append` deals records out to partitions, `body` takes them from requests, `admission` looks at
//! those of Redis clients. `decode` makes columns of records, `read` reads both ends, `segment`
//! holds the older one, `marks` says how far event time goes on without a silent partition.

pub(crate) mod admission;
pub(crate) mod body;
pub(crate) mod segment;

mod append;
mod decode;
mod marks;
mod read;

pub use append::Appended;
pub(crate) use append::{Appender, Fields, misfit, partition_of};
pub(crate) use decode::{Decoder, Misfit, columns_of, fields_as_json};
pub(crate) use marks::{Mark, forget as forget_marks};
pub(crate) use read::{PartitionReader, pick};

use crate::catalog::StreamDefinition;
use crate::error::SqlError;
use crate::streams::segment::Segments;
use crate::values::types::loose_schema_of;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_machine::{Reply, StreamId};
use thalweg_node::{Engine, RecordBlock};

/// Records and bytes that are copied under a partition's lock at a time.
pub(crate) const BLOCK_RECORDS: usize = 8_192;
const BLOCK_BYTES: usize = 4 << 20;
/// Segments whose files are asked for side by side: an object store is far away.
const CHECKS_AT_ONCE: usize = 16;

/// A stream as a table.
#[derive(Clone)]
pub(crate) struct StreamTable {
    pub(crate) engine: Engine,
    pub(crate) segments: Arc<Segments>,
    pub(crate) name: String,
    pub(crate) definition: Arc<StreamDefinition>,
}

impl std::fmt::Debug for StreamTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamTable({})", self.name)
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        loose_schema_of(&columns_of(&self.definition))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // They choose segments and parts of them; rows are looked at by whoever asks.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let mut files = Vec::new();
        let mut partitions = Vec::new();
        for number in 0..self.definition.partitions {
            let key = self.definition.key(&self.name, number);
            let list = self.segments.list(&key);
            let after = list.last().map_or(StreamId::MIN, |segment| segment.last());
            let checks = list.iter().cloned().map(|segment| {
                let segments = self.segments.clone();
                async move { segments.check(&segment).await }
            });
            let checks: Vec<_> = checks.collect();
            let checks = futures_util::stream::iter(checks).buffered(CHECKS_AT_ONCE);
            files.extend(checks.try_collect::<Vec<_>>().await?);
            let (table, schema) = (self.clone(), schema.clone());
            let tail = Tail { table, key, number, after, schema };
            partitions.push(Arc::new(tail) as Arc<dyn PartitionStream>);
        }
        // A limit counts rows before the filter above: only without one it is the scan's.
        let limit = limit.filter(|_| filters.is_empty());
        let tail = StreamingTableExec::try_new(
            schema.clone(),
            partitions,
            projection,
            Vec::new(),
            false,
            limit,
        )?;
        if files.is_empty() {
            return Ok(Arc::new(tail));
        }
        let urls = files.iter().map(ListingTableUrl::parse);
        let config = ListingTableConfig::new_with_multi_paths(urls.collect::<Result<_>>()?)
            .with_listing_options(ListingOptions::new(Arc::new(ParquetFormat::default())))
            .with_schema(schema);
        let sealed = ListingTable::try_new(config)?.scan(state, projection, filters, limit).await?;
        UnionExec::try_new(vec![sealed, Arc::new(tail)])
    }
}

/// The records of a partition that were not sealed when the query was planned, to where it ends
/// when the reading begins.
struct Tail {
    table: StreamTable,
    key: String,
    number: u16,
    after: StreamId,
    schema: SchemaRef,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.key)
    }
}

impl PartitionStream for Tail {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let sender = builder.tx();
        let table = &self.table;
        let mut reader = PartitionReader::new(
            &table.engine,
            &table.segments,
            (self.key.clone(), self.number),
            &table.definition,
            None,
        );
        let mut after = self.after;
        let schema = self.schema.clone();
        builder.spawn_blocking(move || {
            let end = reader.last_id()?;
            while after < end {
                let Some(piece) = reader.next(after, BLOCK_RECORDS)? else { return Ok(()) };
                after = piece.last;
                // Nobody wants the rest.
                if sender.blocking_send(Ok(pick(&piece.batch, &schema)?)).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// Reads records above an ID, and waits until they are durable.
pub(crate) fn read_block(
    engine: &Engine,
    key: &str,
    after: StreamId,
    records_max: usize,
    block: &mut RecordBlock,
) -> std::result::Result<(), SqlError> {
    engine.enter_blocking(|engine| {
        engine.read_records(key.as_bytes(), after, records_max, BLOCK_BYTES, block)
    })??;
    Ok(())
}

/// What XINFO STREAM says of a partition: names and values as text. Of one that does not exist,
/// nothing.
pub(crate) fn info(engine: &Engine, key: &str) -> BTreeMap<String, String> {
    describe(engine, &[b"XINFO", b"STREAM", key.as_bytes()])
}

/// What a command says that describes one thing.
pub(crate) fn describe(engine: &Engine, args: &[&[u8]]) -> BTreeMap<String, String> {
    engine.call(args).map(|reply| texts_of(&reply)).unwrap_or_default()
}

/// The same of a command that describes several things.
pub(crate) fn info_rows(engine: &Engine, args: &[&[u8]]) -> Vec<BTreeMap<String, String>> {
    let reply = engine.call(args);
    reply.map(|reply| reply.elements().iter().map(texts_of).collect()).unwrap_or_default()
}

fn texts_of(reply: &Reply) -> BTreeMap<String, String> {
    let text = |reply: &Reply| match reply {
        Reply::Integer(number) => number.to_string(),
        other => String::from_utf8_lossy(other.as_bytes().unwrap_or_default()).into_owned(),
    };
    match reply {
        Reply::Map(pairs) => pairs.iter().map(|(name, value)| (text(name), text(value))).collect(),
        other => other
            .elements()
            .chunks(2)
            .filter_map(|pair| Some((text(pair.first()?), text(pair.get(1)?))))
            .collect(),
    }
}
