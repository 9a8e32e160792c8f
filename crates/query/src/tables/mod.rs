//! Typed tables: rows are entries of the machine, found by primary key.
//!
//! `row` has their bytes, `lookup` finds one by its key, `write` keeps keys, unique columns and
//! conditions, `transaction` holds what is written until COMMIT. Beside them: `sequence`, advisory
//! locks (`advisory`), keys as the table `kv`, and the node's own tables (`system`).

pub(crate) mod advisory;
pub(crate) mod kv;
pub(crate) mod sequence;
pub(crate) mod system;

mod lookup;
mod row;
mod transaction;
mod write;

pub(crate) use lookup::{PointLookup, key_of};
pub(crate) use row::{BUCKETS, RowDecoder, bucket_key, bucket_of, damaged};
pub(crate) use transaction::{
    OpenTransaction, Retired, Temporary, Transaction, TransactionHandle, collect_writes,
};
pub(crate) use write::{Assignments, Conflict, Target, UNIQUES_MAX};
pub(crate) use write::{Writer, new_key};

use crate::catalog::TableDefinition;
use crate::error::SqlError;
use crate::values::types::schema_of;
use crate::write::{Write, write_all};
use async_trait::async_trait;
use datafusion::arrow::array::{BinaryViewBuilder, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
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
    /// Whether rows come with their keys, for what changes them.
    with_keys: bool,
}

/// The column with a row's key, for what changes rows.
pub(crate) const KEY: &str = "ctid";
/// Before a table's name: the same with its rows' keys.
pub(crate) const WITH_KEYS: char = '\u{1}';

/// Deletes the rows that stand under a name, and what goes with them.
pub(crate) fn clear(engine: &Engine, storage: &str) -> std::result::Result<(), SqlError> {
    let uniques = (0..write::UNIQUES_MAX).map(|number| write::unique_storage(storage, number));
    for storage in std::iter::once(storage.to_owned()).chain(uniques) {
        let buckets =
            (0..BUCKETS).map(|bucket| Write::Delete { key: bucket_key(&storage, bucket) });
        write_all(engine, &buckets.collect::<Vec<_>>())?;
    }
    Ok(())
}

impl RowTable {
    pub(crate) fn new(engine: &Engine, name: &str, definition: TableDefinition) -> Self {
        let has_key = !definition.primary_key.is_empty();
        let primary = has_key.then(|| Constraint::PrimaryKey(definition.primary_key.clone()));
        Self {
            engine: engine.clone(),
            name: definition.storage(name).into_owned(),
            definition: Arc::new(definition),
            constraints: Constraints::new_unverified(primary.into_iter().collect()),
            with_keys: false,
        }
    }

    /// The same with a last column of its rows' keys.
    pub(crate) fn with_keys(self) -> Self {
        Self { with_keys: true, ..self }
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
        let schema = schema_of(&self.definition.columns);
        if !self.with_keys {
            return schema;
        }
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(Field::new(KEY, DataType::BinaryView, false)));
        Arc::new(Schema::new(fields))
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
                with_keys: self.with_keys,
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
    with_keys: bool,
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
            with_keys: self.with_keys,
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
        let mut keys = BinaryViewBuilder::new();
        let mut pieces = fields.iter();
        while let (Some(key), Some(row)) = (pieces.next(), pieces.next()) {
            if !self.written.contains_key(key) {
                rows.push(row).ok_or_else(|| damaged(&self.table))?;
                if self.with_keys {
                    keys.append_value(key);
                }
            }
        }
        let own = self.written.iter().filter(|(key, _)| match &self.wanted {
            Some(wanted) => wanted == *key,
            None => bucket_of(key) == bucket,
        });
        for (key, row) in own.filter_map(|(key, row)| Some((key, row.as_ref()?))) {
            rows.push(row).ok_or_else(|| damaged(&self.table))?;
            if self.with_keys {
                keys.append_value(key);
            }
        }
        let mut columns = rows.finish();
        if self.with_keys {
            columns.push(Arc::new(keys.finish()));
        }
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|_| damaged(&self.table))
    }
}

/// One row's bytes.
pub(crate) fn read_row(
    engine: &Engine,
    bucket: &[u8],
    key: &[u8],
) -> std::result::Result<Option<Vec<u8>>, SqlError> {
    let mut row = Vec::new();
    let found = engine.enter_blocking(|engine| engine.read_field(bucket, key, &mut row))??;
    Ok(found.then_some(row))
}
