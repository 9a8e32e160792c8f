//! Values as text.

mod nested;

use super::interval::put_interval_as;
use super::numeric::{COMPUTED_PRECISION, COMPUTED_SCALE, put_decimal_128, put_decimal_256};
use super::time::{put_date, put_time_of_day, put_timestamp};
use super::{check_length, check_step, put_double, put_real};
use crate::error::SqlError;
use crate::values::moment::Formats;
use crate::values::pg_type;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, MapArray, RunArray,
    StringViewArray, StringViewBuilder, StructArray, UnionArray,
};
use datafusion::arrow::datatypes::*;
use nested::put_nested;
pub(super) use nested::{behind, list_value};
use std::io::Write;

/// How values are written.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// `true` instead of `t`: what a cast to text gives, not what the protocol sends.
    pub(crate) long_booleans: bool,
    /// Where timestamps with a zone are shown.
    pub(crate) zone: Tz,
    pub(crate) formats: Formats,
}

impl Style {
    /// As the protocol sends values, in a zone by its name; UTC where there is no such zone.
    pub(crate) fn wire(zone: &str) -> Self {
        Self { long_booleans: false, zone: zone_of(zone), formats: Formats::default() }
    }

    /// As a cast to text gives them.
    pub(crate) fn cast(zone: &str) -> Self {
        Self { long_booleans: true, zone: zone_of(zone), formats: Formats::default() }
    }
}

fn zone_of(name: &str) -> Tz {
    crate::values::moment::zone(name).unwrap_or_else(crate::values::moment::utc)
}

fn unsupported(kind: &DataType) -> SqlError {
    SqlError::unsupported(format!("a value of type {kind} has no text"))
}

/// A value of an array that is known to be of a type; the caller has looked at it.
fn value<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

/// The texts of all values of a column.
pub(crate) fn texts_of(array: &ArrayRef, style: &Style) -> Result<StringViewArray, SqlError> {
    let mut texts = StringViewBuilder::with_capacity(array.len());
    let (mut text, mut all) = (Vec::new(), 0);
    for row in 0..array.len() {
        text.clear();
        if put_text(&mut text, array.as_ref(), row, style)? {
            all += text.len();
            check_step(all)?;
            texts.append_value(String::from_utf8_lossy(&text));
        } else {
            texts.append_null();
        }
    }
    Ok(texts.finish())
}

/// Writes a value as text; false, and nothing written, where there is none.
pub(crate) fn put_text(
    out: &mut Vec<u8>,
    array: &dyn Array,
    row: usize,
    style: &Style,
) -> Result<bool, SqlError> {
    if array.is_null(row) {
        return Ok(false);
    }
    match array.data_type() {
        DataType::Null => return Ok(false),
        DataType::Boolean => put_boolean(out, array.as_boolean(), row, style),
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => {
            out.extend_from_slice(array.as_string::<i64>().value(row).as_bytes());
        }
        DataType::Utf8View => out.extend_from_slice(array.as_string_view().value(row).as_bytes()),
        DataType::Binary => put_bytes(out, array.as_binary::<i32>().value(row), style),
        DataType::LargeBinary => put_bytes(out, array.as_binary::<i64>().value(row), style),
        DataType::BinaryView => put_bytes(out, array.as_binary_view().value(row), style),
        DataType::FixedSizeBinary(_) => {
            put_bytes(out, array.as_fixed_size_binary().value(row), style)
        }
        kind if kind.is_integer() => put_integer(out, array, row),
        kind if kind.is_numeric() => put_fraction(out, array, row),
        kind if kind.is_temporal() => put_temporal(out, array, row, style)?,
        _ => return put_nested(out, array, row, style),
    }
    Ok(true)
}

