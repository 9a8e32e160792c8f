//! `json` and `jsonb`: operators and functions.

mod build;
mod parts;

use super::{
    Asked, Budget, Call, Function, check_value, no_function, returns, returns_boolean,
    returns_integer, returns_text,
};
use crate::error::{SqlError, SqlState};
use crate::values::encode::{self, Style};
use crate::values::json::{self, Json, Value};
use crate::values::pg_type;
pub(super) use build::put_json;
use build::{build_array, build_object, object_of_texts, to_json};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringViewBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use parts::{at_path, at_steps, elements, field_of, keys, pair_part, pairs, paths};
use std::sync::Arc;

fn field(declared: &str) -> Result<FieldRef, SqlError> {
    Ok(pg_type::field_ref(DataType::Utf8View, declared))
}

pub(super) fn returns_json(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    field("json")
}

pub(super) fn returns_jsonb(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    field("jsonb")
}

/// The kind that the first argument is; text is taken for `json`.
fn returns_alike(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let first = asked.fields.first().and_then(|field| pg_type::declared(field));
    field(if first == Some("jsonb") { "jsonb" } else { "json" })
}

/// A list of texts: what its elements are is not kept in a constant list.
fn returns_list(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::new_list(DataType::Utf8View, true))
}

pub(super) fn functions() -> Vec<Function> {
    [reading(), changing(), describing(), building(), listing()].into_iter().flatten().collect()
}

/// Operators and functions that look into a value.
fn reading() -> Vec<Function> {
    vec![
        Function::new("json_field", returns_alike, |call| field_of(call, false)),
        Function::new("json_field_text", returns_text, |call| field_of(call, true)),
        Function::new("json_subscript", returns_alike, |call| field_of(call, false)),
        Function::new("json_path", returns_alike, |call| at_path(call, false)),
        Function::new("json_path_text", returns_text, |call| at_path(call, true)),
        Function::new("json_extract_path", returns_json, |call| at_steps(call, false)),
        Function::new("jsonb_extract_path", returns_jsonb, |call| at_steps(call, false)),
        Function::new("json_extract_path_text", returns_text, |call| at_steps(call, true))
            .alias("jsonb_extract_path_text"),
        Function::new("json_contains", returns_boolean, contains),
        Function::new("json_has_key", returns_boolean, |call| has_keys(call, true))
            .alias("jsonb_exists"),
        Function::new("json_has_any_key", returns_boolean, |call| has_keys(call, false))
            .alias("jsonb_exists_any"),
        Function::new("json_has_all_keys", returns_boolean, |call| has_keys(call, true))
            .alias("jsonb_exists_all"),
    ]
}

/// Functions that change a value.
fn changing() -> Vec<Function> {
    vec![
        Function::new("json_concat", returns_jsonb, concatenate).alias("jsonb_concat"),
        Function::new("json_minus", returns_jsonb, minus),
        Function::new("json_minus_path", returns_jsonb, minus_path).alias("jsonb_delete_path"),
        Function::new("jsonb_delete", returns_jsonb, minus),
        Function::new("jsonb_set", returns_jsonb, |call| set(call, false)),
        Function::new("jsonb_set_lax", returns_jsonb, |call| set(call, false)),
        Function::new("jsonb_insert", returns_jsonb, |call| set(call, true)),
        Function::new("jsonb_pretty", returns_text, |call| {
            each(call, |value| Ok(Some(value.to_pretty_text()?)))
        }),
        Function::new("jsonb_strip_nulls", returns_jsonb, |call| {
            each(call, |value| Ok(Some(json::strip_nulls(value).to_text()?)))
        }),
        Function::new("json_strip_nulls", returns_json, |call| {
            each(call, |value| {
                Ok(Some(json::strip_nulls(value).to_text()?.replace(": ", ":").replace(", ", ",")))
            })
        }),
    ]
}

/// Functions that say what a value is.
fn describing() -> Vec<Function> {
    vec![
        Function::new("json_typeof", returns_text, |call| {
            each(call, |value| Ok(Some(value.type_name().to_owned())))
        })
        .alias("jsonb_typeof"),
        Function::new("json_array_length", returns_integer, array_length)
            .alias("jsonb_array_length"),
    ]
}

