//! The form in which values are stored.

use super::*;

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

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

pub(super) fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
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

pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len() as u64;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// Puts a value into a stored row; false where the array is not of a column's type.
pub(crate) fn put_stored(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> bool {
    put_stored_checked(out, array, row).is_some()
}

pub(super) fn put_stored_checked(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Option<()> {
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
