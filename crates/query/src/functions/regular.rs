//! Regular expressions.

use super::{Budget, Call, Function, returns, returns_boolean, returns_text};
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, ListBuilder, StringViewBuilder};
use datafusion::arrow::datatypes::DataType;
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::Arc;

/// The memory that one compiled expression may have.
const COMPILED_MAX_BYTES: usize = 4 << 20;
/// Compiled expressions that are kept at once.
const COMPILED_MAX: usize = 32;

pub(super) fn functions() -> Vec<Function> {
    let texts = |_: &super::Asked<'_>| returns(DataType::new_list(DataType::Utf8View, true));
    vec![
        Function::new("regexp_match", texts, first_match),
        Function::new(
            "regexp_matches_list",
            |_| returns(DataType::new_list(DataType::new_list(DataType::Utf8View, true), true)),
            all_matches,
        ),
        Function::new("regexp_split_to_array", texts, split).alias("regexp_split_to_table_list"),
        Function::new("regexp_like", returns_boolean, like),
        Function::new("like_escape", returns_text, like_escape),
        Function::new("similar_to", returns_boolean, similar_to),
    ]
}

/// Expressions that were compiled, by their text and flags.
#[derive(Default)]
pub(super) struct Compiled(HashMap<(String, String), Regex>);

impl Compiled {
    pub(super) fn get(&mut self, pattern: &str, flags: &str) -> Result<&Regex, SqlError> {
        let key = (pattern.to_owned(), flags.to_owned());
        if !self.0.contains_key(&key) {
            let mut builder = RegexBuilder::new(pattern);
            builder.size_limit(COMPILED_MAX_BYTES).dot_matches_new_line(true);
            for flag in flags.chars() {
                match flag {
                    'i' => builder.case_insensitive(true),
                    'n' | 'm' => builder.multi_line(true).dot_matches_new_line(false),
                    'x' => builder.ignore_whitespace(true),
                    'g' | 'c' | 's' => &mut builder,
                    other => {
                        let message = format!("invalid regular expression option: \"{other}\"");
                        return Err(SqlError::new(SqlState::InvalidParameter, message));
                    }
                };
            }
            let compiled = builder.build().map_err(|error| {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim().to_owned();
                SqlError::new(
                    SqlState::InvalidRegularExpression,
                    format!("invalid regular expression: {reason}"),
                )
            })?;
            if self.0.len() >= COMPILED_MAX {
                self.0.clear();
            }
            self.0.insert(key.clone(), compiled);
        }
        self.0.get(&key).ok_or_else(|| SqlError::new(SqlState::Internal, "an expression is gone"))
    }
}

/// Calls `each` with text, expression and flags of each row that has all of them.
fn rows<T>(
    call: &Call<'_>,
    flags_at: usize,
    mut each: impl FnMut(usize, &str, &Regex, &str) -> Result<T, SqlError>,
) -> Result<Vec<Option<T>>, SqlError> {
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    let flags = if call.has(flags_at) { Some(call.texts(flags_at)?) } else { None };
    let mut compiled = Compiled::default();
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if texts.is_null(row)
            || patterns.is_null(row)
            || flags.as_ref().is_some_and(|flags| flags.is_null(row))
        {
            out.push(None);
            continue;
        }
        let flags = flags.as_ref().map_or("", |flags| flags.value(row));
        let regex = compiled.get(patterns.value(row), flags)?;
        out.push(Some(each(row, texts.value(row), regex, flags)?));
    }
    Ok(out)
}

/// What the groups have found; the whole where there are none.
fn groups(
    found: &regex::Captures<'_>,
    budget: &mut Budget,
) -> Result<Vec<Option<String>>, SqlError> {
    let from = usize::from(found.len() > 1);
    let group = |index: usize| {
        budget.take_part()?;
        Ok(found.get(index).map(|group| group.as_str().to_owned()))
    };
    (from..found.len()).map(group).collect()
}

fn lists(rows: Vec<Option<Vec<Option<String>>>>) -> ArrayRef {
    let mut out = ListBuilder::new(StringViewBuilder::new());
    for row in rows {
        match row {
            Some(values) => {
                values.into_iter().for_each(|value| out.values().append_option(value));
                out.append(true);
            }
            None => out.append(false),
        }
    }
    Arc::new(out.finish())
}

fn first_match(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let mut budget = Budget::default();
    let found = rows(call, 2, |_, text, regex, _| {
        regex.captures(text).map(|found| groups(&found, &mut budget)).transpose()
    })?;
    Ok(lists(found.into_iter().map(Option::flatten).collect()))
}

