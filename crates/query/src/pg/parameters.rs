//! Values of parameters, in text and in binary form, as the types that their statement has found
//! for them.

use crate::error::{SqlError, SqlState};
use crate::sql::session::Prepared;
use crate::values::moment::Moment;
use crate::values::parse::{list_of, scalar_of_text};
use crate::values::pg_type::{self, Typed};
use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, Field, IntervalMonthDayNano};
use datafusion::common::ScalarValue;

/// Days from 1970 to 2000, from which Postgres counts.
const DAYS_TO_2000: i32 = 10_957;
const US_TO_2000: i64 = DAYS_TO_2000 as i64 * 86_400_000_000;

fn protocol(message: String) -> SqlError {
    SqlError::new(SqlState::ProtocolViolation, message)
}

/// The values that a client binds.
pub(super) fn values_of(
    prepared: &Prepared,
    given: &[Option<Bytes>],
    formats: &[i16],
    moment: &Moment,
) -> Result<Vec<ScalarValue>, SqlError> {
    let wanted = prepared.parameters.len();
    if given.len() != wanted {
        return Err(protocol(format!(
            "bind message supplies {} parameters, but prepared statement \"\" requires {wanted}",
            given.len()
        )));
    }
    if formats.len() > 1 && formats.len() != given.len() {
        return Err(protocol(format!(
            "bind message has {} parameter formats but {} parameters",
            formats.len(),
            given.len()
        )));
    }
    let format = |index: usize| match formats {
        [] => 0,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(0),
    };
    let fields = prepared.parameters.iter();
    fields
        .zip(given)
        .enumerate()
        .map(|(index, (field, value))| match (value, format(index)) {
            (None, _) => Ok(ScalarValue::try_from(field.data_type()).unwrap_or(ScalarValue::Null)),
            (Some(bytes), 0) => of_text(field, bytes, index, moment),
            (Some(bytes), 1) => of_binary(field, bytes).ok_or_else(|| {
                let message =
                    format!("incorrect binary data format in bind parameter {}", index + 1);
                SqlError::new(SqlState::InvalidBinary, message)
            }),
            (_, other) => Err(protocol(format!("unsupported format code: {other}"))),
        })
        .collect()
}

fn of_text(
    field: &Field,
    bytes: &[u8],
    index: usize,
    moment: &Moment,
) -> Result<ScalarValue, SqlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let message =
            format!("invalid byte sequence for encoding \"UTF8\" in parameter {}", index + 1);
        SqlError::new(SqlState::InvalidEncoding, message)
    })?;
    scalar_of_text(text, field, moment)
}

/// Takes the first bytes of what is left.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn exactly<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// A value in Postgres' binary form; nothing where the bytes are not one.
pub(super) fn of_binary(field: &Field, bytes: &[u8]) -> Option<ScalarValue> {
    let typed = pg_type::of_field(field);
    if typed.is_array {
        return array(field, bytes, typed);
    }
    let text = |bytes: &[u8]| {
        Some(ScalarValue::Utf8View(Some(std::str::from_utf8(bytes).ok()?.to_owned())))
    };
    Some(match field.data_type() {
        DataType::Boolean => ScalarValue::Boolean(Some(exactly::<1>(bytes)? != [0])),
        DataType::Int16 => ScalarValue::Int16(Some(integer(bytes)?.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(integer(bytes)?.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(integer(bytes)?)),
        DataType::Float32 => ScalarValue::Float32(Some(f32::from_be_bytes(exactly(bytes)?))),
        DataType::Float64 => ScalarValue::Float64(Some(match bytes.len() {
            4 => f32::from_be_bytes(exactly(bytes)?).into(),
            _ => f64::from_be_bytes(exactly(bytes)?),
        })),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            ScalarValue::BinaryView(Some(bytes.to_vec()))
        }
        DataType::Date32 => {
            let days = i32::from_be_bytes(exactly(bytes)?);
            let special = matches!(days, i32::MAX | i32::MIN);
            ScalarValue::Date32(Some(if special { days } else { days.checked_add(DAYS_TO_2000)? }))
        }
        DataType::Time64(_) => {
            ScalarValue::Time64Microsecond(Some(i64::from_be_bytes(exactly(bytes)?)))
        }
        DataType::Timestamp(_, zone) => {
            let us = i64::from_be_bytes(exactly(bytes)?);
            let special = matches!(us, i64::MAX | i64::MIN);
            let us = if special { us } else { us.checked_add(US_TO_2000)? };
            ScalarValue::TimestampMicrosecond(Some(us), zone.clone())
        }
        DataType::Interval(_) => {
            let mut rest = bytes;
            let us = i64::from_be_bytes(take(&mut rest)?);
            let days = i32::from_be_bytes(take(&mut rest)?);
            let months = i32::from_be_bytes(take(&mut rest)?);
            let ns = us.checked_mul(1_000)?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, ns)))
        }
        kind if kind.is_decimal() => {
            let text = numeric_text(bytes)?;
            crate::values::parse::decimal_scalar(&text, kind).ok()?
        }
        DataType::Utf8View | DataType::Utf8 => match typed.element.name {
            "numeric" => text(numeric_text(bytes)?.as_bytes())?,
            "uuid" => text(uuid_text(exactly(bytes)?).as_bytes())?,
            "jsonb" => text(bytes.strip_prefix(&[1])?)?,
            _ => text(bytes)?,
        },
        _ => return None,
    })
}