fn put_boolean(out: &mut Vec<u8>, array: &BooleanArray, row: usize, style: &Style) {
    out.extend_from_slice(match (array.value(row), style.long_booleans) {
        (true, false) => b"t",
        (false, false) => b"f",
        (true, true) => b"true",
        (false, true) => b"false",
    });
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8], style: &Style) {
    if style.formats.escapes_bytes {
        for &byte in bytes {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b' '..=b'~' => out.push(byte),
                // Writing to memory cannot fail.
                _ => drop(write!(out, "\\{byte:03o}")),
            }
        }
        return;
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn put_integer(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    let number: i64 = match array.data_type() {
        DataType::Int8 => value::<Int8Type>(array, row).into(),
        DataType::Int16 => value::<Int16Type>(array, row).into(),
        DataType::Int32 => value::<Int32Type>(array, row).into(),
        DataType::Int64 => value::<Int64Type>(array, row),
        DataType::UInt8 => value::<UInt8Type>(array, row).into(),
        DataType::UInt16 => value::<UInt16Type>(array, row).into(),
        DataType::UInt32 => value::<UInt32Type>(array, row).into(),
        _ => {
            // Writing to memory cannot fail.
            let _infallible = write!(out, "{}", value::<UInt64Type>(array, row));
            return;
        }
    };
    thalweg_machine::push_i64(out, number);
}

fn put_fraction(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    match array.data_type() {
        DataType::Float16 => put_real(out, value::<Float16Type>(array, row).to_f32()),
        DataType::Float32 => put_real(out, value::<Float32Type>(array, row)),
        DataType::Float64 => put_double(out, value::<Float64Type>(array, row)),
        DataType::Decimal32(_, scale) => {
            put_decimal_128(out, value::<Decimal32Type>(array, row).into(), *scale);
        }
        DataType::Decimal64(_, scale) => {
            put_decimal_128(out, value::<Decimal64Type>(array, row).into(), *scale);
        }
        DataType::Decimal128(_, scale) => {
            put_decimal_128(out, value::<Decimal128Type>(array, row), *scale);
        }
        DataType::Decimal256(precision, scale) => {
            let is_computed = *precision == COMPUTED_PRECISION && *scale >= COMPUTED_SCALE;
            put_decimal_256(out, value::<Decimal256Type>(array, row), *scale, is_computed);
        }
        _ => {}
    }
}

/// Microseconds of so many units; beyond what 64 bits hold it stays at their end.
pub(super) fn us_of(unit: TimeUnit, number: i64) -> i64 {
    match unit {
        TimeUnit::Second => number.saturating_mul(1_000_000),
        TimeUnit::Millisecond => number.saturating_mul(1_000),
        TimeUnit::Microsecond => number,
        TimeUnit::Nanosecond => number.div_euclid(1_000),
    }
}

/// The number of units in a timestamp, time or duration of any unit.
pub(super) fn units(array: &dyn Array, row: usize) -> Option<(TimeUnit, i64)> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    Some(match array.data_type() {
        DataType::Timestamp(Second, _) => (Second, value::<TimestampSecondType>(array, row)),
        DataType::Timestamp(Millisecond, _) => {
            (Millisecond, value::<TimestampMillisecondType>(array, row))
        }
        DataType::Timestamp(Microsecond, _) => {
            (Microsecond, value::<TimestampMicrosecondType>(array, row))
        }
        DataType::Timestamp(Nanosecond, _) => {
            (Nanosecond, value::<TimestampNanosecondType>(array, row))
        }
        DataType::Time32(Second) => (Second, value::<Time32SecondType>(array, row).into()),
        DataType::Time32(_) => (Millisecond, value::<Time32MillisecondType>(array, row).into()),
        DataType::Time64(Nanosecond) => (Nanosecond, value::<Time64NanosecondType>(array, row)),
        DataType::Time64(_) => (Microsecond, value::<Time64MicrosecondType>(array, row)),
        DataType::Duration(Second) => (Second, value::<DurationSecondType>(array, row)),
        DataType::Duration(Millisecond) => {
            (Millisecond, value::<DurationMillisecondType>(array, row))
        }
        DataType::Duration(Microsecond) => {
            (Microsecond, value::<DurationMicrosecondType>(array, row))
        }
        DataType::Duration(Nanosecond) => (Nanosecond, value::<DurationNanosecondType>(array, row)),
        _ => return None,
    })
}

/// Months, days and microseconds of an interval or duration.
pub(super) fn interval_of(array: &dyn Array, row: usize) -> Option<(i32, i32, i64)> {
    Some(match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            (value::<IntervalYearMonthType>(array, row), 0, 0)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = value::<IntervalDayTimeType>(array, row);
            (0, value.days, i64::from(value.milliseconds) * 1_000)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = value::<IntervalMonthDayNanoType>(array, row);
            (value.months, value.days, value.nanoseconds / 1_000)
        }
        DataType::Duration(_) => {
            let (unit, number) = units(array, row)?;
            (0, 0, us_of(unit, number))
        }
        _ => return None,
    })
}

/// Days since 1970.
pub(super) fn days_of(array: &dyn Array, row: usize) -> Option<i32> {
    match array.data_type() {
        DataType::Date32 => Some(value::<Date32Type>(array, row)),
        DataType::Date64 => i32::try_from(value::<Date64Type>(array, row) / 86_400_000).ok(),
        _ => None,
    }
}

fn put_temporal(
    out: &mut Vec<u8>,
    array: &dyn Array,
    row: usize,
    style: &Style,
) -> Result<(), SqlError> {
    let kind = array.data_type();
    if let Some(days) = days_of(array, row) {
        put_date(out, days, style.formats);
    } else if let Some((months, days, us)) = interval_of(array, row) {
        put_interval_as(out, (months, days, us), style.formats.intervals);
    } else if let Some((unit, number)) = units(array, row) {
        let us = us_of(unit, number);
        match kind {
            DataType::Timestamp(_, None) => put_timestamp(out, us, None, style.formats),
            DataType::Timestamp(_, Some(_)) => {
                put_timestamp(out, us, Some(&style.zone), style.formats)
            }
            _ => put_time_of_day(out, us),
        }
    } else {
        return Err(unsupported(kind));
    }
    Ok(())
}

/// An empty array of any type has a text as well as a full one has; used by tests of all types.
#[cfg(test)]
pub(crate) fn text_of(array: &dyn Array, row: usize) -> Option<String> {
    let mut out = Vec::new();
    put_text(&mut out, array, row, &Style::wire("UTC"))
        .expect("a text")
        .then(|| String::from_utf8(out).expect("UTF-8"))
}
