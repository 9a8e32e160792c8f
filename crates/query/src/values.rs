//! Values on their way between a record's text, a stored row's bytes, and Arrow columns.
//!
//! In a record a value is text as SQL would print it. In a stored row it is: 16, 32 and 64 bit numbers, dates (days)
//! and timestamps and times of day (microseconds) little-endian; a decimal its unscaled 128 bits, little-endian; an
//! interval its months and days (32 bits each) and nanoseconds (64 bits), little-endian; a boolean one byte; texts,
//! arrays (as Postgres writes them) and bytes a varint length (LEB128) and that many bytes.

use crate::encode::{self, Style};
use crate::moment::Moment;
use crate::parse;
use crate::types::ColumnType;
use datafusion::arrow::array::*;
use datafusion::arrow::datatypes::*;
use datafusion::common::ScalarValue;
use std::io::Write;
use std::sync::Arc;
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

    /// Appends a value from its text; false, and nothing appended, where the text is not one of the type.
    pub(crate) fn append_text(&mut self, text: &[u8]) -> bool {
        self.try_append_text(text).is_some()
    }

    fn try_append_text(&mut self, text: &[u8]) -> Option<()> {
        let as_str = || std::str::from_utf8(text).ok();
        let kind = self.kind;
        // What is not written in the plainest form is read as Postgres reads it.
        let read = || {
            let field = kind.field("", true);
            parse::scalar_of_text(as_str()?, &field, &Moment::default()).ok()
        };
        macro_rules! read_as {
            ($variant:ident) => {
                match read()? {
                    ScalarValue::$variant(Some(value), ..) => value,
                    _ => return None,
                }
            };
        }
        match &mut self.values {
            Values::Boolean(builder) => builder.append_value(match text {
                b"true" | b"t" => true,
                b"false" | b"f" => false,
                _ => parse::boolean(as_str()?)?,
            }),
            Values::I16(builder) => builder.append_value(match parse_i64(text) {
                Some(value) => value.try_into().ok()?,
                None => read_as!(Int16),
            }),
            Values::I32(builder) => builder.append_value(match parse_i64(text) {
                Some(value) => value.try_into().ok()?,
                None => read_as!(Int32),
            }),
            Values::I64(builder) => builder.append_value(match parse_i64(text) {
                Some(value) => value,
                None => read_as!(Int64),
            }),
            Values::F32(builder) => builder.append_value(read_as!(Float32)),
            Values::F64(builder) => builder.append_value(match parse_f64(text) {
                Some(value) => value,
                None => read_as!(Float64),
            }),
            Values::Decimal(builder) => {
                let ColumnType::Decimal(precision, scale) = kind else { return None };
                builder.append_value(match parse_decimal(text, precision, scale) {
                    Some(value) => value,
                    None => read_as!(Decimal128),
                });
            }
            Values::Text(builder) => {
                let text = as_str()?;
                match kind {
                    ColumnType::Text => builder.append_value(text),
                    ColumnType::Json => {
                        crate::json::check(text).ok()?;
                        builder.append_value(text);
                    }
                    ColumnType::Varchar(_) | ColumnType::Char(_) => {
                        let declared = kind.declared()?;
                        builder.append_value(parse::sized(text, &declared, false).ok()?);
                    }
                    _ => builder.append_value(read_as!(Utf8View)),
                }
            }
            Values::Bytes(builder) => builder.append_value(text),
            Values::Date(builder) => builder.append_value(read_as!(Date32)),
            Values::Time(builder) => builder.append_value(match parse_i64(text) {
                // A whole number of milliseconds since 1970, but for a date without signs.
                Some(ms) if text.len() != 8 => ms.checked_mul(1_000)?,
                _ => read_as!(TimestampMicrosecond),
            }),
            Values::Clock(builder) => builder.append_value(read_as!(Time64Microsecond)),
            Values::Interval(builder) => builder.append_value(read_as!(IntervalMonthDayNano)),
            Values::Array(builder) => {
                read()?;
                builder.append_value(as_str()?);
            }
        }
        Some(())
    }

    /// Appends a value from a stored row, and takes its bytes; `None` where the bytes are not a value.
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

