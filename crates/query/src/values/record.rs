//! Turns values from one form into another: the text in a record, the bytes of a stored row, and
//! Arrow columns.
//!
//! In a record a value is text as SQL would print it. In a stored row it is: 16, 32 and 64 bit
//! numbers, dates (days) and timestamps and times of day (microseconds) little-endian; a decimal
//! its unscaled 128 bits, little-endian; an interval its months and days (32 bits each) and
//! nanoseconds (64 bits), little-endian; a boolean one byte; texts, arrays (as Postgres writes
//! them) and bytes a varint length (LEB128) and that many bytes.

use crate::values::encode::{self, Style};
use crate::values::moment::Moment;
use crate::values::parse;
use crate::values::types::ColumnType;
use datafusion::arrow::array::*;
use datafusion::arrow::datatypes::*;
use datafusion::common::ScalarValue;
use std::io::Write;
use std::sync::Arc;
pub(crate) use stored::{fits, put_stored, skip_stored};
use stored::{take, take_sized};
use thalweg_machine::parse_i64;

/// A column being filled.
pub(crate) struct ColumnBuilder {
    kind: ColumnType,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    I16(Int16Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    Clock(Time64MicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    /// Arrays, as their texts: they are read when the column is finished.
    Array(StringViewBuilder),
}

impl ColumnBuilder {
    pub(crate) fn new(kind: ColumnType, rows: usize) -> Self {
        let values = match kind {
            ColumnType::Boolean => Values::Boolean(BooleanBuilder::with_capacity(rows)),
            ColumnType::Smallint => Values::I16(Int16Builder::with_capacity(rows)),
            ColumnType::Integer => Values::I32(Int32Builder::with_capacity(rows)),
            ColumnType::Bigint => Values::I64(Int64Builder::with_capacity(rows)),
            ColumnType::Real => Values::F32(Float32Builder::with_capacity(rows)),
            ColumnType::Double => Values::F64(Float64Builder::with_capacity(rows)),
            ColumnType::Decimal(..) => {
                Values::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(kind.arrow()))
            }
            ColumnType::Text
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Uuid
            | ColumnType::Numeric
            | ColumnType::NumericTo(..)
            | ColumnType::Varchar(_)
            | ColumnType::Char(_) => {
                // Long texts go into blocks; one row needs no large one.
                let block_bytes = rows.saturating_mul(64).clamp(1 << 10, 64 << 10) as u32;
                Values::Text(
                    StringViewBuilder::with_capacity(rows).with_fixed_block_size(block_bytes),
                )
            }
            ColumnType::Bytea => Values::Bytes(BinaryViewBuilder::with_capacity(rows)),
            ColumnType::Date => Values::Date(Date32Builder::with_capacity(rows)),
            ColumnType::Timestamp
            | ColumnType::Timestamptz
            | ColumnType::TimestampTo(_)
            | ColumnType::TimestamptzTo(_) => Values::Time(
                TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(kind.arrow()),
            ),
            ColumnType::Time => Values::Clock(Time64MicrosecondBuilder::with_capacity(rows)),
            ColumnType::Interval => {
                Values::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows))
            }
            ColumnType::Array(_) => Values::Array(StringViewBuilder::with_capacity(rows)),
        };
        Self { kind, values }
    }

    pub(crate) fn append_null(&mut self) {
        match &mut self.values {
            Values::Boolean(builder) => builder.append_null(),
            Values::I16(builder) => builder.append_null(),
            Values::I32(builder) => builder.append_null(),
            Values::I64(builder) => builder.append_null(),
            Values::F32(builder) => builder.append_null(),
            Values::F64(builder) => builder.append_null(),
            Values::Decimal(builder) => builder.append_null(),
            Values::Text(builder) => builder.append_null(),
            Values::Bytes(builder) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Time(builder) => builder.append_null(),
            Values::Clock(builder) => builder.append_null(),
            Values::Interval(builder) => builder.append_null(),
            Values::Array(builder) => builder.append_null(),
        }
    }

    /// Appends a value from its text; false, and nothing appended, where the text is not one of the
    /// type.
    pub(crate) fn append_text(&mut self, text: &[u8]) -> bool {
        self.try_append_text(text).is_some()
    }

    /// Appends a value from a stored row, and takes its bytes; `None` where the bytes are not a
    /// value.
    pub(crate) fn append_stored(&mut self, rest: &mut &[u8]) -> Option<()> {
        match &mut self.values {
            Values::Boolean(builder) => builder.append_value(take::<1>(rest)? != [0]),
            Values::I16(builder) => builder.append_value(i16::from_le_bytes(take(rest)?)),
            Values::I32(builder) => builder.append_value(i32::from_le_bytes(take(rest)?)),
            Values::I64(builder) => builder.append_value(i64::from_le_bytes(take(rest)?)),
            Values::F32(builder) => builder.append_value(f32::from_le_bytes(take(rest)?)),
            Values::F64(builder) => builder.append_value(f64::from_le_bytes(take(rest)?)),
            Values::Decimal(builder) => builder.append_value(i128::from_le_bytes(take(rest)?)),
            Values::Text(builder) => {
                builder.append_value(std::str::from_utf8(take_sized(rest)?).ok()?)
            }
            Values::Bytes(builder) => builder.append_value(take_sized(rest)?),
            Values::Date(builder) => builder.append_value(i32::from_le_bytes(take(rest)?)),
            Values::Time(builder) => builder.append_value(i64::from_le_bytes(take(rest)?)),
            Values::Clock(builder) => builder.append_value(i64::from_le_bytes(take(rest)?)),
            Values::Interval(builder) => {
                let months = i32::from_le_bytes(take(rest)?);
                let days = i32::from_le_bytes(take(rest)?);
                let ns = i64::from_le_bytes(take(rest)?);
                builder.append_value(IntervalMonthDayNano::new(months, days, ns));
            }
            Values::Array(builder) => {
                builder.append_value(std::str::from_utf8(take_sized(rest)?).ok()?)
            }
        }
        Some(())
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        match &mut self.values {
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::I16(builder) => Arc::new(builder.finish()),
            Values::I32(builder) => Arc::new(builder.finish()),
            Values::I64(builder) => Arc::new(builder.finish()),
            Values::F32(builder) => Arc::new(builder.finish()),
            Values::F64(builder) => Arc::new(builder.finish()),
            Values::Decimal(builder) => Arc::new(builder.finish()),
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Bytes(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Time(builder) => Arc::new(builder.finish()),
            Values::Clock(builder) => Arc::new(builder.finish()),
            Values::Interval(builder) => Arc::new(builder.finish()),
            Values::Array(builder) => {
                let texts = builder.finish();
                let field = self.kind.field("", true);
                // Each was read when it came.
                parse::array_of_texts(&texts, &field, &Moment::default())
                    .unwrap_or_else(|_| new_null_array(field.data_type(), texts.len()))
            }
        }
    }
}

