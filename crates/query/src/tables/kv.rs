//! Key-value data as a table, `kv`: strings, hashes (as JSON objects) and the names of streams.

use crate::error::SqlError;
use crate::values::record::ColumnBuilder;
use crate::values::types::{Column, ColumnType, schema_of};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use serde_json::{Map, Value};
use std::sync::Arc;
use thalweg_machine::Reply;
use thalweg_node::Engine;

/// Keys that are looked at in one step.
const STEP: &[u8] = b"1024";
/// Keys of the node itself.
const OWN: &[u8] = b"thalweg:";

pub(crate) fn columns() -> Vec<Column> {
    let column = |name: &str, kind, nullable| Column::plain(name, kind, nullable);
    vec![
        column("key", ColumnType::Text, false),
        column("type", ColumnType::Text, false),
        column("value", ColumnType::Text, true),
        column("expires_at", ColumnType::Timestamptz, true),
    ]
}

/// The table.
#[derive(Clone)]
pub(crate) struct KvTable {
    engine: Engine,
    schema: SchemaRef,
}

impl KvTable {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), schema: schema_of(&columns()) }
    }
}

impl std::fmt::Debug for KvTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KvTable")
    }
}

/// Which keys are asked for.
#[derive(Clone, Debug)]
enum Wanted {
    Keys(Vec<String>),
    All,
}

impl Wanted {
    fn of(filters: &[Expr]) -> Self {
        filters.iter().find_map(Self::of_one).unwrap_or(Self::All)
    }

    fn of_one(filter: &Expr) -> Option<Self> {
        let is_key = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == "key");
        let text = |expr: &Expr| match expr {
            Expr::Literal(ScalarValue::Utf8(text) | ScalarValue::Utf8View(text), _) => text.clone(),
            _ => None,
        };
        match filter {
            Expr::BinaryExpr(binary) if binary.op == Operator::Eq && is_key(&binary.left) => {
                Some(Self::Keys(vec![text(&binary.right)?]))
            }
            Expr::InList(list) if !list.negated && is_key(&list.expr) => {
                Some(Self::Keys(list.list.iter().map(text).collect::<Option<_>>()?))
            }
            _ => None,
        }
    }
}

#[async_trait]
impl TableProvider for KvTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let keys = Keys { table: self.clone(), wanted: Wanted::of(filters) };
        let exec = StreamingTableExec::try_new(
            self.schema.clone(),
            vec![Arc::new(keys)],
            projection,
            Vec::new(),
            false,
            None,
        )?;
        Ok(Arc::new(exec))
    }
}

#[derive(Clone, Debug)]
struct Keys {
    table: KvTable,
    wanted: Wanted,
}

impl PartitionStream for Keys {
    fn schema(&self) -> &SchemaRef {
        &self.table.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.table.schema.clone(), 2);
        let sender = builder.tx();
        let keys = self.clone();
        builder.spawn_blocking(move || {
            if let Wanted::Keys(wanted) = &keys.wanted {
                let mut wanted: Vec<_> =
                    wanted.iter().map(|key| key.clone().into_bytes()).collect();
                // IN may name a key twice.
                wanted.sort_unstable();
                wanted.dedup();
                let _nobody_waits =
                    sender.blocking_send(keys.table.batch(wanted).map_err(Into::into));
                return Ok(());
            }
            let mut cursor = b"0".to_vec();
            loop {
                let reply = call(&keys.table.engine, &[b"SCAN", &cursor, b"COUNT", STEP])?;
                let [next, found] = reply.elements() else { return Ok(()) };
                cursor = next.as_bytes().unwrap_or(b"0").to_vec();
                let found = found.elements().iter().filter_map(Reply::as_bytes);
                let found: Vec<_> =
                    found.filter(|key| !key.starts_with(OWN)).map(<[u8]>::to_vec).collect();
                let batch = keys.table.batch(found)?;
                let nobody_waits = sender.blocking_send(Ok(batch)).is_err();
                if nobody_waits || cursor == b"0" {
                    return Ok(());
                }
            }
        });
        builder.build()
    }
}

fn call(engine: &Engine, args: &[&[u8]]) -> std::result::Result<Reply, SqlError> {
    match engine.call(args)? {
        Reply::Error(error) => Err(error.into()),
        reply => Ok(reply),
    }
}

impl KvTable {
    /// The rows of some keys. A key that has gone meanwhile is left out.
    fn batch(&self, keys: Vec<Vec<u8>>) -> std::result::Result<RecordBatch, SqlError> {
        let mut builders: Vec<ColumnBuilder> =
            columns().iter().map(|column| ColumnBuilder::new(column.kind, keys.len())).collect();
        for key in keys {
            let Some(cells) = self.row(&key)? else { continue };
            for (builder, cell) in builders.iter_mut().zip(cells) {
                match cell {
                    Some(text) if builder.append_text(&text) => {}
                    _ => builder.append_null(),
                }
            }
        }
        let arrays = builders.into_iter().map(ColumnBuilder::finish).collect();
        RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|error| SqlError::from(datafusion::common::DataFusionError::from(error)))
    }

    fn row(&self, key: &[u8]) -> std::result::Result<Option<[Option<Vec<u8>>; 4]>, SqlError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kind = call(&self.engine, &[b"TYPE", key])?;
        let kind = kind.as_bytes().unwrap_or_default().to_vec();
        let value = match kind.as_slice() {
            b"none" => return Ok(None),
            // Another client may have put something else in its place since; then it has no value
            // here.
            b"string" => {
                self.engine.call(&[b"GET", key])?.as_bytes().map(|value| text(value).into_bytes())
            }
            b"hash" => {
                let reply = self.engine.call(&[b"HGETALL", key])?;
                let mut object = Map::new();
                if let Reply::Map(pairs) = &reply {
                    for (field, value) in pairs {
                        if let (Some(field), Some(value)) = (field.as_bytes(), value.as_bytes()) {
                            object.insert(text(field), Value::String(text(value)));
                        }
                    }
                }
                Some(Value::Object(object).to_string().into_bytes())
            }
            _ => None,
        };
        let expires = match self.engine.call(&[b"PEXPIRETIME", key])? {
            Reply::Integer(at_ms) if at_ms >= 0 => Some(at_ms.to_string().into_bytes()),
            _ => None,
        };
        Ok(Some([Some(text(key).into_bytes()), Some(kind), value, expires]))
    }
}
