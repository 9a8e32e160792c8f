//! The types of columns: their names in SQL, their Arrow form, and how a value is read from the text in a record.

use crate::error::{SqlError, SqlState};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};
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
}

impl ColumnType {
    /// The type that SQL names.
    pub(crate) fn of_sql(sql: &SqlType) -> Result<Self, SqlError> {
        use ExactNumberInfo::{None as Unsized, Precision, PrecisionAndScale};
        Ok(match sql {
            SqlType::Boolean | SqlType::Bool => Self::Boolean,
            SqlType::SmallInt(_) | SqlType::Int2(_) => Self::Smallint,
            SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => Self::Integer,
            SqlType::BigInt(_) | SqlType::Int8(_) => Self::Bigint,
            SqlType::Real | SqlType::Float4 => Self::Real,
            SqlType::Float(_) | SqlType::Float8 | SqlType::Double(_) | SqlType::DoublePrecision => {
                Self::Double
            }
            SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => {
                let (precision, scale) = match *info {
                    Unsized => (38, 10),
                    Precision(precision) => (precision, 0),
                    PrecisionAndScale(precision, scale) => (precision, scale),
                };
                if !(1..=38).contains(&precision) || scale < 0 || scale as u64 > precision {
                    return Err(SqlError::new(
                        SqlState::InvalidParameter,
                        format!(
                            "{sql}: a decimal has 1 to 38 digits, at most all of them after the point"
                        ),
                    ));
                }
                Self::Decimal(precision as u8, scale as i8)
            }
            SqlType::Text
            | SqlType::String(_)
            | SqlType::Varchar(_)
            | SqlType::CharVarying(_)
            | SqlType::CharacterVarying(_)
            | SqlType::Char(_)
            | SqlType::Character(_)
            | SqlType::Uuid => Self::Text,
            SqlType::JSON | SqlType::JSONB => Self::Json,
            SqlType::Bytea | SqlType::Blob(_) | SqlType::Varbinary(_) => Self::Bytea,
            SqlType::Date => Self::Date,
            SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
            | SqlType::Datetime(_) => Self::Timestamp,
            SqlType::Timestamp(..) => Self::Timestamptz,
            _ => {
                let message = format!("there is no column type {sql}");
                return Err(SqlError::new(SqlState::UndefinedObject, message).hint(
                    "BOOLEAN, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE PRECISION, DECIMAL(p, s), TEXT, JSON, BYTEA, \
                     DATE, TIMESTAMP and TIMESTAMPTZ are there",
                ));
            }
        })
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
            Self::Text | Self::Json => DataType::Utf8View,
            Self::Bytea => DataType::BinaryView,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
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
}

/// The columns of a stream, as a schema. That a value must be there is checked where records come in, with a reason for
/// each, not by the planner, which would refuse the whole statement.
pub(crate) fn loose_schema_of(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| Field::new(&column.name, column.kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of a table, as a schema.
pub(crate) fn schema_of(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter();
    let fields =
        fields.map(|column| Field::new(&column.name, column.kind.arrow(), column.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
