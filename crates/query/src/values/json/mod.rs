//! JSON as Postgres has it: `json` keeps its text, `jsonb` keeps its values. Numbers keep all their
//! digits in both.

mod change;
mod compare;
mod read;
mod write;

pub(crate) use change::{concatenate, delete_key, delete_path, insert, set, strip_nulls};
pub(crate) use compare::{contains, has_key};
pub(crate) use read::{Node, Value, check, parse, spanned};
pub(crate) use write::put_quoted;

use crate::error::SqlError;

/// A value of JSON. Of an object each key is there once, in jsonb's order: shorter ones first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Its digits as they are printed.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// As `jsonb` is printed.
    pub(crate) fn to_text(&self) -> Result<String, SqlError> {
        write::text(self, false)
    }

    /// As `jsonb_pretty` prints it.
    pub(crate) fn to_pretty_text(&self) -> Result<String, SqlError> {
        write::text(self, true)
    }

    /// What it is called.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// The value of a key.
    pub(crate) fn field(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(fields) => {
                let wanted = (key.len(), key);
                let found =
                    fields.binary_search_by(|(name, _)| (name.len(), name.as_str()).cmp(&wanted));
                fields.get(found.ok()?).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// An element; from the end where the number is negative.
    pub(crate) fn element(&self, index: i64) -> Option<&Json> {
        match self {
            Self::Array(values) => values.get(place(index, values.len())?),
            _ => None,
        }
    }

    /// What is at the end of a path of keys and numbers.
    pub(crate) fn at(&self, path: &[String]) -> Option<&Json> {
        path.iter().try_fold(self, |value, step| match value {
            Self::Array(_) => value.element(step.trim().parse().ok()?),
            _ => value.field(step),
        })
    }

    /// An object from pairs of which later ones win.
    pub(crate) fn object(pairs: Vec<(String, Json)>) -> Self {
        let mut fields: Vec<(String, Json)> = Vec::with_capacity(pairs.len());
        // Stable, so that of equal keys the last one is the last of its run.
        let mut sorted = pairs;
        sorted.sort_by(|(a, _), (b, _)| (a.len(), a.as_str()).cmp(&(b.len(), b.as_str())));
        for (key, value) in sorted {
            match fields.last_mut() {
                Some((last, slot)) if *last == key => *slot = value,
                _ => fields.push((key, value)),
            }
        }
        Self::Object(fields)
    }
}

/// A place in a list of so many, counted from its end where the number is negative.
pub(crate) fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok()
}

#[cfg(test)]
mod tests;
