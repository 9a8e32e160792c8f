//! Streams as tables: their history and their tail, as one.

mod append;
mod decode;

pub use append::Appended;
pub(crate) use append::{Appender, Fields, transact_in};
pub(crate) use decode::{Decoder, Misfit, columns_of};

use crate::catalog::StreamDefinition;
use crate::error::SqlError;
use crate::types::loose_schema_of;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_machine::{Reply, StreamId};
use thalweg_node::{Engine, RecordBlock};

/// Records and bytes that are copied under a partition's lock at a time.
pub(crate) const BLOCK_RECORDS: usize = 8_192;
pub(crate) const BLOCK_BYTES: usize = 4 << 20;

/// A stream as a table.
pub(crate) struct StreamTable {
    pub(crate) engine: Engine,
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

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let partitions = (0..self.definition.partitions).map(|partition| {
            Arc::new(Partition {
                engine: self.engine.clone(),
                key: self.definition.key(&self.name, partition),
                number: partition,
                definition: self.definition.clone(),
                schema: schema.clone(),
            }) as Arc<dyn PartitionStream>
        });
        let exec = StreamingTableExec::try_new(
            schema.clone(),
            partitions.collect(),
            projection,
            Vec::new(),
            false,
            limit,
        )?;
        Ok(Arc::new(exec))
    }
}

/// A partition of a stream, from its beginning to where it ends when the reading begins.
struct Partition {
    engine: Engine,
    key: String,
    number: u16,
    definition: Arc<StreamDefinition>,
    schema: SchemaRef,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.key)
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let sender = builder.tx();
        let (engine, key, number) = (self.engine.clone(), self.key.clone(), self.number);
        let mut decoder = Decoder::new(&self.definition);
        builder.spawn_blocking(move || {
            let mut block = RecordBlock::default();
            let mut after = StreamId::MIN;
            let mut end = None;
            loop {
                read_block(&engine, &key, after, BLOCK_RECORDS, &mut block)?;
                let end = *end.get_or_insert(block.last);
                let Some(&last) = block.ids.last() else { return Ok(()) };
                after = last;
                let (batch, _misfits) = decoder.decode(&block, number);
                // Nobody wants the rest.
                if sender.blocking_send(Ok(batch)).is_err() || last >= end {
                    return Ok(());
                }
            }
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

/// What XINFO STREAM says of a partition: names and values as text. Of one that does not exist, nothing.
pub(crate) fn info(engine: &Engine, key: &str) -> BTreeMap<String, String> {
    let text = |reply: &Reply| match reply {
        Reply::Integer(number) => number.to_string(),
        other => String::from_utf8_lossy(other.as_bytes().unwrap_or_default()).into_owned(),
    };
    let Ok(reply) = engine.call(&[b"XINFO", b"STREAM", key.as_bytes()]) else {
        return BTreeMap::new();
    };
    match &reply {
        Reply::Map(pairs) => pairs.iter().map(|(name, value)| (text(name), text(value))).collect(),
        other => other
            .elements()
            .chunks(2)
            .filter_map(|pair| Some((text(pair.first()?), text(pair.get(1)?))))
            .collect(),
    }
}
