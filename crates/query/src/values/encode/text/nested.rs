//! Lists, rows and maps as Postgres writes them.

use super::*;

/// The value of an array that holds lists, whatever their form.
pub(crate) fn list_value(array: &dyn Array, row: usize) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value(row)),
        DataType::ListView(_) => Some(array.as_list_view::<i32>().value(row)),
        DataType::LargeListView(_) => Some(array.as_list_view::<i64>().value(row)),
        DataType::FixedSizeList(..) => {
            Some(array.as_any().downcast_ref::<FixedSizeListArray>()?.value(row))
        }
        _ => None,
    }
}

/// The array and place of a value that stands for others: dictionaries, runs, unions.
pub(crate) fn behind(array: &dyn Array, row: usize) -> Option<(ArrayRef, usize)> {
    match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let key = *dictionary.normalized_keys().get(row)?;
            Some((dictionary.values().clone(), key))
        }
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => run::<Int16Type>(array, row),
            DataType::Int32 => run::<Int32Type>(array, row),
            _ => run::<Int64Type>(array, row),
        },
        DataType::Union(..) => {
            let union = array.as_any().downcast_ref::<UnionArray>()?;
            Some((union.child(union.type_id(row)).clone(), union.value_offset(row)))
        }
        _ => None,
    }
}

pub(super) fn run<R: RunEndIndexType>(array: &dyn Array, row: usize) -> Option<(ArrayRef, usize)> {
    let runs = array.as_any().downcast_ref::<RunArray<R>>()?;
    Some((runs.values().clone(), runs.get_physical_index(row)))
}

pub(super) fn put_nested(
    out: &mut Vec<u8>,
    array: &dyn Array,
    row: usize,
    style: &Style,
) -> Result<bool, SqlError> {
    if let Some((values, place)) = behind(array, row) {
        return put_text(out, values.as_ref(), place, style);
    }
    if let Some(elements) = list_value(array, row) {
        if pg_type::is_vector(array.data_type()) {
            put_vector(out, &elements, style)?;
            return Ok(true);
        }
        put_list(out, &elements, style)?;
        return Ok(true);
    }
    match array.data_type() {
        DataType::Struct(_) => put_row(out, array.as_struct(), row, style)?,
        DataType::Map(..) => {
            let map = array.as_any().downcast_ref::<MapArray>();
            let map = map.ok_or_else(|| unsupported(array.data_type()))?;
            put_map(out, &map.value(row), style)?;
        }
        other => return Err(unsupported(other)),
    }
    Ok(true)
}

/// The elements with blanks between them.
fn put_vector(out: &mut Vec<u8>, elements: &ArrayRef, style: &Style) -> Result<(), SqlError> {
    for row in 0..elements.len() {
        if row > 0 {
            out.push(b' ');
        }
        put_text(out, elements.as_ref(), row, style)?;
    }
    Ok(())
}

pub(super) fn put_list(
    out: &mut Vec<u8>,
    elements: &ArrayRef,
    style: &Style,
) -> Result<(), SqlError> {
    let is_list = pg_type::of_arrow(elements.data_type()).is_array;
    let style = Style { long_booleans: false, ..style.clone() };
    let mut text = Vec::new();
    let start = out.len();
    out.push(b'{');
    for row in 0..elements.len() {
        if row > 0 {
            out.push(b',');
        }
        text.clear();
        if !put_text(&mut text, elements.as_ref(), row, &style)? {
            out.extend_from_slice(b"NULL");
        } else if is_list || is_plain_element(&text) {
            out.extend_from_slice(&text);
        } else {
            put_escaped(out, &text);
        }
        check_length(out.len() - start)?;
    }
    out.push(b'}');
    Ok(())
}

/// Whether an element of an array needs no quotes.
pub(super) fn is_plain_element(text: &[u8]) -> bool {
    let plain = |byte: &u8| {
        !matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') && !byte.is_ascii_whitespace()
    };
    !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && text.iter().all(plain)
}

pub(super) fn put_escaped(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

pub(super) fn put_row(
    out: &mut Vec<u8>,
    record: &StructArray,
    row: usize,
    style: &Style,
) -> Result<(), SqlError> {
    let style = Style { long_booleans: false, ..style.clone() };
    let mut text = Vec::new();
    let start = out.len();
    out.push(b'(');
    for (index, column) in record.columns().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text.clear();
        if !put_text(&mut text, column.as_ref(), row, &style)? {
            continue;
        }
        let plain = |byte: &u8| {
            !matches!(byte, b'(' | b')' | b',' | b'"' | b'\\') && !byte.is_ascii_whitespace()
        };
        check_length(out.len() - start)?;
        if !text.is_empty() && text.iter().all(plain) {
            out.extend_from_slice(&text);
            continue;
        }
        out.push(b'"');
        for &byte in &text {
            if matches!(byte, b'"' | b'\\') {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    out.push(b')');
    Ok(())
}

/// A map as a JSON object, whose values are texts: Postgres has no maps.
pub(super) fn put_map(
    out: &mut Vec<u8>,
    entries: &StructArray,
    style: &Style,
) -> Result<(), SqlError> {
    let mut object = serde_json::Map::new();
    let (mut name, mut text, mut length) = (Vec::new(), Vec::new(), 0);
    for row in 0..entries.len() {
        name.clear();
        text.clear();
        put_text(&mut name, entries.column(0).as_ref(), row, style)?;
        let known = put_text(&mut text, entries.column(1).as_ref(), row, style)?;
        let value = String::from_utf8_lossy(&text).into_owned();
        length += name.len() + text.len();
        check_length(length)?;
        let value = if known { value.into() } else { serde_json::Value::Null };
        object.insert(String::from_utf8_lossy(&name).into_owned(), value);
    }
    out.extend_from_slice(serde_json::Value::Object(object).to_string().as_bytes());
    Ok(())
}
