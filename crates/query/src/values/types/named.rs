//! The types of columns from their names in SQL.

use super::{ColumnType, Element};
use crate::error::{SqlError, SqlState};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, TimezoneInfo,
};

impl ColumnType {
    /// The type that SQL names.
    pub(crate) fn of_sql(sql: &SqlType) -> Result<Self, SqlError> {
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
                Self::of_decimal(sql, *info)?
            }
            SqlType::Text | SqlType::String(_) => Self::Text,
            SqlType::Varchar(length)
            | SqlType::Nvarchar(length)
            | SqlType::CharVarying(length)
            | SqlType::CharacterVarying(length) => {
                character_length(length.as_ref(), sql)?.map_or(Self::Text, Self::Varchar)
            }
            SqlType::Char(length) | SqlType::Character(length) => {
                Self::Char(character_length(length.as_ref(), sql)?.unwrap_or(1))
            }
            SqlType::Uuid => Self::Uuid,
            SqlType::JSON => Self::Json,
            SqlType::JSONB => Self::Jsonb,
            SqlType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Self::Time,
            SqlType::Interval { .. } => Self::Interval,
            SqlType::Array(
                ArrayElemTypeDef::SquareBracket(element, _)
                | ArrayElemTypeDef::AngleBracket(element),
            ) => Self::of_array(sql, element)?,
            SqlType::Custom(name, modifiers) => Self::of_custom(sql, &name.to_string(), modifiers)?,
            SqlType::Bytea | SqlType::Blob(_) | SqlType::Varbinary(_) => Self::Bytea,
            SqlType::Date => Self::Date,
            SqlType::Timestamp(digits, zone) => Self::of_timestamp(*digits, *zone),
            SqlType::Datetime(_) => Self::Timestamp,
            _ => return Err(Self::no_such(sql)),
        })
    }

    /// A decimal, by its declared digits.
    fn of_decimal(sql: &SqlType, info: ExactNumberInfo) -> Result<Self, SqlError> {
        let (precision, scale) = match info {
            ExactNumberInfo::None => return Ok(Self::Numeric),
            ExactNumberInfo::Precision(precision) => (precision, 0),
            ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
        };
        if (39..=1_000).contains(&precision) && (0..=precision as i64).contains(&scale) {
            return Ok(Self::NumericTo(precision as u16, scale as u16));
        }
        if !(1..=38).contains(&precision) || scale < 0 || scale as u64 > precision {
            return Err(SqlError::new(
                SqlState::InvalidParameter,
                format!(
                    "{sql}: a decimal has 1 to 1000 digits, at most all of them after the point"
                ),
            ));
        }
        Ok(Self::Decimal(precision as u8, scale as i8))
    }

    fn of_array(sql: &SqlType, element: &SqlType) -> Result<Self, SqlError> {
        let element = Element::of(Self::of_sql(element)?);
        element.map(Self::Array).ok_or_else(|| {
            SqlError::unsupported(format!("a column of type {sql} is not supported"))
        })
    }

    /// A timestamp; with six digits of a second, or more, it has all that are kept.
    fn of_timestamp(digits: Option<u64>, zone: TimezoneInfo) -> Self {
        let has_zone = !matches!(zone, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone);
        match (digits, has_zone) {
            (Some(digits @ 0..=5), false) => Self::TimestampTo(digits as u8),
            (Some(digits @ 0..=5), true) => Self::TimestamptzTo(digits as u8),
            (_, false) => Self::Timestamp,
            (_, true) => Self::Timestamptz,
        }
    }

    /// Types that the parser does not know by name.
    fn of_custom(sql: &SqlType, name: &str, modifiers: &[String]) -> Result<Self, SqlError> {
        let length = modifiers.first().and_then(|length| length.parse().ok());
        let name = name.to_ascii_lowercase();
        Ok(match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
            "text" | "varchar" => Self::Text,
            "bool" => Self::Boolean,
            "int2" => Self::Smallint,
            "int4" => Self::Integer,
            "int8" => Self::Bigint,
            "float4" => Self::Real,
            "float8" => Self::Double,
            "bpchar" => length.map_or(Self::Text, Self::Char),
            "name" | "citext" => Self::Text,
            "serial" | "serial4" => Self::Integer,
            "bigserial" | "serial8" => Self::Bigint,
            "smallserial" | "serial2" => Self::Smallint,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            "oid" => Self::Bigint,
            _ => return Err(Self::no_such(sql)),
        })
    }

    fn no_such(sql: &SqlType) -> SqlError {
        let message = format!("type \"{}\" does not exist", sql.to_string().to_lowercase());
        SqlError::new(SqlState::UndefinedObject, message).hint(
            "BOOLEAN, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE PRECISION, NUMERIC(p, s), TEXT, \
             VARCHAR(n), CHAR(n), \
             JSON, JSONB, UUID, BYTEA, DATE, TIME, TIMESTAMP, TIMESTAMPTZ, INTERVAL and arrays are \
             there",
        )
    }
}

fn character_length(
    length: Option<&CharacterLength>,
    sql: &SqlType,
) -> Result<Option<u32>, SqlError> {
    let Some(CharacterLength::IntegerLength { length, .. }) = length else { return Ok(None) };
    let fits = u32::try_from(*length).ok().filter(|length| (1..=10_485_760).contains(length));
    fits.map(Some).ok_or_else(|| {
        let message = format!("{sql}: a length is from 1 to 10485760");
        SqlError::new(SqlState::InvalidParameter, message)
    })
}
