//! The node's own tables, schema `sys`. Their columns' descriptions are the documentation:
//! `sys.columns` shows them, and the page in `docs/` is rendered from this table.

use crate::catalog::{Definition, Partitioner, gone};
use crate::database::Inner;
use crate::values::record::ColumnBuilder;
use crate::values::types::{Column, ColumnType, schema_of};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::{Arc, Weak};

type Row = Vec<Option<String>>;

/// A system table.
pub(crate) struct SystemTable {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) columns: &'static [(&'static str, ColumnType, &'static str)],
    rows: fn(&Inner) -> Vec<Row>,
}

use ColumnType::{Bigint, Boolean, Text, Timestamptz};

/// Every system table.
pub(crate) const TABLES: &[SystemTable] = &[
    SystemTable {
        name: "partitions",
        description: "The partitions of the node",
        columns: &[
            ("partition", Bigint, "its number"),
            ("first_slot", Bigint, "the first of its slots (CRC16 of the key, modulo 16384)"),
            ("last_slot", Bigint, "the last of its slots"),
            ("keys", Bigint, "keys, in memory or not"),
            ("hot_keys", Bigint, "keys in memory"),
            ("memory_bytes", Bigint, "memory its entries use"),
            ("last_lsn", Bigint, "position of the last change"),
            ("checkpoint_lsn", Bigint, "changes up to here are in the checkpoint store"),
            ("reads", Bigint, "reads since the node started"),
            ("writes", Bigint, "writes since the node started"),
        ],
        rows: partitions,
    },
    SystemTable {
        name: "streams",
        description: "Declared streams, a row for each of their partitions",
        columns: &[
            ("stream", Text, "its name"),
            ("partition", Bigint, "number of the partition"),
            ("key", Text, "the key that holds it for Redis clients"),
            ("records", Bigint, "records that are entries of the node: in memory and its log"),
            ("sealed_records", Bigint, "older records, in segments"),
            ("segments", Bigint, "how many segments"),
            ("segments_bytes", Bigint, "size of their files"),
            (
                "segments_folder",
                Text,
                "where the files are; any program that knows Parquet may read them",
            ),
            ("last_id", Text, "ID of the last record"),
            ("groups", Bigint, "consumer groups"),
            ("partitioned_by", Text, "how records find their partition"),
            ("columns", Text, "columns and their types; empty: none are declared"),
        ],
        rows: streams,
    },
    SystemTable {
        name: "views",
        description: "Materialized views, which are kept up to date as records arrive",
        columns: &[
            ("view", Text, "its name"),
            ("source", Text, "what it reads"),
            (
                "state",
                Text,
                "backfill, live, paused, starved (the views' memory is spent), done (its files are \
                 read) or failed",
            ),
            ("rows_in", Bigint, "records it has taken in"),
            ("groups", Bigint, "groups in its state"),
            ("memory_bytes", Bigint, "memory its state uses, about"),
            ("lag", Bigint, "records of its streams that it has not taken in yet"),
            ("watermark", Timestamptz, "event time up to which it takes records as complete"),
            ("late", Bigint, "records that came too late to count"),
            ("misfits", Bigint, "records that do not fit the stream's columns"),
            ("checkpoint_ms", Bigint, "how long the last checkpoint took"),
            ("error", Text, "why it stopped, if it did"),
            ("query", Text, "its query"),
        ],
        rows: views,
    },
    SystemTable {
        name: "clients",
        description: "Connections, over all doors",
        columns: &[
            ("id", Bigint, "the connection's number"),
            ("door", Text, "resp or postgres"),
            ("address", Text, "where it comes from"),
            ("connected_at", Timestamptz, "since when"),
            ("name", Text, "what it calls itself"),
        ],
        rows: clients,
    },
    SystemTable {
        name: "settings",
        description: "The settings of the node, as they are now",
        columns: &[
            ("name", Text, "the setting"),
            ("value", Text, "its value; a secret is not shown"),
            ("default_value", Text, "what it is where nobody says anything"),
            (
                "source",
                Text,
                "where it comes from: command line, environment, file, CONFIG SET or default",
            ),
            ("can_change", Boolean, "whether CONFIG SET changes it while the node runs"),
            ("description", Text, "what it does"),
        ],
        rows: |inner| (inner.sources.settings)(),
    },
    SystemTable {
        name: "slow_queries",
        description: "The slowest recent SQL statements, newest first",
        columns: &[
            ("at", Timestamptz, "when it ended"),
            ("duration_us", Bigint, "how long it took"),
            ("rows", Bigint, "rows in its answer"),
            ("sql", Text, "the statement, shortened"),
        ],
        rows: slow_queries,
    },
    SystemTable {
        name: "columns",
        description: "The columns of the tables in this schema, and what they mean",
        columns: &[
            ("table", Text, "the table"),
            ("column", Text, "the column"),
            ("type", Text, "its type"),
            ("description", Text, "what it says"),
        ],
        rows: |_| columns(),
    },
];

/// A table as it is when it is read, and not when a statement that names it is prepared.
pub(crate) struct Reading {
    inner: Weak<Inner>,
    table: &'static SystemTable,
    columns: Vec<Column>,
    schema: SchemaRef,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.table.name)
    }
}

