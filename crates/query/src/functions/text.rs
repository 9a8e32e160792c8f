//! Texts.

mod joined;
mod parts;

use super::{Budget, Call, Function, returns_boolean, returns_integer, returns_text};
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, StringViewArray, StringViewBuilder,
};
pub(crate) use joined::concatenated;
pub(super) use joined::printed;
use joined::{concat, concat_ws, text_concat};
use parts::{replace, split_part};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("repeat", returns_text, |call| with_number(call, repeat)),
        Function::new("left", returns_text, |call| {
            with_number(call, |text, count, _| Ok(left(text, count)))
        }),
        Function::new("right", returns_text, |call| {
            with_number(call, |text, count, _| Ok(right(text, count)))
        }),
        Function::new("lpad", returns_text, |call| pad(call, true)),
        Function::new("rpad", returns_text, |call| pad(call, false)),
        Function::new("replace", returns_text, |call| three(call, replace)),
        Function::new("substring", returns_text, substring).alias("substr"),
        Function::new("overlay", returns_text, overlay),
        Function::new("split_part", returns_text, split_part),
        Function::new("reverse", returns_text, |call| {
            one(call, |text| Ok(text.chars().rev().collect()))
        }),
        Function::new("quote_ident", returns_text, |call| one(call, |text| Ok(quote_ident(text)))),
        Function::new("chr", returns_text, chr),
        Function::new("ascii", returns_integer, |call| {
            number(call, |text| text.chars().next().map_or(0, |letter| letter as i32))
        }),
        Function::new("length", returns_integer, length)
            .alias("char_length")
            .alias("character_length"),
        Function::new("octet_length", returns_integer, octet_length),
        Function::new("bit_length", returns_integer, |call| {
            number(call, |text| text.len() as i32 * 8)
        }),
        Function::new("strpos", returns_integer, strpos),
        Function::new("starts_with", returns_boolean, starts_with),
        Function::new("concat", returns_text, concat),
        Function::new("concat_ws", returns_text, concat_ws),
        Function::new("text_concat", returns_text, text_concat),
        Function::new("unistr", returns_text, |call| one(call, unistr)),
    ]
}

/// The letters of a text, each as a text.
pub(super) fn letters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().filter_map(|(at, letter)| text.get(at..at + letter.len_utf8()))
}

pub(super) fn one(
    call: &Call<'_>,
    each: impl Fn(&str) -> Result<String, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let mut out = StringViewBuilder::with_capacity(texts.len());
    let mut budget = Budget::default();
    for text in &texts {
        let made = text.map(&each).transpose()?;
        budget.take(made.as_ref().map_or(0, String::len))?;
        out.append_option(made);
    }
    Ok(Arc::new(out.finish()))
}

fn number(call: &Call<'_>, each: impl Fn(&str) -> i32) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    Ok(Arc::new(texts.iter().map(|text| text.map(&each)).collect::<Int32Array>()))
}

