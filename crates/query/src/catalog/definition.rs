//! What has been declared: streams, tables, views, external tables. Kept as JSON in the node's log,
//! in the hash `thalweg:catalog`: one field for each object, its name the field, one of these its
//! value.

use crate::error::{SqlError, SqlState};
use crate::values::types::{Column, ColumnType};
use datafusion::arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

/// A declared object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Definition {
    /// A stream.
    Stream(StreamDefinition),
    /// A typed table.
    Table(TableDefinition),
    /// A continuous view.
    View(ViewDefinition),
    /// Files, as a table.
    External(ExternalDefinition),
    /// A query under a name, run whenever it is asked.
    Query(QueryDefinition),
    /// Numbers that are given out once.
    Sequence(SequenceDefinition),
}

impl Definition {
    /// What it is called in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Table(_) => "table",
            Self::View(_) => "materialized view",
            Self::External(_) => "external table",
            Self::Query(_) => "view",
            Self::Sequence(_) => "sequence",
        }
    }
}

/// How a record finds its partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Partitioner {
    /// By a hash of a column: equal values share a partition and keep their order.
    Hash(String),
    /// One after the other.
    RoundRobin,
    /// By chance.
    Random,
    /// By ranges of a column: partition `i` has what is below the `i`-th bound and not below the
    /// one before.
    Range(String, Vec<String>),
}

/// What becomes of a record that does not fit the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnError {
    /// The whole batch is refused.
    #[default]
    Refuse,
    /// The record goes to the stream `<name>.dead` with the reason; the rest is appended.
    DeadLetter,
}

/// Event time: which column has it, and how far behind the latest the watermark is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watermark {
    /// A timestamp column.
    pub(crate) column: String,
    /// Records may come this late and still be in time.
    pub(crate) delay_us: i64,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamDefinition {
    /// Its columns; none: records are whatever they are, and read as JSON.
    pub(crate) columns: Vec<Column>,
    /// How many partitions it has.
    pub(crate) partitions: u16,
    /// How records find them.
    pub(crate) partitioner: Partitioner,
    /// Event time.
    pub(crate) watermark: Option<Watermark>,
    /// Records older than this are deleted.
    pub(crate) retention_ms: Option<u64>,
    /// The oldest segments are deleted when all of them together are larger than this.
    #[serde(default)]
    pub(crate) retention_bytes: Option<u64>,
    /// Records in a segment; a partition seals its oldest when it has twice as many.
    #[serde(default = "segment_records")]
    pub(crate) segment_records: u64,
    /// What becomes of records that do not fit.
    pub(crate) on_error: OnError,
}

/// Large enough for a scan to be quick, small enough to be held in memory twice for each partition.
fn segment_records() -> u64 {
    256 * 1024
}

impl Default for StreamDefinition {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            partitions: 1,
            partitioner: Partitioner::RoundRobin,
            watermark: None,
            retention_ms: None,
            retention_bytes: None,
            segment_records: segment_records(),
            on_error: OnError::Refuse,
        }
    }
}

impl StreamDefinition {
    /// The key of a partition: the stream's name where there is one partition, `name:number`
    /// otherwise.
    pub(crate) fn key(&self, name: &str, partition: u16) -> String {
        if self.partitions == 1 { name.to_owned() } else { format!("{name}:{partition}") }
    }

    pub(crate) fn check(&self, name: &str) -> Result<(), SqlError> {
        let invalid = |what: String| Err(SqlError::new(SqlState::InvalidDefinition, what));
        if self.partitions == 0 || self.partitions > 1_024 {
            return invalid(format!(
                "stream \"{name}\": {} partitions; 1 to 1024 are possible",
                self.partitions
            ));
        }
        let named = match &self.partitioner {
            Partitioner::Hash(column) | Partitioner::Range(column, _) => Some(column),
            _ => None,
        };
        let has = |name: &String| self.columns.iter().any(|column| column.name == *name);
        if let Some(column) = named.filter(|column| !self.columns.is_empty() && !has(column)) {
            return invalid(format!(
                "stream \"{name}\" is partitioned by \"{column}\", which is not a column"
            ));
        }
        if let Partitioner::Range(_, bounds) = &self.partitioner
            && bounds.len() + 1 != usize::from(self.partitions)
        {
            return invalid(format!(
                "stream \"{name}\": {} bounds make {} ranges, but there are {} partitions",
                bounds.len(),
                bounds.len() + 1,
                self.partitions
            ));
        }
        if let Some(watermark) = &self.watermark {
            let column = self.columns.iter().find(|column| column.name == watermark.column);
            let is_time = column.is_some_and(|column| {
                use crate::values::types::ColumnType::{
                    Timestamp, TimestampTo, Timestamptz, TimestamptzTo,
                };
                matches!(column.kind, Timestamp | Timestamptz | TimestampTo(_) | TimestamptzTo(_))
            });
            if !is_time {
                return invalid(format!(
                    "stream \"{name}\": the watermark is for \"{}\", which is not a TIMESTAMP \
                     column",
                    watermark.column
                ));
            }
        }
        Ok(())
    }
}