impl Reading {
    pub(crate) fn new(table: &'static SystemTable, inner: Weak<Inner>) -> Self {
        let columns = table.columns.iter();
        let columns: Vec<Column> =
            columns.map(|&(name, kind, _)| Column::plain(name, kind, true)).collect();
        Self { inner, table, schema: schema_of(&columns), columns }
    }

    fn batch(&self) -> Result<RecordBatch> {
        let inner = self.inner.upgrade().ok_or_else(gone)?;
        let rows = (self.table.rows)(&inner);
        let builder = |column: &Column| ColumnBuilder::new(column.kind, rows.len());
        let mut builders: Vec<ColumnBuilder> = self.columns.iter().map(builder).collect();
        for row in rows {
            let mut cells = row.into_iter();
            for builder in &mut builders {
                match cells.next().flatten() {
                    Some(text) if builder.append_text(text.as_bytes()) => {}
                    _ => builder.append_null(),
                }
            }
        }
        let arrays = builders.into_iter().map(ColumnBuilder::finish).collect();
        Ok(RecordBatch::try_new(self.schema.clone(), arrays)?)
    }
}

#[async_trait]
impl TableProvider for Reading {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = MemTable::try_new(self.schema.clone(), vec![vec![self.batch()?]])?;
        table.scan(state, projection, filters, limit).await
    }
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn clients(inner: &Inner) -> Vec<Row> {
    let mut rows = (inner.sources.clients)();
    for seen in inner.backends.list() {
        let row = [some(seen.pid), some("postgres"), some(seen.address), some(seen.since_ms), None];
        rows.push(row.to_vec());
    }
    rows
}

fn partitions(inner: &Inner) -> Vec<Row> {
    let report = inner.engine.report();
    let row = |partition: &thalweg_node::PartitionReport| {
        vec![
            some(partition.number),
            some(partition.slots.0),
            some(partition.slots.1),
            some(partition.keys),
            some(partition.hot_keys),
            some(partition.memory_bytes),
            some(partition.last_lsn),
            some(partition.checkpoint_lsn),
            some(partition.reads),
            some(partition.writes),
        ]
    };
    report.partitions.iter().map(row).collect()
}

fn streams(inner: &Inner) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, definition) in inner.catalog.list() {
        let Definition::Stream(stream) = definition.as_ref() else { continue };
        let partitioned_by = match &stream.partitioner {
            Partitioner::Hash(column) => format!("hash({column})"),
            Partitioner::RoundRobin => "round robin".to_owned(),
            Partitioner::Random => "random".to_owned(),
            Partitioner::Range(column, bounds) => format!("range({column}) {bounds:?}"),
        };
        let columns =
            stream.columns.iter().map(|column| format!("{} {}", column.name, column.kind.name()));
        let columns = columns.collect::<Vec<_>>().join(", ");
        for partition in 0..stream.partitions {
            let key = stream.key(&name, partition);
            let info = crate::streams::info(&inner.engine, &key);
            let field = |wanted: &str| info.get(wanted).cloned();
            let list = inner.segments.list(&key);
            let folder = list.last().and_then(|segment| inner.segments.location_of(segment));
            let folder = folder.and_then(|file| Some(file.rsplit_once('/')?.0.to_owned()));
            rows.push(vec![
                some(&name),
                some(partition),
                some(&key),
                field("length").or(some(0)),
                some(list.iter().map(|segment| segment.records).sum::<u64>()),
                some(list.len()),
                some(list.iter().map(|segment| segment.bytes).sum::<u64>()),
                folder,
                field("last-generated-id"),
                field("groups").or(some(0)),
                some(&partitioned_by),
                some(&columns),
            ]);
        }
    }
    rows
}

fn views(inner: &Inner) -> Vec<Row> {
    let reports = inner.views.reports().into_iter();
    let row = |report: crate::views::ViewReport| {
        vec![
            some(report.name),
            some(report.source),
            some(report.state),
            some(report.rows_in),
            some(report.groups),
            some(report.memory_bytes),
            some(report.lag),
            report.watermark_us.map(|us| us.div_euclid(1_000).to_string()),
            some(report.late),
            some(report.misfits),
            some(report.checkpoint_ms),
            report.error,
            some(report.query),
        ]
    };
    reports.map(row).collect()
}

fn slow_queries(inner: &Inner) -> Vec<Row> {
    let slow = inner.slow_queries.lock();
    let row = |query: &crate::database::SlowQuery| {
        vec![some(query.ended_ms), some(query.duration_us), some(query.rows), some(&query.sql)]
    };
    slow.iter().rev().map(row).collect()
}

fn columns() -> Vec<Row> {
    let tables = TABLES.iter().flat_map(|table| {
        table.columns.iter().map(|&(name, kind, description)| {
            vec![some(table.name), some(name), some(kind.name()), some(description)]
        })
    });
    tables.collect()
}

/// The page about these tables.
pub fn render_reference() -> String {
    let mut page = String::new();
    for table in TABLES {
        page.push_str(&format!(
            "### `sys.{}`\n\n{}.\n\n| column | type | what |\n|---|---|---|\n",
            table.name, table.description
        ));
        for (name, kind, description) in table.columns {
            page.push_str(&format!("| `{name}` | {} | {description} |\n", kind.name()));
        }
        page.push('\n');
    }
    page
}