/// Functions that make JSON of something else.
fn building() -> Vec<Function> {
    vec![
        Function::new("to_json", returns_json, |call| to_json(call, false))
            .alias("row_to_json")
            .alias("array_to_json"),
        Function::new("to_jsonb", returns_jsonb, |call| to_json(call, true)),
        Function::new("json_build_array", returns_json, |call| build_array(call, false)),
        Function::new("jsonb_build_array", returns_jsonb, |call| build_array(call, true)),
        Function::new("json_build_object", returns_json, |call| build_object(call, false)),
        Function::new("jsonb_build_object", returns_jsonb, |call| build_object(call, true)),
        Function::new("json_object", returns_json, |call| object_of_texts(call, false)),
        Function::new("jsonb_object", returns_jsonb, |call| object_of_texts(call, true)),
    ]
}

/// Functions that list what a value consists of.
fn listing() -> Vec<Function> {
    vec![
        Function::new("json_object_keys_list", returns_list, keys).alias("jsonb_object_keys_list"),
        Function::new("json_array_elements_list", returns_list, |call| {
            elements(call, false, false)
        }),
        Function::new("jsonb_array_elements_list", returns_list, |call| {
            elements(call, false, true)
        }),
        Function::new("json_array_elements_text_list", returns_list, |call| {
            elements(call, true, false)
        })
        .alias("jsonb_array_elements_text_list"),
        Function::new("json_each_list", returns_list, |call| pairs(call, false))
            .alias("jsonb_each_list"),
        Function::new("json_each_text_list", returns_list, |call| pairs(call, true))
            .alias("jsonb_each_text_list"),
        Function::new("json_pair_part", returns_text, pair_part),
        Function::new("jsonb_contains", returns_boolean, contains),
    ]
}

fn texts_out(
    rows: impl Iterator<Item = Result<Option<String>, SqlError>>,
) -> Result<ArrayRef, SqlError> {
    let mut out = StringViewBuilder::new();
    for row in rows {
        let text = row?;
        // Together they are about as large as the arguments, which have a limit.
        check_value(text.as_ref().map_or(0, String::len))?;
        out.append_option(text);
    }
    Ok(Arc::new(out.finish()))
}

/// Applies `change` to each value.
fn each(
    call: &Call<'_>,
    change: impl Fn(Json) -> Result<Option<String>, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    texts_out(texts.iter().map(|text| match text {
        Some(text) => change(json::parse(text)?),
        None => Ok(None),
    }))
}

fn is_jsonb(call: &Call<'_>) -> bool {
    pg_type::declared(call.returns) == Some("jsonb")
}

fn contains(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (a, b) = (call.texts(0)?, call.texts(1)?);
    let pair = |(a, b): (Option<&str>, Option<&str>)| match (a, b) {
        (Some(a), Some(b)) => Ok(Some(json::contains(&json::parse(a)?, &json::parse(b)?)?)),
        _ => Ok(None),
    };
    let out = a.iter().zip(b.iter()).map(pair).collect::<Result<BooleanArray, SqlError>>()?;
    Ok(Arc::new(out))
}

fn has_keys(call: &Call<'_>, all: bool) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let keys: Vec<Option<Vec<Option<String>>>> = if call.arg(1)?.data_type().is_list()
        || call.arg(1)?.data_type().is_string() && call.returns.name() != "json_has_key"
    {
        call.text_lists(1)?
    } else {
        call.texts(1)?.iter().map(|key| key.map(|key| vec![Some(key.to_owned())])).collect()
    };
    let has = |row: usize| -> Result<Option<bool>, SqlError> {
        let (true, Some(keys)) = (texts.is_valid(row), keys.get(row).and_then(Option::as_ref))
        else {
            return Ok(None);
        };
        let value = json::parse(texts.value(row))?;
        for key in keys.iter().flatten() {
            if json::has_key(&value, key)? != all {
                return Ok(Some(!all));
            }
        }
        Ok(Some(all))
    };
    let out = (0..call.rows).map(has).collect::<Result<BooleanArray, SqlError>>()?;
    Ok(Arc::new(out))
}