/// Short decimal texts exactly by integers, which is also faster; the rest by the standard library.
fn parse_f64(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if !digits.is_empty() && digits.len() <= 15 {
        let (mut value, mut after_point, mut point) = (0u64, 0usize, false);
        let plain = digits.iter().all(|&byte| match byte {
            b'0'..=b'9' => {
                value = value * 10 + u64::from(byte - b'0');
                after_point += usize::from(point);
                true
            }
            b'.' if !point => {
                point = true;
                true
            }
            _ => false,
        });
        // Both are exact in a double, so the quotient is the nearest one.
        if plain && digits != b"." {
            let value = value as f64 / POWERS.get(after_point)?;
            return Some(if negative { -value } else { value });
        }
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn parse_decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let (mut value, mut after_point, mut point, mut any) = (0i128, 0i8, false, false);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                any = true;
                if point && after_point == scale {
                    // More digits than the type has would be lost; zeros are not lost.
                    if byte != b'0' {
                        return None;
                    }
                    continue;
                }
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                after_point += i8::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if !any {
        return None;
    }
    value = value.checked_mul(10i128.checked_pow((scale - after_point) as u32)?)?;
    if value >= 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX) {
        return None;
    }
    Some(if negative { -value } else { value })
}

macro_rules! with_column {
    ($array:expr, $type:ty) => {
        $array.as_any().downcast_ref::<$type>()
    };
}

/// The years 1 to 9999, in microseconds since 1970.
const ISO_YEARS_US: std::ops::RangeInclusive<i64> =
    -62_135_596_800_000_000..=253_402_300_799_999_999;

/// Writes a value as text, as a record holds it.
pub(crate) fn put_text(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Option<()> {
    // Writing into memory does not fail.
    match array.data_type() {
        DataType::Boolean => {
            let value = with_column!(array, BooleanArray)?.value(row);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        DataType::Int16 => write!(out, "{}", with_column!(array, Int16Array)?.value(row)).ok()?,
        DataType::Int32 => write!(out, "{}", with_column!(array, Int32Array)?.value(row)).ok()?,
        DataType::Int64 => {
            thalweg_machine::push_i64(out, with_column!(array, Int64Array)?.value(row))
        }
        DataType::Float32 => {
            write!(out, "{}", with_column!(array, Float32Array)?.value(row)).ok()?
        }
        DataType::Float64 => {
            write!(out, "{}", with_column!(array, Float64Array)?.value(row)).ok()?
        }
        DataType::Utf8View => {
            out.extend_from_slice(with_column!(array, StringViewArray)?.value(row).as_bytes());
        }
        DataType::BinaryView => {
            out.extend_from_slice(with_column!(array, BinaryViewArray)?.value(row));
        }
        // ISO 8601, where it has a form for the year: partitions are chosen by these texts.
        DataType::Timestamp(TimeUnit::Microsecond, _)
            if ISO_YEARS_US
                .contains(&with_column!(array, TimestampMicrosecondArray)?.value(row)) =>
        {
            let options = datafusion::arrow::util::display::FormatOptions::default();
            let formatter =
                datafusion::arrow::util::display::ArrayFormatter::try_new(array, &options).ok()?;
            write!(out, "{}", formatter.value(row)).ok()?;
        }
        _ => {
            encode::put_text(out, array, row, &Style::wire("UTC")).ok()?;
        }
    }
    Some(())
}

mod append;
mod stored;
#[cfg(test)]
mod tests;