fn with_number(
    call: &Call<'_>,
    each: impl Fn(&str, i64, &mut Budget) -> Result<String, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let (texts, numbers) = (call.texts(0)?, call.integers(1)?);
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for pair in texts.iter().zip(numbers.iter()) {
        match pair {
            (Some(text), Some(number)) => out.append_value(each(text, number, &mut budget)?),
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn three(
    call: &Call<'_>,
    each: impl Fn(&str, &str, &str, &mut Budget) -> Result<String, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let (a, b, c) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(a.len());
    for ((a, b), c) in a.iter().zip(b.iter()).zip(c.iter()) {
        match (a, b, c) {
            (Some(a), Some(b), Some(c)) => out.append_value(each(a, b, c, &mut budget)?),
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn repeat(text: &str, count: i64, budget: &mut Budget) -> Result<String, SqlError> {
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    budget.take(text.len().saturating_mul(count))?;
    Ok(text.repeat(count))
}

/// The first letters; all but the last where the number is negative.
fn left(text: &str, count: i64) -> String {
    let keep = if count < 0 { text.chars().count() as i64 + count } else { count };
    text.chars().take(usize::try_from(keep).unwrap_or(0)).collect()
}

fn right(text: &str, count: i64) -> String {
    let letters = text.chars().count() as i64;
    let skip = if count < 0 { count.saturating_neg() } else { letters.saturating_sub(count) };
    text.chars().skip(usize::try_from(skip).unwrap_or(0)).collect()
}

fn pad(call: &Call<'_>, at_left: bool) -> Result<ArrayRef, SqlError> {
    let (texts, lengths) = (call.texts(0)?, call.integers(1)?);
    let fills = if call.has(2) { Some(call.texts(2)?) } else { None };
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for (row, pair) in texts.iter().zip(lengths.iter()).enumerate() {
        let fill = match &fills {
            Some(fills) => fills.is_valid(row).then(|| fills.value(row)),
            None => Some(" "),
        };
        let (Some(text), Some(length), Some(fill)) = (pair.0, pair.1, fill) else {
            out.append_null();
            continue;
        };
        let length = usize::try_from(length.max(0)).unwrap_or(usize::MAX);
        let letters = text.chars().count();
        if letters >= length || fill.is_empty() {
            out.append_value(text.chars().take(length).collect::<String>());
            continue;
        }
        budget.take(text.len().saturating_add((length - letters).saturating_mul(4)))?;
        let padding: String = fill.chars().cycle().take(length - letters).collect();
        out.append_value(if at_left { padding + text } else { text.to_owned() + &padding });
    }
    Ok(Arc::new(out.finish()))
}

fn slice(text: &str, start: i64, length: Option<i64>) -> Result<&str, SqlError> {
    if length.is_some_and(|length| length < 0) {
        return Err(SqlError::new(
            SqlState::SubstringError,
            "negative substring length not allowed",
        ));
    }
    let end = length.map_or(i64::MAX, |length| start.saturating_add(length));
    let skip = usize::try_from(start.max(1) - 1).unwrap_or(usize::MAX);
    let take = usize::try_from(end.saturating_sub(start.max(1))).unwrap_or(0);
    let end = skip.saturating_add(take).min(text.len());
    // Where all letters up to the end are one byte each, places are offsets.
    if text.as_bytes().get(..end).is_some_and(<[u8]>::is_ascii) {
        return Ok(text.get(skip.min(end)..end).unwrap_or_default());
    }
    let offset = |text: &str, letters: usize| {
        text.char_indices().nth(letters).map_or(text.len(), |(offset, _)| offset)
    };
    let rest = text.get(offset(text, skip)..).unwrap_or_default();
    Ok(rest.get(..offset(rest, take)).unwrap_or_default())
}

/// `substring(text, from, for)`; with a text in the second place, what a regular expression finds.
fn substring(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if call.arg(0)?.data_type().is_binary() {
        return bytes_slice(call);
    }
    if call.arg(1)?.data_type().is_string() && !call.has(2) {
        return super::regular::substring(call);
    }
    let (texts, starts) = (call.texts(0)?, call.integers(1)?);
    let lengths = if call.has(2) { Some(call.integers(2)?) } else { None };
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for (row, pair) in texts.iter().zip(starts.iter()).enumerate() {
        let length =
            lengths.as_ref().map(|lengths| lengths.is_valid(row).then(|| lengths.value(row)));
        match (pair, length) {
            ((Some(text), Some(start)), None) => out.append_value(slice(text, start, None)?),
            ((Some(text), Some(start)), Some(Some(length))) => {
                out.append_value(slice(text, start, Some(length))?)
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn bytes_slice(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    // Bytes are shown as text here: two letters each after `\x`.
    let texts = call.texts(0)?;
    let starts = call.integers(1)?;
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let length = if call.has(2) { Some(call.integers(2)?.value(row) * 2) } else { None };
        match text {
            Some(text) => {
                let digits = text.strip_prefix("\\x").unwrap_or(text);
                let start = (starts.value(row) - 1) * 2 + 1;
                out.append_value(format!("\\x{}", slice(digits, start, length)?));
            }
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn overlay(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, news, starts) = (call.texts(0)?, call.texts(1)?, call.integers(2)?);
    let lengths = if call.has(3) { Some(call.integers(3)?) } else { None };
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for row in 0..texts.len() {
        if texts.is_null(row) || news.is_null(row) || starts.is_null(row) {
            out.append_null();
            continue;
        }
        let (text, new, start) = (texts.value(row), news.value(row), starts.value(row));
        if start < 1 {
            return Err(SqlError::new(
                SqlState::SubstringError,
                "negative substring length not allowed",
            ));
        }
        let length =
            lengths.as_ref().map_or(new.chars().count() as i64, |lengths| lengths.value(row));
        let before = slice(text, 1, Some(start - 1))?;
        let after = slice(text, start.saturating_add(length), None)?;
        out.append_value(format!("{before}{new}{after}"));
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn quote_ident(text: &str) -> String {
    let plain = text.chars().next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

fn chr(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let numbers = call.integers(0)?;
    let mut out = StringViewBuilder::with_capacity(numbers.len());
    for number in &numbers {
        let Some(number) = number else {
            out.append_null();
            continue;
        };
        if number == 0 {
            return Err(SqlError::new(SqlState::LimitExceeded, "null character not permitted"));
        }
        let letter = u32::try_from(number).ok().and_then(char::from_u32).ok_or_else(|| {
            SqlError::new(
                SqlState::LimitExceeded,
                "requested character not valid for encoding: UTF8",
            )
        })?;
        out.append_value(letter.to_string());
    }
    Ok(Arc::new(out.finish()))
}

fn length(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if call.arg(0)?.data_type().is_binary() {
        return octet_length(call);
    }
    number(call, |text| text.chars().count() as i32)
}

fn octet_length(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if call.arg(0)?.data_type().is_binary() {
        // Two letters each after `\x`.
        return number(call, |text| (text.len().saturating_sub(2) / 2) as i32);
    }
    number(call, |text| text.len() as i32)
}

fn strpos(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, parts) = (call.texts(0)?, call.texts(1)?);
    let place = |(text, part): (Option<&str>, Option<&str>)| {
        let (text, part) = (text?, part?);
        Some(
            text.find(part)
                .map_or(0, |at| text.get(..at).unwrap_or_default().chars().count() as i32 + 1),
        )
    };
    Ok(Arc::new(texts.iter().zip(parts.iter()).map(place).collect::<Int32Array>()))
}

fn starts_with(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, parts) = (call.texts(0)?, call.texts(1)?);
    let starts = |(text, part): (Option<&str>, Option<&str>)| Some(text?.starts_with(part?));
    Ok(Arc::new(texts.iter().zip(parts.iter()).map(starts).collect::<BooleanArray>()))
}

/// `\0041`, `\+000041`, `\u0041`, `\U00000041` and `\\`.
fn unistr(text: &str) -> Result<String, SqlError> {
    let invalid = || SqlError::new(SqlState::SyntaxError, "invalid Unicode escape");
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        if let Some(tail) = after.strip_prefix('\\') {
            out.push('\\');
            rest = tail;
            continue;
        }
        let (skip, digits) = match after.chars().next() {
            Some('+') => (1, 6),
            Some('u') => (1, 4),
            Some('U') => (1, 8),
            _ => (0, 4),
        };
        let code =
            after.get(skip..skip + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        out.push(code.and_then(char::from_u32).ok_or_else(invalid)?);
        rest = after.get(skip + digits..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}
