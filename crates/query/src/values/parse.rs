//! Values from text, as Postgres reads them: for casts, parameters, COPY and defaults. Each reader
//! says whether a text is not of its type (22P02) or does not fit it (22003).

mod numeric;

pub(crate) use numeric::decimal_digits;
pub(crate) use numeric::decimal_scalar;

mod array;

use crate::error::{SqlError, SqlState};
use crate::sql::dialect;
use crate::values::moment::{self, Moment};
use crate::values::pg_type::{self, of_field};
use array::array_elements;
pub(crate) use array::text_elements;
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanBuilder, ListArray, PrimitiveBuilder, StringViewArray,
    StringViewBuilder,
};
use datafusion::arrow::datatypes::*;
use datafusion::common::ScalarValue;
pub(crate) use numbers::{boolean, bytea, sized, to_digits, uuid};
use numbers::{double, integer, real};
use numeric::{declared_digits, numeric_overflow, numeric_to, plain_numeric};
use std::sync::Arc;

fn invalid(kind: &str, text: &str) -> SqlError {
    let shown: String = text.chars().take(200).collect();
    SqlError::new(
        SqlState::InvalidText,
        format!("invalid input syntax for type {kind}: \"{shown}\""),
    )
}

fn out_of_range(kind: &str, text: &str) -> SqlError {
    let shown: String = text.chars().take(200).collect();
    SqlError::new(
        SqlState::NumericOutOfRange,
        format!("value \"{shown}\" is out of range for type {kind}"),
    )
}

/// A value of a column's type, from its text.
pub(crate) fn scalar_of_text(
    text: &str,
    field: &Field,
    moment: &Moment,
) -> Result<ScalarValue, SqlError> {
    let kind = field.data_type();
    Ok(match kind {
        DataType::Boolean => {
            ScalarValue::Boolean(Some(boolean(text).ok_or_else(|| invalid("boolean", text))?))
        }
        kind if kind.is_numeric() => match dialect::number_of_object(text, field)? {
            Some(number) => ScalarValue::Int64(Some(number)),
            None => scalar_of_number(text, kind)?,
        },
        kind if kind.is_temporal() => scalar_of_time(text, field, moment)?,
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            let bytes = bytea(text).ok_or_else(|| invalid("bytea", text))?;
            match kind {
                DataType::Binary => ScalarValue::Binary(Some(bytes)),
                DataType::LargeBinary => ScalarValue::LargeBinary(Some(bytes)),
                _ => ScalarValue::BinaryView(Some(bytes)),
            }
        }
        DataType::List(element) => {
            let values = array_elements(text, element, moment)?;
            list_of(&values, element)?
        }
        DataType::Null => ScalarValue::Utf8View(Some(text.to_owned())),
        kind if kind.is_string() => {
            let text = checked_text(text, field)?;
            match kind {
                DataType::Utf8 => ScalarValue::Utf8(Some(text)),
                DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(text)),
                _ => ScalarValue::Utf8View(Some(text)),
            }
        }
        other => return Err(not_from_text(other)),
    })
}

fn not_from_text(kind: &DataType) -> SqlError {
    SqlError::unsupported(format!("a value of type {kind} from a text"))
}

/// A number of one of Arrow's types for numbers.
fn scalar_of_number(text: &str, kind: &DataType) -> Result<ScalarValue, SqlError> {
    Ok(match kind {
        DataType::Int8 => ScalarValue::Int8(Some(integer(text, "smallint", -128, 127)? as i8)),
        DataType::Int16 => {
            ScalarValue::Int16(Some(
                integer(text, "smallint", i16::MIN.into(), i16::MAX.into())? as i16
            ))
        }
        DataType::Int32 => {
            ScalarValue::Int32(Some(
                integer(text, "integer", i32::MIN.into(), i32::MAX.into())? as i32
            ))
        }
        DataType::Int64 => ScalarValue::Int64(Some(integer(text, "bigint", i64::MIN, i64::MAX)?)),
        DataType::UInt32 => {
            ScalarValue::UInt32(Some(integer(text, "oid", 0, u32::MAX.into())? as u32))
        }
        DataType::UInt64 => {
            ScalarValue::UInt64(Some(text.trim().parse().map_err(|_| invalid("numeric", text))?))
        }
        DataType::Float32 => ScalarValue::Float32(Some(real(text)?)),
        DataType::Float64 => ScalarValue::Float64(Some(double(text, "double precision")?)),
        kind if kind.is_decimal() => decimal_scalar(text, kind)?,
        other => return Err(not_from_text(other)),
    })
}