fn all_matches(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let mut budget = Budget::default();
    let found = rows(call, 2, |_, text, regex, flags| {
        let limit = if flags.contains('g') { usize::MAX } else { 1 };
        let found = regex.captures_iter(text).take(limit);
        found.map(|found| groups(&found, &mut budget)).collect::<Result<Vec<_>, SqlError>>()
    })?;
    let mut out = ListBuilder::new(ListBuilder::new(StringViewBuilder::new()));
    for row in found {
        let valid = row.is_some();
        for values in row.unwrap_or_default() {
            values.into_iter().for_each(|value| out.values().values().append_option(value));
            out.values().append(true);
        }
        out.append(valid);
    }
    Ok(Arc::new(out.finish()))
}

fn split(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let mut budget = Budget::default();
    let mut part = |part: &str| {
        budget.take_part()?;
        Ok(Some(part.to_owned()))
    };
    let parts = rows(call, 2, |_, text, regex, _| match regex.as_str() {
        "" => super::text::letters(text).map(&mut part).collect(),
        _ => regex.split(text).map(&mut part).collect::<Result<Vec<_>, SqlError>>(),
    })?;
    Ok(lists(parts))
}

fn like(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let found = rows(call, 2, |_, text, regex, _| Ok(regex.is_match(text)))?;
    Ok(Arc::new(BooleanArray::from(found)))
}

/// A pattern of LIKE whose escape character is another one, as one whose is a backslash.
fn like_escape(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (patterns, escapes) = (call.texts(0)?, call.texts(1)?);
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for pair in patterns.iter().zip(escapes.iter()) {
        let (Some(pattern), Some(escape)) = pair else {
            out.append_null();
            continue;
        };
        let mut letters = escape.chars();
        let (escape, more) = (letters.next(), letters.next());
        if more.is_some() {
            return Err(SqlError::new(SqlState::InvalidEscape, "invalid escape string")
                .hint("Escape string must be empty or one character."));
        }
        let mut changed = String::with_capacity(pattern.len());
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            if Some(letter) == escape {
                changed.push('\\');
                match letters.next() {
                    Some(next) => changed.push(next),
                    None => {
                        let message = "LIKE pattern must not end with escape character";
                        return Err(SqlError::new(SqlState::InvalidEscape, message));
                    }
                }
            } else if letter == '\\' {
                changed.push_str("\\\\");
            } else {
                changed.push(letter);
            }
        }
        out.append_value(changed);
    }
    Ok(Arc::new(out.finish()))
}

/// A pattern of SIMILAR TO as a regular expression.
pub(super) fn of_similar(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("^(?:");
    let mut letters = pattern.chars();
    let mut in_class = false;
    while let Some(letter) = letters.next() {
        if Some(letter) == escape {
            if let Some(next) = letters.next() {
                out.push_str(&regex::escape(&next.to_string()));
            }
            continue;
        }
        match letter {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        match letter {
            '%' if !in_class => out.push_str(".*"),
            '_' if !in_class => out.push('.'),
            '.' | '^' | '$' | '\\' if !in_class => {
                out.push_str(&regex::escape(&letter.to_string()))
            }
            other => out.push(other),
        }
    }
    out + ")$"
}

fn similar_to(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    let escapes = if call.has(2) { Some(call.texts(2)?) } else { None };
    let mut compiled = Compiled::default();
    let each = |row: usize| -> Result<Option<bool>, SqlError> {
        if texts.is_null(row) || patterns.is_null(row) {
            return Ok(None);
        }
        let escape = match &escapes {
            Some(escapes) => escapes.value(row).chars().next(),
            None => Some('\\'),
        };
        let pattern = of_similar(patterns.value(row), escape);
        Ok(Some(compiled.get(&pattern, "")?.is_match(texts.value(row))))
    };
    let out = (0..call.rows).map(each).collect::<Result<BooleanArray, SqlError>>()?;
    Ok(Arc::new(out))
}

/// `substring(text from 'expression')`: the first group, or the whole.
pub(super) fn substring(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let found = rows(call, 9, |_, text, regex, _| {
        let found = regex.captures(text);
        let group = |found: regex::Captures<'_>| {
            let group = found.get(usize::from(found.len() > 1))?;
            Some(group.as_str().to_owned())
        };
        Ok(found.and_then(group))
    })?;
    let mut out = StringViewBuilder::with_capacity(found.len());
    for text in found {
        out.append_option(text.flatten());
    }
    Ok(Arc::new(out.finish()))
}
