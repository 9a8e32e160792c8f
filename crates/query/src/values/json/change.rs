//! Values made from others.

use super::{Json, place};
use crate::error::{SqlError, SqlState};
use std::collections::HashSet;

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidParameter, message)
}

/// `a || b`.
pub(crate) fn concatenate(a: Json, b: Json) -> Json {
    let list = |value: Json| match value {
        Json::Array(values) => values,
        other => vec![other],
    };
    match (a, b) {
        (Json::Object(mut a), Json::Object(b)) => {
            a.extend(b);
            Json::object(a)
        }
        (a, b) => {
            let mut all = list(a);
            all.extend(list(b));
            Json::Array(all)
        }
    }
}

/// `a - key`.
pub(crate) fn delete_key(value: Json, keys: &[String]) -> Result<Json, SqlError> {
    let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
    match value {
        Json::Object(fields) => {
            let kept = |(key, _): &(String, Json)| !keys.contains(key.as_str());
            Ok(Json::Object(fields.into_iter().filter(kept).collect()))
        }
        Json::Array(values) => {
            let kept =
                |value: &Json| !matches!(value, Json::Text(text) if keys.contains(text.as_str()));
            Ok(Json::Array(values.into_iter().filter(kept).collect()))
        }
        _ => Err(wrong("cannot delete from scalar")),
    }
}

/// `a #- path`.
pub(crate) fn delete_path(value: Json, path: &[String]) -> Result<Json, SqlError> {
    if value.is_scalar() {
        return Err(wrong("cannot delete path in scalar"));
    }
    let [step, rest @ ..] = path else { return Ok(value) };
    Ok(match value {
        Json::Object(mut fields) => {
            if rest.is_empty() {
                fields.retain(|(key, _)| key != step);
            } else if let Some((_, inner)) = fields.iter_mut().find(|(key, _)| key == step)
                && !inner.is_scalar()
            {
                *inner = delete_path(inner.clone(), rest)?;
            }
            Json::Object(fields)
        }
        Json::Array(mut values) => {
            let index = index_of(step, 0)?;
            if let Some(at) = place(index, values.len()).filter(|&at| at < values.len()) {
                if rest.is_empty() {
                    values.remove(at);
                } else if let Some(inner) = values.get_mut(at)
                    && !inner.is_scalar()
                {
                    *inner = delete_path(inner.clone(), rest)?;
                }
            }
            Json::Array(values)
        }
        scalar => scalar,
    })
}

fn index_of(step: &str, position: usize) -> Result<i64, SqlError> {
    step.trim().parse().map_err(|_| {
        SqlError::new(
            SqlState::InvalidText,
            format!("path element at position {} is not an integer: \"{step}\"", position + 1),
        )
    })
}

/// `jsonb_set`.
pub(crate) fn set(
    value: Json,
    path: &[String],
    new: &Json,
    create: bool,
) -> Result<Json, SqlError> {
    if value.is_scalar() {
        return Err(wrong("cannot set path in scalar"));
    }
    if !create && value.at(path).is_none() {
        return Ok(value);
    }
    change(value, path, 0, new, create, None)
}

/// `jsonb_insert`.
pub(crate) fn insert(
    value: Json,
    path: &[String],
    new: &Json,
    after: bool,
) -> Result<Json, SqlError> {
    if value.is_scalar() {
        return Err(wrong("cannot set path in scalar"));
    }
    change(value, path, 0, new, true, Some(after))
}

/// Puts a value at the end of a path; with `inserting` beside what is there instead of in its
/// place.
fn change(
    value: Json,
    path: &[String],
    position: usize,
    new: &Json,
    create: bool,
    inserting: Option<bool>,
) -> Result<Json, SqlError> {
    let Some(step) = path.get(position) else { return Ok(value) };
    let last = position + 1 == path.len();
    Ok(match value {
        Json::Object(mut fields) => {
            let found = fields.iter_mut().find(|(key, _)| key == step);
            match (found, last) {
                (Some(_), true) if inserting.is_some() => {
                    return Err(wrong("cannot replace existing key")
                        .hint("Try using the function jsonb_set to replace key value."));
                }
                (Some((_, slot)), true) => *slot = new.clone(),
                (Some((_, slot)), false) if !slot.is_scalar() => {
                    *slot = change(slot.clone(), path, position + 1, new, create, inserting)?;
                }
                (None, true) if create => {
                    fields.push((step.clone(), new.clone()));
                    return Ok(Json::object(fields));
                }
                _ => {}
            }
            Json::Object(fields)
        }
        Json::Array(mut values) => {
            let index = index_of(step, position)?;
            let length = values.len();
            let at = place(index, length);
            match (at.filter(|&at| at < length), last) {
                (Some(at), true) => match inserting {
                    Some(after) => values.insert(at + usize::from(after), new.clone()),
                    None => {
                        if let Some(slot) = values.get_mut(at) {
                            *slot = new.clone();
                        }
                    }
                },
                (Some(at), false) => {
                    if let Some(slot) = values.get_mut(at)
                        && !slot.is_scalar()
                    {
                        *slot = change(slot.clone(), path, position + 1, new, create, inserting)?;
                    }
                }
                (None, true) if create && index < 0 => values.insert(0, new.clone()),
                (None, true) if create => values.push(new.clone()),
                _ => {}
            }
            Json::Array(values)
        }
        scalar => scalar,
    })
}

/// Without the fields that are null.
pub(crate) fn strip_nulls(value: Json) -> Json {
    match value {
        Json::Object(fields) => Json::Object(
            fields
                .into_iter()
                .filter(|(_, value)| *value != Json::Null)
                .map(|(key, value)| (key, strip_nulls(value)))
                .collect(),
        ),
        Json::Array(values) => Json::Array(values.into_iter().map(strip_nulls).collect()),
        scalar => scalar,
    }
}