/// A date, a time of day, a point in time, or an interval.
fn scalar_of_time(text: &str, field: &Field, moment: &Moment) -> Result<ScalarValue, SqlError> {
    let digits = of_field(field).modifier;
    let wrong = |kind: &'static str| move |found: moment::Wrong| found.error(kind, text);
    Ok(match field.data_type() {
        DataType::Date32 => {
            ScalarValue::Date32(Some(moment::date(text, moment).map_err(wrong("date"))?))
        }
        DataType::Time64(_) => {
            let us = moment::time_of_day(text, moment).map_err(wrong("time"))?;
            ScalarValue::Time64Microsecond(Some(to_digits(us, digits)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let us = moment::timestamp(text, moment).map_err(wrong("timestamp"))?;
            ScalarValue::TimestampMicrosecond(Some(to_digits(us, digits)), None)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let us = moment::timestamptz(text, moment);
            let us = us.map_err(wrong("timestamp with time zone"))?;
            ScalarValue::TimestampMicrosecond(Some(to_digits(us, digits)), zone.clone())
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            interval_scalar(moment::interval(text).map_err(wrong("interval"))?)?
        }
        other => return Err(not_from_text(other)),
    })
}

/// A list whose elements are what a field says, with what it says beside their Arrow type.
pub(crate) fn list_of(values: &[ScalarValue], element: &FieldRef) -> Result<ScalarValue, SqlError> {
    let list = ScalarValue::new_list_nullable(values, element.data_type());
    let (_, offsets, values, nulls) = list.as_ref().clone().into_parts();
    let list = ListArray::try_new(element.clone(), offsets, values, nulls);
    Ok(ScalarValue::List(Arc::new(list.map_err(datafusion::common::DataFusionError::from)?)))
}

/// An interval as a scalar; nanoseconds are what Arrow counts in.
pub(crate) fn interval_scalar(interval: moment::Interval) -> Result<ScalarValue, SqlError> {
    let ns = interval
        .us
        .checked_mul(1_000)
        .ok_or_else(|| SqlError::new(SqlState::IntervalOverflow, "interval out of range"))?;
    let value = IntervalMonthDayNano::new(interval.months, interval.days, ns);
    Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
}

/// A text that must be JSON, a UUID, or no longer than its type.
fn checked_text(text: &str, field: &Field) -> Result<String, SqlError> {
    let Some(declared) = field.metadata().get(pg_type::TYPE_KEY) else {
        return Ok(text.to_owned());
    };
    match declared.split('(').next().unwrap_or_default() {
        "json" => {
            crate::values::json::check(text)?;
            Ok(text.to_owned())
        }
        "jsonb" => crate::values::json::parse(text)?.to_text(),
        "uuid" => uuid(text).ok_or_else(|| invalid("uuid", text)),
        "name" => Ok(text.chars().take(63).collect()),
        "numeric" => {
            let lower = text.trim().to_ascii_lowercase();
            match lower.as_str() {
                "nan" => return Ok("NaN".to_owned()),
                "inf" | "infinity" | "+infinity" | "+inf" => return Ok("Infinity".to_owned()),
                "-inf" | "-infinity" => return Ok("-Infinity".to_owned()),
                _ => {}
            }
            let (negative, digits, scale) =
                decimal_digits(text).ok_or_else(|| invalid("numeric", text))?;
            match declared_digits(declared) {
                Some(declared) => numeric_to(negative, &digits, scale, declared)
                    .ok_or_else(|| numeric_overflow(text, declared)),
                None => plain_numeric(negative, &digits, scale)
                    .ok_or_else(|| out_of_range("numeric", text)),
            }
        }
        _ => sized(text, declared, true),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringViewArray,
    kind: &DataType,
    parse: impl Fn(&str) -> Result<T::Native, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let mut values = PrimitiveBuilder::<T>::with_capacity(texts.len()).with_data_type(kind.clone());
    for text in texts {
        match text {
            Some(text) => values.append_value(parse(text)?),
            None => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// A column of values from a column of their texts.
pub(crate) fn array_of_texts(
    texts: &StringViewArray,
    field: &Field,
    moment: &Moment,
) -> Result<ArrayRef, SqlError> {
    let kind = field.data_type();
    match kind {
        DataType::Boolean => {
            let mut values = BooleanBuilder::with_capacity(texts.len());
            for text in texts {
                let value = text.map(|text| boolean(text).ok_or_else(|| invalid("boolean", text)));
                values.append_option(value.transpose()?);
            }
            Ok(Arc::new(values.finish()))
        }
        DataType::Int32 => primitive::<Int32Type>(texts, kind, |text| {
            Ok(integer(text, "integer", i32::MIN.into(), i32::MAX.into())? as i32)
        }),
        DataType::Int64 => {
            primitive::<Int64Type>(texts, kind, |text| integer(text, "bigint", i64::MIN, i64::MAX))
        }
        DataType::Float64 => {
            primitive::<Float64Type>(texts, kind, |text| double(text, "double precision"))
        }
        DataType::Date32 => primitive::<Date32Type>(texts, kind, |text| {
            moment::date(text, moment).map_err(|wrong| wrong.error("date", text))
        }),
        DataType::Utf8View => {
            let mut values = StringViewBuilder::with_capacity(texts.len());
            for text in texts {
                values.append_option(text.map(|text| checked_text(text, field)).transpose()?);
            }
            Ok(Arc::new(values.finish()))
        }
        _ => {
            if texts.is_empty() {
                return Ok(datafusion::arrow::array::new_empty_array(kind));
            }
            let null = ScalarValue::try_from(kind)?;
            let scalars = texts.iter().map(|text| match text {
                Some(text) => scalar_of_text(text, field, moment),
                None => Ok(null.clone()),
            });
            let scalars = scalars.collect::<Result<Vec<_>, _>>()?;
            Ok(ScalarValue::iter_to_array(scalars)?)
        }
    }
}

mod numbers;
#[cfg(test)]
mod tests;
