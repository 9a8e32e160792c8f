//! Values in Postgres' binary form.

use super::check_length;
use super::numeric::put_numeric;
use super::text::{Style, behind, days_of, interval_of, list_value, put_text, units, us_of};
use crate::error::SqlError;
use crate::values::pg_type::{self, Typed};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StructArray};
use datafusion::arrow::datatypes::*;

/// Days from 1970 to 2000, from which Postgres counts.
const DAYS_TO_2000: i32 = 10_957;
/// The same in microseconds.
const US_TO_2000: i64 = DAYS_TO_2000 as i64 * 86_400_000_000;

/// Writes a value in binary form; false, and nothing written, where there is none.
pub(crate) fn put_binary(
    out: &mut Vec<u8>,
    array: &dyn Array,
    row: usize,
    typed: Typed,
) -> Result<bool, SqlError> {
    if array.is_null(row) {
        return Ok(false);
    }
    if let Some((values, place)) = behind(array, row) {
        return put_binary(out, values.as_ref(), place, typed);
    }
    match array.data_type() {
        DataType::Null => return Ok(false),
        DataType::Boolean => out.push(array.as_boolean().value(row).into()),
        DataType::Float16 => {
            let value = array.as_primitive::<Float16Type>().value(row).to_f32();
            out.extend(value.to_be_bytes());
        }
        DataType::Float32 => {
            out.extend(array.as_primitive::<Float32Type>().value(row).to_be_bytes());
        }
        DataType::Float64 => {
            out.extend(array.as_primitive::<Float64Type>().value(row).to_be_bytes());
        }
        DataType::UInt64 => numeric(out, array, row)?,
        kind if kind.is_integer() => put_integer(out, array, row, typed),
        kind if kind.is_decimal() => numeric(out, array, row)?,
        DataType::Binary => out.extend_from_slice(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => out.extend_from_slice(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => out.extend_from_slice(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => {
            out.extend_from_slice(array.as_fixed_size_binary().value(row));
        }
        kind if kind.is_temporal() => put_temporal(out, array, row)?,
        DataType::Struct(_) => put_record(out, array.as_struct(), row)?,
        DataType::Map(..) => {
            out.push(1);
            put_text(out, array, row, &Style::wire("UTC"))?;
        }
        _ => match list_value(array, row) {
            Some(elements) => put_array(out, &elements, typed)?,
            None => put_string(out, array, row, typed)?,
        },
    }
    Ok(true)
}

fn numeric(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Result<(), SqlError> {
    let mut text = Vec::new();
    put_text(&mut text, array, row, &Style::wire("UTC"))?;
    put_numeric(out, &String::from_utf8_lossy(&text));
    Ok(())
}

fn put_integer(out: &mut Vec<u8>, array: &dyn Array, row: usize, typed: Typed) {
    let number: i64 = match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        _ => array.as_primitive::<Int64Type>().value(row),
    };
    // As wide as the type that the client was told.
    match typed.element.size {
        2 => out.extend((number as i16).to_be_bytes()),
        4 => out.extend((number as i32).to_be_bytes()),
        _ => out.extend(number.to_be_bytes()),
    }
}

fn put_temporal(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Result<(), SqlError> {
    let kind = array.data_type();
    if let Some(days) = days_of(array, row) {
        let days = match days {
            i32::MAX | i32::MIN => days,
            days => days.saturating_sub(DAYS_TO_2000),
        };
        out.extend(days.to_be_bytes());
    } else if let Some((months, days, us)) = interval_of(array, row) {
        out.extend(us.to_be_bytes());
        out.extend(days.to_be_bytes());
        out.extend(months.to_be_bytes());
    } else if let Some((unit, number)) = units(array, row) {
        let us = us_of(unit, number);
        let us = match kind {
            DataType::Timestamp(..) if us != i64::MAX && us != i64::MIN => {
                us.saturating_sub(US_TO_2000)
            }
            _ => us,
        };
        out.extend(us.to_be_bytes());
    } else {
        return Err(SqlError::unsupported(format!("a value of type {kind} has no binary form")));
    }
    Ok(())
}

fn put_string(
    out: &mut Vec<u8>,
    array: &dyn Array,
    row: usize,
    typed: Typed,
) -> Result<(), SqlError> {
    let mut text = Vec::new();
    put_text(&mut text, array, row, &Style::wire("UTC"))?;
    let wrong = |what: &str| {
        let text = String::from_utf8_lossy(&text);
        SqlError::new(crate::error::SqlState::InvalidText, format!("\"{text}\" is not a {what}"))
    };
    match typed.element.name {
        "uuid" => {
            let digits: Vec<u8> = text.iter().copied().filter(|&byte| byte != b'-').collect();
            let pairs = digits.chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).map_err(|_| wrong("uuid"))?;
                u8::from_str_radix(pair, 16).map_err(|_| wrong("uuid"))
            });
            out.extend(pairs.collect::<Result<Vec<u8>, _>>()?);
        }
        "jsonb" => {
            out.push(1);
            out.extend_from_slice(&text);
        }
        "numeric" => put_numeric(out, &String::from_utf8_lossy(&text)),
        _ => out.extend_from_slice(&text),
    }
    Ok(())
}

/// Puts what is behind its length, as arrays and records hold their parts.
fn put_sized(
    out: &mut Vec<u8>,
    put: impl FnOnce(&mut Vec<u8>) -> Result<bool, SqlError>,
) -> Result<(), SqlError> {
    let start = out.len();
    out.extend((-1i32).to_be_bytes());
    if put(out)? {
        let length = (out.len() - start - 4) as i32;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// Dimensions, and the innermost arrays in order.
type Flat = (Vec<i32>, Vec<ArrayRef>);

/// The length of each dimension, and the elements in order; `None` where inner lists differ in
/// length.
fn flatten(elements: &ArrayRef) -> Option<Flat> {
    if !pg_type::of_arrow(elements.data_type()).is_array {
        return Some((vec![elements.len() as i32], vec![elements.clone()]));
    }
    let (mut inner, mut all) = (None, Vec::new());
    for row in 0..elements.len() {
        let (dimensions, values) = flatten(&list_value(elements.as_ref(), row)?)?;
        if inner.get_or_insert_with(|| dimensions.clone()) != &dimensions {
            return None;
        }
        all.extend(values);
    }
    let mut dimensions = vec![elements.len() as i32];
    dimensions.extend(inner.unwrap_or_default());
    Some((dimensions, all))
}

fn put_array(out: &mut Vec<u8>, elements: &ArrayRef, typed: Typed) -> Result<(), SqlError> {
    let (dimensions, values) = flatten(elements)
        .ok_or_else(|| SqlError::unsupported("an array whose inner arrays differ in length"))?;
    let start = out.len();
    let empty = values.iter().all(|array| array.is_empty());
    let has_null = values.iter().any(|array| array.logical_null_count() > 0);
    let count = if empty { 0 } else { dimensions.len() as i32 };
    out.extend(count.to_be_bytes());
    out.extend(i32::from(has_null).to_be_bytes());
    // Vectors count from 0.
    let (element, lower) = match typed.element.name {
        "int2vector" => (&pg_type::INT2, 0i32),
        "oidvector" => (&pg_type::OID, 0),
        _ => (typed.element, 1),
    };
    out.extend(element.oid.to_be_bytes());
    for length in dimensions.iter().take(count as usize) {
        out.extend(length.to_be_bytes());
        out.extend(lower.to_be_bytes());
    }
    let element = Typed { element, is_array: false, ..typed };
    for array in values {
        for row in 0..array.len() {
            put_sized(out, |out| put_binary(out, array.as_ref(), row, element))?;
            check_length(out.len() - start)?;
        }
    }
    Ok(())
}

fn put_record(out: &mut Vec<u8>, record: &StructArray, row: usize) -> Result<(), SqlError> {
    let start = out.len();
    out.extend((record.num_columns() as i32).to_be_bytes());
    for (field, column) in record.fields().iter().zip(record.columns()) {
        let typed = pg_type::of_field(field);
        out.extend(typed.oid().to_be_bytes());
        put_sized(out, |out| put_binary(out, column.as_ref(), row, typed))?;
        check_length(out.len() - start)?;
    }
    Ok(())
}