fn integer(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        2 => i16::from_be_bytes(exactly(bytes)?).into(),
        4 => i32::from_be_bytes(exactly(bytes)?).into(),
        8 => i64::from_be_bytes(exactly(bytes)?),
        _ => return None,
    })
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// A number in Postgres' binary form, as text.
fn numeric_text(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    let groups = i16::from_be_bytes(take(&mut rest)?);
    let weight = i16::from_be_bytes(take(&mut rest)?);
    let sign = u16::from_be_bytes(take(&mut rest)?);
    let scale = u16::from_be_bytes(take(&mut rest)?) as usize;
    match sign {
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let mut digits = Vec::new();
    for _ in 0..groups {
        digits.push(u16::from_be_bytes(take(&mut rest)?));
    }
    let group = |place: i32| -> u16 {
        let index = i32::from(weight) - place;
        usize::try_from(index).ok().and_then(|index| digits.get(index).copied()).unwrap_or(0)
    };
    let mut text = String::new();
    if sign == 0x4000 {
        text.push('-');
    }
    let mut whole = String::new();
    for place in (0..=i32::from(weight.max(0))).rev() {
        whole.push_str(&format!("{:04}", group(place)));
    }
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let mut fraction = String::new();
        for place in 1..=scale.div_ceil(4) as i32 {
            fraction.push_str(&format!("{:04}", group(-place)));
        }
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

fn array(field: &Field, bytes: &[u8], typed: Typed) -> Option<ScalarValue> {
    let DataType::List(element) = field.data_type() else { return None };
    let mut rest = bytes;
    let dimensions = i32::from_be_bytes(take(&mut rest)?);
    let _has_null: [u8; 4] = take(&mut rest)?;
    let _element_oid: [u8; 4] = take(&mut rest)?;
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(i32::from_be_bytes(take(&mut rest)?));
        let _lower_bound: [u8; 4] = take(&mut rest)?;
    }
    let mut values = Vec::new();
    let count: i64 = lengths.iter().map(|&length| i64::from(length)).product();
    // One dimension; more are bound as text by drivers.
    if lengths.len() > 1 || count > bytes.len() as i64 {
        return None;
    }
    let element_field =
        pg_type::field_of("item", element.data_type().clone(), typed.element.name, true);
    for _ in 0..lengths.first().copied().unwrap_or(0) {
        let length = i32::from_be_bytes(take(&mut rest)?);
        if length < 0 {
            values.push(ScalarValue::try_from(element.data_type()).ok()?);
            continue;
        }
        let (value, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = tail;
        values.push(of_binary(&element_field, value)?);
    }
    list_of(&values, element).ok()
}