/// A typed table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableDefinition {
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// The columns of the primary key, as positions; none: rows have a key that nobody sees.
    pub(crate) primary_key: Vec<usize>,
    /// The name under which its rows stand, where that is not its own: it was renamed, emptied, or
    /// made in a transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) storage: Option<String>,
    /// What each row must fulfil.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<Check>,
    /// Columns whose values no two rows share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) uniques: Vec<Unique>,
    /// The primary key's name, where it was given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_name: Option<String>,
    /// Whether it ends with its session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) temporary: bool,
    /// What people say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
}

impl TableDefinition {
    /// The name under which its rows stand.
    pub(crate) fn storage<'a>(&'a self, name: &'a str) -> std::borrow::Cow<'a, str> {
        self.storage.as_deref().unwrap_or(name).into()
    }

    /// The primary key's name.
    pub(crate) fn key_name(&self, table: &str) -> String {
        self.key_name.clone().unwrap_or_else(|| format!("{table}_pkey"))
    }

    pub(crate) fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|other| other.name == column)
    }
}

/// A condition that each row must fulfil.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    /// As SQL.
    pub(crate) condition: String,
}

/// Columns whose values no two rows share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unique {
    pub(crate) name: String,
    /// As positions.
    pub(crate) columns: Vec<usize>,
    /// Whether it was made by CREATE UNIQUE INDEX.
    #[serde(default)]
    pub(crate) is_index: bool,
}

/// Numbers that are given out once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SequenceDefinition {
    pub(crate) start: i64,
    pub(crate) increment: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
    /// The table and column that it goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<(String, String)>,
    /// Under which its counter stands: each that is made has another, so that what a transaction
    /// takes back has counted nothing. Nothing in those that are older than this: theirs stands
    /// under the sequence's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) storage: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) temporary: bool,
}

impl Default for SequenceDefinition {
    fn default() -> Self {
        let (owner, storage, temporary) = (None, None, false);
        Self { start: 1, increment: 1, min: 1, max: i64::MAX, owner, storage, temporary }
    }
}

impl SequenceDefinition {
    /// Ends where a column of a type does, unless it has been told to end before.
    pub(crate) fn within(self, kind: ColumnType) -> Self {
        let max = match kind.arrow() {
            DataType::Int16 => i64::from(i16::MAX),
            DataType::Int32 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        Self { max: self.max.min(max), ..self }
    }

    /// The name under which its counter stands.
    pub(crate) fn storage<'a>(&'a self, name: &'a str) -> &'a str {
        self.storage.as_deref().unwrap_or(name)
    }

    /// Whether it goes with this column.
    pub(crate) fn is_of(&self, table: &str, column: &str) -> bool {
        self.owner.as_ref().is_some_and(|(owner, owned)| owner == table && owned == column)
    }

    /// Whether it goes with any column of a table.
    pub(crate) fn belongs_to(&self, table: &str) -> bool {
        self.owner.as_ref().is_some_and(|(owner, _)| owner == table)
    }
}

/// When a view tells its subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Emit {
    /// With every change.
    #[default]
    Change,
    /// When a window closes, and again when a late record corrects it.
    Close,
}

/// A continuous view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewDefinition {
    /// The query, as SQL.
    pub(crate) query: String,
    /// Tells this incarnation of the view from earlier ones of the name: the name of its folder.
    pub(crate) incarnation: u64,
    /// Records taken at once, at most.
    pub(crate) batch_rows: usize,
    /// How long a batch that is not full may wait for more.
    pub(crate) batch_delay_ms: u64,
    /// Records may come this late behind the watermark and still correct the result.
    pub(crate) lateness_us: i64,
    /// When subscribers are told.
    pub(crate) emit: Emit,
    /// About so many of its changes are kept in a stream; nothing: there is no such stream.
    #[serde(default)]
    pub(crate) changes: Option<u64>,
    /// Whether it stands still.
    pub(crate) paused: bool,
}

/// Files, as a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExternalDefinition {
    /// The statement that declared it.
    pub(crate) statement: String,
}

/// A query under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueryDefinition {
    /// The query, as SQL.
    pub(crate) query: String,
}