fn concatenate(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (a, b) = (call.texts(0)?, call.texts(1)?);
    let mut budget = Budget::default();
    texts_out(a.iter().zip(b.iter()).map(|pair| match pair {
        (Some(a), Some(b)) => {
            budget.take(a.len() + b.len())?;
            Ok(Some(json::concatenate(json::parse(a)?, json::parse(b)?).to_text()?))
        }
        _ => Ok(None),
    }))
}

/// Without a key, an element, or several keys.
fn minus(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let kind = call.arg(1)?.data_type().clone();
    let numbers = if kind.is_integer() { Some(call.integers(1)?) } else { None };
    let keys = if kind.is_list() { Some(paths(call, 1)?) } else { None };
    let single = if numbers.is_none() && keys.is_none() { Some(call.texts(1)?) } else { None };
    texts_out((0..call.rows).map(|row| {
        if texts.is_null(row) || call.arg(1)?.is_null(row) {
            return Ok(None);
        }
        let value = json::parse(texts.value(row))?;
        if let Some(numbers) = &numbers {
            return match value {
                Json::Array(mut values) => {
                    let at = json::place(numbers.value(row), values.len())
                        .filter(|&at| at < values.len());
                    at.map(|at| values.remove(at));
                    Ok(Some(Json::Array(values).to_text()?))
                }
                Json::Object(_) => Err(SqlError::new(
                    SqlState::InvalidParameter,
                    "cannot delete from object using integer index",
                )),
                _ => Err(SqlError::new(SqlState::InvalidParameter, "cannot delete from scalar")),
            };
        }
        let keys = match (&keys, &single) {
            (Some(keys), _) => keys.get(row).cloned().flatten().unwrap_or_default(),
            (None, Some(single)) => vec![single.value(row).to_owned()],
            (None, None) => Vec::new(),
        };
        Ok(Some(json::delete_key(value, &keys)?.to_text()?))
    }))
}

fn minus_path(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, paths) = (call.texts(0)?, paths(call, 1)?);
    texts_out((0..call.rows).map(|row| {
        match (texts.is_valid(row), paths.get(row).and_then(Option::as_ref)) {
            (true, Some(path)) => {
                Ok(Some(json::delete_path(json::parse(texts.value(row))?, path)?.to_text()?))
            }
            _ => Ok(None),
        }
    }))
}

fn set(call: &Call<'_>, inserts: bool) -> Result<ArrayRef, SqlError> {
    let (texts, paths, news) = (call.texts(0)?, paths(call, 1)?, call.texts(2)?);
    let flags = if call.has(3) { Some(call.booleans(3)?) } else { None };
    texts_out((0..call.rows).map(|row| {
        let path = paths.get(row).and_then(Option::as_ref);
        let (true, true, Some(path)) = (texts.is_valid(row), news.is_valid(row), path) else {
            return Ok(None);
        };
        let flag = flags.as_ref().map_or(!inserts, |flags| flags.value(row));
        let (value, new) = (json::parse(texts.value(row))?, json::parse(news.value(row))?);
        let changed = if inserts {
            json::insert(value, path, &new, flag)?
        } else {
            json::set(value, path, &new, flag)?
        };
        Ok(Some(changed.to_text()?))
    }))
}

fn array_length(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let length = |text: Option<&str>| -> Result<Option<i32>, SqlError> {
        let Some(text) = text else { return Ok(None) };
        match json::parse(text)? {
            Json::Array(values) => Ok(Some(values.len() as i32)),
            Json::Object(_) => Err(SqlError::new(
                SqlState::InvalidParameter,
                "cannot get array length of a non-array",
            )),
            _ => Err(SqlError::new(
                SqlState::InvalidParameter,
                "cannot get array length of a scalar",
            )),
        }
    };
    let out = texts.iter().map(length).collect::<Result<Int32Array, SqlError>>()?;
    Ok(Arc::new(out))
}
