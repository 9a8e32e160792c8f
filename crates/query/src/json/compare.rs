//! What is in what.

use super::Json;

fn same_number(a: &str, b: &str) -> bool {
    let plain = |digits: &str| {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        format!("{whole}.{}", fraction.trim_end_matches('0'))
    };
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
pub(crate) fn contains(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Array(values), b) if b.is_scalar() => values.iter().any(|value| equal(value, b)),
        _ => contains_deep(a, b),
    }
}

fn contains_deep(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(_), Json::Object(fields)) => fields
            .iter()
            .all(|(key, value)| a.field(key).is_some_and(|found| contains_deep(found, value))),
        (Json::Array(values), Json::Array(wanted)) => {
            wanted.iter().all(|wanted| values.iter().any(|value| contains_deep(value, wanted)))
        }
        (a, b) => equal(a, b),
    }
}

/// `a ? key`: a key of an object, a string among an array's elements, or the string itself.
pub(crate) fn has_key(value: &Json, key: &str) -> bool {
    match value {
        Json::Object(_) => value.field(key).is_some(),
        Json::Array(values) => {
            values.iter().any(|value| matches!(value, Json::Text(text) if text == key))
        }
        Json::Text(text) => text == key,
        _ => false,
    }
}
