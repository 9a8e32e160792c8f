//! Typed tables: rows are entries of the machine, found by primary key.

mod lookup;
mod row;
mod transaction;
mod write;

pub(crate) use lookup::{PointLookup, key_of};
pub(crate) use row::{BUCKETS, RowDecoder, bucket_key, bucket_of, damaged, encode_key};
pub(crate) use transaction::{Transaction, TransactionHandle};
pub(crate) use write::{Assignments, Conflict, write_rows};

use crate::catalog::TableDefinition;
use crate::error::SqlError;
use crate::types::schema_of;
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_node::{Engine, Packed};

/// Partitions of a scan.
const SCANS: u64 = 4;

/// A typed table.
pub(crate) struct RowTable {
    pub(crate) engine: Engine,
    pub(crate) name: String,
    pub(crate) definition: Arc<TableDefinition>,
    pub(crate) constraints: Constraints,
}

impl RowTable {
    pub(crate) fn new(engine: &Engine, name: &str, definition: TableDefinition) -> Self {
        let primary = Constraint::PrimaryKey(definition.primary_key.clone());
        Self {
            engine: engine.clone(),
            name: name.to_owned(),
            definition: Arc::new(definition),
            constraints: Constraints::new_unverified(vec![primary]),
        }
    }
}

impl std::fmt::Debug for RowTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowTable({})", self.name)
    }
}

/// What a transaction has written: a row, or nothing where it deleted one.
pub(crate) type Written = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[async_trait]
impl TableProvider for RowTable {
    fn schema(&self) -> SchemaRef {
        schema_of(&self.definition.columns)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // They choose what is read; the engine filters again.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = key_of(&self.definition, filters);
        let transaction = state.config().get_extension::<TransactionHandle>();
        let written = match &transaction {
            Some(handle) => {
                let mut transaction = handle.0.lock();
                match &wanted {
                    Some(key) => transaction.watch(&self.name, bucket_of(key))?,
                    None => {
                        (0..BUCKETS).try_for_each(|bucket| transaction.watch(&self.name, bucket))?
                    }
                }
                transaction.written(&self.name)
            }
            None => Written::new(),
        };
        let written = Arc::new(written);
        let schema = self.schema();
        let part = |buckets: Vec<u64>| {
            Arc::new(Part {
                engine: self.engine.clone(),
                table: self.name.clone(),
                definition: self.definition.clone(),
                schema: schema.clone(),
                buckets,
                wanted: wanted.clone(),
                written: written.clone(),
            }) as Arc<dyn PartitionStream>
        };
        let parts = match &wanted {
            Some(key) => vec![part(vec![bucket_of(key)])],
            None => (0..SCANS)
                .map(|scan| part((0..BUCKETS).filter(|bucket| bucket % SCANS == scan).collect()))
                .collect(),
        };
        let limit = if wanted.is_some() { None } else { limit };
        let exec = StreamingTableExec::try_new(
            schema.clone(),
            parts,
            projection,
            Vec::new(),
            false,
            limit,
        )?;
        Ok(Arc::new(exec))
    }
}

/// Some buckets of a table.
struct Part {
    engine: Engine,
    table: String,
    definition: Arc<TableDefinition>,
    schema: SchemaRef,
    buckets: Vec<u64>,
    /// The only row that is asked for.
    wanted: Option<Vec<u8>>,
    written: Arc<Written>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.table, self.buckets)
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let sender = builder.tx();
        let part = Self {
            engine: self.engine.clone(),
            table: self.table.clone(),
            definition: self.definition.clone(),
            schema: self.schema.clone(),
            buckets: self.buckets.clone(),
            wanted: self.wanted.clone(),
            written: self.written.clone(),
        };
        builder.spawn_blocking(move || {
            for &bucket in &part.buckets {
                let batch = part.read(bucket)?;
                if batch.num_rows() > 0 && sender.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

impl Part {
    fn read(&self, bucket: u64) -> std::result::Result<RecordBatch, SqlError> {
        let mut fields = Packed::default();
        let key = bucket_key(&self.table, bucket);
        match &self.wanted {
            Some(wanted) => {
                let row = read_row(&self.engine, &key, wanted)?;
                fields.set(row.iter().flat_map(|row| [wanted.as_slice(), row.as_slice()]));
            }
            None => {
                self.engine.enter_blocking(|engine| engine.read_fields(&key, &mut fields))??
            }
        }
        let mut rows = RowDecoder::new(&self.definition, 1_024);
        let mut pieces = fields.iter();
        while let (Some(key), Some(row)) = (pieces.next(), pieces.next()) {
            if !self.written.contains_key(key) {
                rows.push(row).ok_or_else(|| damaged(&self.table))?;
            }
        }
        let own = self.written.iter().filter(|(key, _)| match &self.wanted {
            Some(wanted) => wanted == *key,
            None => bucket_of(key) == bucket,
        });
        for row in own.filter_map(|(_, row)| row.as_ref()) {
            rows.push(row).ok_or_else(|| damaged(&self.table))?;
        }
        RecordBatch::try_new(self.schema.clone(), rows.finish()).map_err(|_| damaged(&self.table))
    }
}

/// One row's bytes.
pub(crate) fn read_row(
    engine: &Engine,
    bucket: &[u8],
    key: &[u8],
) -> std::result::Result<Option<Vec<u8>>, SqlError> {
    match engine.call(&[b"HGET", bucket, key])? {
        thalweg_machine::Reply::Error(error) => Err(error.into()),
        reply => Ok(reply.as_bytes().map(<[u8]>::to_vec)),
    }
}