/// Leaves out a stored value.
pub(crate) fn skip_stored(kind: ColumnType, rest: &mut &[u8]) -> Option<()> {
    match kind {
        ColumnType::Boolean => take::<1>(rest).map(drop),
        ColumnType::Smallint => take::<2>(rest).map(drop),
        ColumnType::Integer | ColumnType::Real | ColumnType::Date => take::<4>(rest).map(drop),
        ColumnType::Bigint
        | ColumnType::Double
        | ColumnType::Time
        | ColumnType::Timestamp
        | ColumnType::TimestampTo(_)
        | ColumnType::TimestamptzTo(_)
        | ColumnType::Timestamptz => take::<8>(rest).map(drop),
        ColumnType::Decimal(..) | ColumnType::Interval => take::<16>(rest).map(drop),
        ColumnType::Text
        | ColumnType::Json
        | ColumnType::Jsonb
        | ColumnType::Uuid
        | ColumnType::Numeric
        | ColumnType::NumericTo(..)
        | ColumnType::Varchar(_)
        | ColumnType::Char(_)
        | ColumnType::Array(_)
        | ColumnType::Bytea => take_sized(rest).map(drop),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take::<1>(rest)?;
        length |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let (head, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            *rest = tail;
            return Some(head);
        }
    }
    None
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len() as u64;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
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

/// Puts a value into a stored row; false where the array is not of a column's type.
pub(crate) fn put_stored(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> bool {
    put_stored_checked(out, array, row).is_some()
}

fn put_stored_checked(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Option<()> {
    match array.data_type() {
        DataType::Boolean => out.push(u8::from(with_column!(array, BooleanArray)?.value(row))),
        DataType::Int16 => out.extend(with_column!(array, Int16Array)?.value(row).to_le_bytes()),
        DataType::Int32 => out.extend(with_column!(array, Int32Array)?.value(row).to_le_bytes()),
        DataType::Int64 => out.extend(with_column!(array, Int64Array)?.value(row).to_le_bytes()),
        DataType::Float32 => {
            out.extend(with_column!(array, Float32Array)?.value(row).to_le_bytes())
        }
        DataType::Float64 => {
            out.extend(with_column!(array, Float64Array)?.value(row).to_le_bytes())
        }
        DataType::Decimal128(..) => {
            out.extend(with_column!(array, Decimal128Array)?.value(row).to_le_bytes());
        }
        DataType::Utf8View => {
            put_sized(out, with_column!(array, StringViewArray)?.value(row).as_bytes());
        }
        DataType::BinaryView => put_sized(out, with_column!(array, BinaryViewArray)?.value(row)),
        DataType::Date32 => out.extend(with_column!(array, Date32Array)?.value(row).to_le_bytes()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            out.extend(with_column!(array, TimestampMicrosecondArray)?.value(row).to_le_bytes());
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            out.extend(with_column!(array, Time64MicrosecondArray)?.value(row).to_le_bytes());
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = with_column!(array, IntervalMonthDayNanoArray)?.value(row);
            out.extend(value.months.to_le_bytes());
            out.extend(value.days.to_le_bytes());
            out.extend(value.nanoseconds.to_le_bytes());
        }
        DataType::List(_) => {
            let mut text = Vec::new();
            encode::put_text(&mut text, array, row, &Style::wire("UTC")).ok()?;
            put_sized(out, &text);
        }
        _ => return None,
    }
    Some(())
}

/// Whether a text is a value of a type.
pub(crate) fn fits(kind: ColumnType, text: &[u8]) -> bool {
    let integer = || parse_i64(text);
    let quick = match kind {
        ColumnType::Smallint => integer().is_some_and(|value| i16::try_from(value).is_ok()),
        ColumnType::Integer => integer().is_some_and(|value| i32::try_from(value).is_ok()),
        ColumnType::Bigint => integer().is_some(),
        ColumnType::Double => parse_f64(text).is_some(),
        ColumnType::Decimal(precision, scale) => parse_decimal(text, precision, scale).is_some(),
        ColumnType::Text => return std::str::from_utf8(text).is_ok(),
        ColumnType::Bytea => true,
        _ => false,
    };
    // What is not written in the plainest form is rare enough to make a column for it.
    quick || ColumnBuilder::new(kind, 1).append_text(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[(ColumnType, &[&str], &[&str])] = &[
        (ColumnType::Boolean, &["true", "false"], &["maybe", ""]),
        (ColumnType::Smallint, &["-32768", "7"], &["32768", "x"]),
        (ColumnType::Integer, &["2147483647"], &["2147483648", "1.5"]),
        (ColumnType::Bigint, &["-9223372036854775808"], &["9223372036854775808", "1 2"]),
        (ColumnType::Double, &["0.1", "-12.75", "1e300", "NaN"], &["one", "", ".", "-"]),
        (ColumnType::Decimal(6, 2), &["1234.56", "-0.01"], &["12345.67", "", "1.2.3"]),
        (ColumnType::Text, &["", "grün"], &[]),
        (ColumnType::Json, &["{\"a\":[1,2]}"], &["{a:1}", ""]),
        (ColumnType::Bytea, &["\u{1}bytes"], &[]),
        (ColumnType::Date, &["2026-01-15"], &["yesterday"]),
        (ColumnType::Timestamp, &["2026-01-15T10:00:00.500"], &["soon"]),
    ];

    #[test]
    fn values_are_trimmed_and_rounded_as_postgres_does() {
        for (kind, text, wanted) in [
            (ColumnType::Bigint, " 1", "1"),
            (ColumnType::Decimal(6, 2), "0.001", "0.00"),
            (ColumnType::Decimal(6, 2), "-1.005", "-1.01"),
            (ColumnType::NumericTo(50, 2), "1.239", "1.24"),
        ] {
            assert!(fits(kind, text.as_bytes()), "{kind:?} {text}");
            let mut builder = ColumnBuilder::new(kind, 1);
            assert!(builder.append_text(text.as_bytes()), "{kind:?} {text}");
            let mut shown = Vec::new();
            put_text(&mut shown, &builder.finish(), 0).expect("text");
            assert_eq!(String::from_utf8_lossy(&shown), wanted);
        }
    }

    #[test]
    fn text_and_stored_bytes_give_the_same_column() {
        for &(kind, good, bad) in KINDS {
            let mut from_text = ColumnBuilder::new(kind, 4);
            for text in good {
                assert!(from_text.append_text(text.as_bytes()), "{kind:?} {text}");
                assert!(fits(kind, text.as_bytes()), "{kind:?} {text}");
            }
            for text in bad {
                assert!(!fits(kind, text.as_bytes()), "{kind:?} took {text}");
                assert!(!from_text.append_text(text.as_bytes()), "{kind:?} took {text}");
            }
            from_text.append_null();
            let column = from_text.finish();
            assert_eq!(column.len(), good.len() + 1);
            let mut from_stored = ColumnBuilder::new(kind, 4);
            for (row, text) in good.iter().enumerate() {
                let mut stored = Vec::new();
                assert!(put_stored(&mut stored, &column, row));
                let mut rest = stored.as_slice();
                from_stored.append_stored(&mut rest).expect("its own bytes");
                assert!(rest.is_empty());
                let mut rest = stored.as_slice();
                skip_stored(kind, &mut rest).expect("its own bytes");
                assert!(rest.is_empty());
                let mut again = Vec::new();
                put_text(&mut again, &column, row).expect("text");
                if !matches!(kind, ColumnType::Double) {
                    assert_eq!(String::from_utf8_lossy(&again), *text);
                }
                for cut in 0..stored.len() {
                    let mut short = stored.get(..cut).expect("shorter");
                    assert!(ColumnBuilder::new(kind, 1).append_stored(&mut short).is_none());
                    assert!(skip_stored(kind, &mut &stored[..cut]).is_none());
                }
            }
            from_stored.append_null();
            assert_eq!(&from_stored.finish(), &column, "{kind:?}");
        }
    }

    #[test]
    fn fast_doubles_are_the_nearest_doubles() {
        let mut random = 9u64;
        for _ in 0..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let text = format!("{}.{}", random >> 44, random >> 20 & 0xFFFF);
            assert_eq!(parse_f64(text.as_bytes()), text.parse().ok(), "{text}");
        }
    }
}
