//! JSON made of values.

use super::*;
use crate::sql::stop;

/// What it costs to write a value, beside a byte.
const VALUE_WORK: usize = 100;

/// A value of SQL as JSON text.
pub(crate) fn put_json(
    out: &mut String,
    array: &dyn Array,
    row: usize,
    field: &Field,
    jsonb: bool,
) -> Result<(), SqlError> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    // One that has grown too large is not continued.
    check_value(out.len())?;
    stop::work(VALUE_WORK)?;
    match array.data_type() {
        DataType::List(element) => {
            let values = array.as_list::<i32>().value(row);
            out.push('[');
            for index in 0..values.len() {
                if index > 0 {
                    out.push_str(if jsonb { ", " } else { "," });
                }
                put_json(out, values.as_ref(), index, element, jsonb)?;
            }
            out.push(']');
        }
        DataType::Struct(fields) => {
            out.push('{');
            for (index, (field, column)) in
                fields.iter().zip(array.as_struct().columns()).enumerate()
            {
                if index > 0 {
                    out.push_str(if jsonb { ", " } else { "," });
                }
                json::put_quoted(out, field.name());
                out.push_str(if jsonb { ": " } else { ":" });
                put_json(out, column.as_ref(), row, field, jsonb)?;
            }
            out.push('}');
        }
        _ => put_scalar(out, array, row, field, jsonb)?,
    }
    Ok(())
}

/// A value that has no others within it.
fn put_scalar(
    out: &mut String,
    array: &dyn Array,
    row: usize,
    field: &Field,
    jsonb: bool,
) -> Result<(), SqlError> {
    let kind = array.data_type();
    let mut text = Vec::new();
    encode::put_text(&mut text, array, row, &Style::cast("UTC"))?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    let raw = match kind {
        DataType::Boolean => true,
        kind if kind.is_numeric() => !matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity"),
        _ => matches!(pg_type::declared(field), Some("json" | "jsonb" | "numeric")),
    };
    if matches!(kind, DataType::Timestamp(..)) {
        text = text.replacen(' ', "T", 1);
        if text.ends_with("+00") {
            text.push_str(":00");
        }
    }
    match raw {
        true if jsonb => out.push_str(&json::parse(&text)?.to_text()?),
        true => out.push_str(&text),
        false => json::put_quoted(out, &text),
    }
    Ok(())
}

pub(super) fn to_json(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef, SqlError> {
    let array = call.arg(0)?;
    let field = call.fields.first().ok_or_else(|| no_function("to_json", call.fields))?;
    texts_out((0..array.len()).map(|row| {
        if array.is_null(row) {
            return Ok(None);
        }
        let mut out = String::new();
        put_json(&mut out, array.as_ref(), row, field, jsonb)?;
        Ok(Some(out))
    }))
}

pub(super) fn build_array(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef, SqlError> {
    texts_out((0..call.rows).map(|row| {
        let mut out = String::from("[");
        for (index, (array, field)) in call.args.iter().zip(call.fields).enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            put_json(&mut out, array.as_ref(), row, field, jsonb)?;
        }
        out.push(']');
        Ok(Some(out))
    }))
}

pub(super) fn build_object(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef, SqlError> {
    if !call.args.len().is_multiple_of(2) {
        return Err(SqlError::new(
            SqlState::InvalidParameter,
            "argument list must have even number of elements",
        )
        .hint(
            "The arguments of json_build_object() must consist of alternating keys and values.",
        ));
    }
    texts_out((0..call.rows).map(|row| {
        let mut out = String::from("{");
        for (index, (pair, fields)) in call.args.chunks(2).zip(call.fields.chunks(2)).enumerate() {
            let ([key, value], [_, field]) = (pair, fields) else { continue };
            if key.is_null(row) {
                let message = format!("argument {}: key must not be null", index * 2 + 1);
                return Err(SqlError::new(SqlState::InvalidParameter, message));
            }
            if index > 0 {
                out.push_str(", ");
            }
            let mut text = Vec::new();
            encode::put_text(&mut text, key.as_ref(), row, &Style::cast("UTC"))?;
            json::put_quoted(&mut out, &String::from_utf8_lossy(&text));
            out.push_str(if jsonb { ": " } else { " : " });
            put_json(&mut out, value.as_ref(), row, field, jsonb)?;
        }
        out.push('}');
        Ok(Some(if jsonb { json::parse(&out)?.to_text()? } else { out }))
    }))
}

/// Of one array of keys and values in turn, or of two.
pub(super) fn object_of_texts(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef, SqlError> {
    let first = call.text_lists(0)?;
    let second = if call.has(1) { Some(call.text_lists(1)?) } else { None };
    texts_out((0..call.rows).map(|row| {
        let Some(keys) = first.get(row).cloned().flatten() else { return Ok(None) };
        let pairs: Vec<(Option<String>, Option<String>)> = match &second {
            Some(values) => {
                let Some(values) = values.get(row).cloned().flatten() else { return Ok(None) };
                if values.len() != keys.len() {
                    return Err(SqlError::new(
                        SqlState::ArraySubscript,
                        "mismatched array dimensions",
                    ));
                }
                keys.into_iter().zip(values).collect()
            }
            None => {
                if !keys.len().is_multiple_of(2) {
                    return Err(SqlError::new(
                        SqlState::ArraySubscript,
                        "array must have even number of elements",
                    ));
                }
                keys.chunks(2)
                    .map(|pair| (pair.first().cloned().flatten(), pair.get(1).cloned().flatten()))
                    .collect()
            }
        };
        let mut out = String::from("{");
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            let key = key.ok_or_else(|| {
                SqlError::new(
                    SqlState::NullValueNotAllowed,
                    "null value not allowed for object key",
                )
            })?;
            if index > 0 {
                out.push_str(", ");
            }
            json::put_quoted(&mut out, &key);
            out.push_str(" : ");
            match value {
                Some(value) => json::put_quoted(&mut out, &value),
                None => out.push_str("null"),
            }
        }
        out.push('}');
        Ok(Some(if jsonb { json::parse(&out)?.to_text()? } else { out }))
    }))
}
