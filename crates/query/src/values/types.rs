//! The types of columns: their names in SQL, their Arrow form, and how a value is read from the
//! text in a record.

mod named;

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The type of a column of a stream or table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ColumnType {
    /// True or false.
    Boolean,
    /// 16 bits.
    Smallint,
    /// 32 bits.
    Integer,
    /// 64 bits.
    Bigint,
    /// 32 bits, IEEE 754.
    Real,
    /// 64 bits, IEEE 754.
    Double,
    /// Exact: so many digits, so many of them after the point.
    Decimal(u8, i8),
    /// UTF-8.
    Text,
    /// UTF-8 that is valid JSON.
    Json,
    /// Bytes.
    Bytea,
    /// Days since 1970.
    Date,
    /// Microseconds since 1970, in no time zone.
    Timestamp,
    /// Microseconds since 1970, UTC.
    Timestamptz,
    /// UTF-8 of at most so many characters.
    Varchar(u32),
    /// UTF-8 of at most so many characters, blanks at the end left out.
    Char(u32),
    /// A number with as many digits as it is written with, as text.
    Numeric,
    /// The same with its declared digits, more than 128 bits hold: how many at most, and how many
    /// after the point.
    NumericTo(u16, u16),
    /// UTF-8 that is valid JSON, as `jsonb` prints it.
    Jsonb,
    /// A UUID in its usual form.
    Uuid,
    /// Microseconds since midnight.
    Time,
    /// Months, days and microseconds.
    Interval,
    /// A timestamp with so many digits of a second.
    TimestampTo(u8),
    /// The same, UTC.
    TimestamptzTo(u8),
    /// An array, in Postgres' text form.
    Array(Element),
}

/// What an array holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Element {
    Boolean,
    Smallint,
    Integer,
    Bigint,
    Real,
    Double,
    Text,
    Date,
    Timestamp,
    Timestamptz,
    Uuid,
    Decimal(u8, i8),
}

impl Element {
    pub(crate) fn of(kind: ColumnType) -> Option<Self> {
        Some(match kind {
            ColumnType::Boolean => Self::Boolean,
            ColumnType::Smallint => Self::Smallint,
            ColumnType::Integer => Self::Integer,
            ColumnType::Bigint => Self::Bigint,
            ColumnType::Real => Self::Real,
            ColumnType::Double => Self::Double,
            ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Char(_) => Self::Text,
            ColumnType::Date => Self::Date,
            ColumnType::Timestamp => Self::Timestamp,
            ColumnType::Timestamptz => Self::Timestamptz,
            ColumnType::Uuid => Self::Uuid,
            ColumnType::Decimal(precision, scale) => Self::Decimal(precision, scale),
            ColumnType::Numeric => Self::Decimal(38, 10),
            _ => return None,
        })
    }

    pub(crate) fn scalar(self) -> ColumnType {
        match self {
            Self::Boolean => ColumnType::Boolean,
            Self::Smallint => ColumnType::Smallint,
            Self::Integer => ColumnType::Integer,
            Self::Bigint => ColumnType::Bigint,
            Self::Real => ColumnType::Real,
            Self::Double => ColumnType::Double,
            Self::Text => ColumnType::Text,
            Self::Date => ColumnType::Date,
            Self::Timestamp => ColumnType::Timestamp,
            Self::Timestamptz => ColumnType::Timestamptz,
            Self::Uuid => ColumnType::Uuid,
            Self::Decimal(precision, scale) => ColumnType::Decimal(precision, scale),
        }
    }
}

impl ColumnType {
    /// What tells it from others that are held alike, as a field's metadata says it.
    pub(crate) fn declared(self) -> Option<String> {
        Some(match self {
            Self::Varchar(length) => format!("varchar({length})"),
            Self::Char(length) => format!("bpchar({length})"),
            Self::Json => "json".to_owned(),
            Self::Jsonb => "jsonb".to_owned(),
            Self::Uuid => "uuid".to_owned(),
            Self::Numeric => "numeric".to_owned(),
            Self::NumericTo(precision, scale) => format!("numeric({precision},{scale})"),
            Self::TimestampTo(digits) => format!("timestamp({digits})"),
            Self::TimestamptzTo(digits) => format!("timestamptz({digits})"),
            _ => return None,
        })
    }

    /// A column of this type.
    pub(crate) fn field(self, name: &str, nullable: bool) -> Field {
        match self.declared() {
            Some(declared) => {
                crate::values::pg_type::field_of(name, self.arrow(), &declared, nullable)
            }
            None => Field::new(name, self.arrow(), nullable),
        }
    }

    /// Its name in SQL.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Boolean => "BOOLEAN".into(),
            Self::Smallint => "SMALLINT".into(),
            Self::Integer => "INTEGER".into(),
            Self::Bigint => "BIGINT".into(),
            Self::Real => "REAL".into(),
            Self::Double => "DOUBLE PRECISION".into(),
            Self::Decimal(precision, scale) => format!("DECIMAL({precision}, {scale})"),
            Self::Text => "TEXT".into(),
            Self::Json => "JSON".into(),
            Self::Bytea => "BYTEA".into(),
            Self::Date => "DATE".into(),
            Self::Timestamp => "TIMESTAMP".into(),
            Self::Timestamptz => "TIMESTAMPTZ".into(),
            Self::Varchar(length) => format!("VARCHAR({length})"),
            Self::Char(length) => format!("CHAR({length})"),
            Self::Numeric => "NUMERIC".into(),
            Self::NumericTo(precision, scale) => format!("NUMERIC({precision}, {scale})"),
            Self::Jsonb => "JSONB".into(),
            Self::Uuid => "UUID".into(),
            Self::Time => "TIME".into(),
            Self::Interval => "INTERVAL".into(),
            Self::TimestampTo(digits) => format!("TIMESTAMP({digits})"),
            Self::TimestamptzTo(digits) => format!("TIMESTAMPTZ({digits})"),
            Self::Array(element) => format!("{}[]", element.scalar().name()),
        }
    }

    /// Its form in memory and in segments.
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Smallint => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::Bigint => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Text
            | Self::Json
            | Self::Jsonb
            | Self::Uuid
            | Self::Numeric
            | Self::NumericTo(..)
            | Self::Varchar(_)
            | Self::Char(_) => DataType::Utf8View,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Array(element) => DataType::new_list(element.scalar().arrow(), true),
            Self::Bytea => DataType::BinaryView,
            Self::Date => DataType::Date32,
            Self::Timestamp | Self::TimestampTo(_) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            Self::Timestamptz | Self::TimestamptzTo(_) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
        }
    }
}

/// A column of a stream or table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) kind: ColumnType,
    /// Whether it may be without a value.
    pub(crate) nullable: bool,
    /// What it gets where nothing is given, as SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    /// Whether it gets its numbers from a sequence of its own, and whether others may be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Identity>,
    /// What people say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
}

/// How a column gets numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Identity {
    /// Only from its sequence.
    Always,
    /// From its sequence where none is given.
    ByDefault,
    /// `serial`: a default like any other.
    Serial,
}

impl Column {
    /// A column without a default.
    pub(crate) fn plain(name: impl Into<String>, kind: ColumnType, nullable: bool) -> Self {
        Self { name: name.into(), kind, nullable, default: None, identity: None, comment: None }
    }
}

/// The columns of a stream, as a schema. That a value must be there is checked where records come
/// in, with a reason for each, not by the planner, which would refuse the whole statement.
pub(crate) fn loose_schema_of(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| column.kind.field(&column.name, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of a table, as a schema.
pub(crate) fn schema_of(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter();
    let fields = fields.map(|column| column.kind.field(&column.name, column.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
