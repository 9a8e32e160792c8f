//! Whether one JSON value contains another (`@>`, `<@`).

use super::Json;
use crate::error::SqlError;
use crate::sql::stop;
use std::collections::HashSet;

/// What it costs to look at a value.
const LOOKUP_WORK: usize = 50;
/// So few pairs of values are compared one by one.
const FEW_PAIRS: usize = 64;

/// A number's digits without zeros at its end.
fn plain(digits: &str) -> String {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

fn same_number(a: &str, b: &str) -> bool {
    a == b || plain(a) == plain(b)
}

/// Whether two values are the same, numbers by their value.
pub(crate) fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => same_number(a, b),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            let same = |((ka, va), (kb, vb)): (&(String, Json), &(String, Json))| {
                ka == kb && equal(va, vb)
            };
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        (a, b) => a == b,
    }
}

/// `a @> b`.
pub(crate) fn contains(a: &Json, b: &Json) -> Result<bool, SqlError> {
    match (a, b) {
        (Json::Array(values), b) if b.is_scalar() => any(values, |value| Ok(equal(value, b))),
        _ => contains_deep(a, b),
    }
}

fn contains_deep(a: &Json, b: &Json) -> Result<bool, SqlError> {
    match (a, b) {
        (Json::Object(_), Json::Object(fields)) => all(fields, |(key, value)| {
            a.field(key).map_or(Ok(false), |found| contains_deep(found, value))
        }),
        (Json::Array(values), Json::Array(wanted)) => contains_elements(values, wanted),
        (a, b) => Ok(equal(a, b)),
    }
}

fn contains_elements(values: &[Json], wanted: &[Json]) -> Result<bool, SqlError> {
    if values.len().saturating_mul(wanted.len()) < FEW_PAIRS {
        return all(wanted, |wanted| any(values, |value| contains_deep(value, wanted)));
    }
    let mut scalars = HashSet::new();
    for value in values {
        stop::work(LOOKUP_WORK)?;
        scalars.extend(lookup_text(value));
    }
    let parts: Vec<&Json> = values.iter().filter(|value| !value.is_scalar()).collect();
    all(wanted, |wanted| match lookup_text(wanted) {
        Some(text) => Ok(scalars.contains(&text)),
        None => any(&parts, |value| contains_deep(value, wanted)),
    })
}

/// A scalar as a text that equal ones share.
fn lookup_text(value: &Json) -> Option<String> {
    match value {
        Json::Null => Some("null".to_owned()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(digits) => Some(plain(digits)),
        Json::Text(text) => Some(format!("\"{text}")),
        Json::Array(_) | Json::Object(_) => None,
    }
}

fn any<T>(values: &[T], holds: impl Fn(&T) -> Result<bool, SqlError>) -> Result<bool, SqlError> {
    for value in values {
        stop::work(LOOKUP_WORK)?;
        if holds(value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all<T>(values: &[T], holds: impl Fn(&T) -> Result<bool, SqlError>) -> Result<bool, SqlError> {
    Ok(!any(values, |value| Ok(!holds(value)?))?)
}

/// `a ? key`: a key of an object, a string among an array's elements, or the string itself.
pub(crate) fn has_key(value: &Json, key: &str) -> Result<bool, SqlError> {
    match value {
        Json::Object(_) => Ok(value.field(key).is_some()),
        Json::Array(values) => {
            any(values, |value| Ok(matches!(value, Json::Text(text) if text == key)))
        }
        Json::Text(text) => Ok(text == key),
        _ => Ok(false),
    }
}
