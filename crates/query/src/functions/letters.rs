//! Functions that read texts letter by letter. A text may have 64 MiB, so it is read in pieces, and
//! between two pieces the work can be stopped.

use super::text::{one, three};
use super::{Asked, Call, Function, no_function, returns_integer, returns_text};
use crate::error::{SqlError, SqlState};
use crate::sql::stop;
use datafusion::arrow::array::{Array, ArrayRef, Int32Array, StringViewBuilder};
use datafusion::arrow::datatypes::FieldRef;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is gone through before the next question whether to go on.
const PIECE_BYTES: usize = 64 << 10;
/// What a byte of it costs, as others count their work.
const BYTE_WORK: usize = 8;
/// Letters of a text whose distance to another one is computed, as in Postgres.
const DISTANCE_MAX: usize = 255;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("initcap", returns_text, |call| one(call, initcap)),
        Function::new("upper", returns_changed, |call| one(call, |text| by_piece(text, upper))),
        Function::new("lower", returns_changed, |call| one(call, |text| by_piece(text, lower))),
        Function::new("md5", returns_text, |call| one(call, md5)),
        Function::new("quote_literal", returns_text, |call| one(call, quote_literal)),
        Function::new("quote_nullable", returns_text, quote_nullable),
        Function::new("translate", returns_text, |call| {
            three(call, |text, from, to, _| translate(text, from, to))
        }),
        Function::new("btrim", returns_text, |call| trim(call, true, true)).alias("trim"),
        Function::new("ltrim", returns_text, |call| trim(call, true, false)),
        Function::new("rtrim", returns_text, |call| trim(call, false, true)),
        Function::new("levenshtein", returns_integer, levenshtein),
    ]
}

/// Other types have no capital letters.
fn returns_changed(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(0) {
        kind if kind.is_string() || kind.is_null() => returns_text(asked),
        _ => Err(no_function("upper", asked.fields)),
    }
}

/// A text in pieces that end between letters.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = (PIECE_BYTES..).find(|&end| text.is_char_boundary(end.min(text.len())))?;
        let (piece, rest) = text.split_at(end.min(text.len()));
        text = rest;
        Some(piece)
    })
}

/// What becomes of each piece, put together.
fn by_piece(text: &str, change: impl Fn(&str, &mut String)) -> Result<String, SqlError> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        stop::work(piece.len() * BYTE_WORK)?;
        change(piece, &mut out);
    }
    Ok(out)
}

fn upper(piece: &str, out: &mut String) {
    match piece.is_ascii() {
        true => out.push_str(&piece.to_ascii_uppercase()),
        false => out.push_str(&piece.to_uppercase()),
    }
}

fn lower(piece: &str, out: &mut String) {
    match piece.is_ascii() {
        true => out.push_str(&piece.to_ascii_lowercase()),
        false => out.push_str(&piece.to_lowercase()),
    }
}

fn initcap(text: &str) -> Result<String, SqlError> {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for piece in pieces(text) {
        stop::work(piece.len() * BYTE_WORK)?;
        for letter in piece.chars() {
            if inside {
                out.extend(letter.to_lowercase());
            } else {
                out.extend(letter.to_uppercase());
            }
            inside = letter.is_alphanumeric();
        }
    }
    Ok(out)
}

fn md5(text: &str) -> Result<String, SqlError> {
    use md5::{Digest, Md5};
    let mut digest = Md5::new();
    for piece in pieces(text) {
        stop::work(piece.len() * BYTE_WORK)?;
        digest.update(piece.as_bytes());
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A text as SQL has it.
pub(super) fn quote_literal(text: &str) -> Result<String, SqlError> {
    let is_escaped = text.contains('\\');
    let mut quoted = by_piece(text, |piece, out| {
        let piece = piece.replace('\'', "''");
        match is_escaped {
            true => out.push_str(&piece.replace('\\', "\\\\")),
            false => out.push_str(&piece),
        }
    })?;
    quoted.insert_str(0, if is_escaped { "E'" } else { "'" });
    quoted.push('\'');
    Ok(quoted)
}

fn quote_nullable(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for text in &texts {
        out.append_value(text.map_or_else(|| Ok("NULL".to_owned()), quote_literal)?);
    }
    Ok(Arc::new(out.finish()))
}

/// Letters become others, or nothing where there are no others.
fn translate(text: &str, from: &str, to: &str) -> Result<String, SqlError> {
    let mut changes: HashMap<char, Option<char>> = HashMap::new();
    let mut to = to.chars();
    for letter in from.chars() {
        // Of a letter that stands there twice the first one counts.
        let change = to.next();
        changes.entry(letter).or_insert(change);
    }
    by_piece(text, |piece, out| {
        out.extend(piece.chars().filter_map(|letter| match changes.get(&letter) {
            Some(change) => *change,
            None => Some(letter),
        }));
    })
}

fn trim(call: &Call<'_>, at_left: bool, at_right: bool) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let sets = if call.has(1) { Some(call.texts(1)?) } else { None };
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let set = match &sets {
            Some(sets) => sets.is_valid(row).then(|| sets.value(row)),
            None => Some(" "),
        };
        let (Some(text), Some(set)) = (text, set) else {
            out.append_null();
            continue;
        };
        stop::work(text.len())?;
        out.append_value(match set.chars().nth(1) {
            None => trimmed(text, at_left, at_right, |letter| set.starts_with(letter)),
            Some(_) => {
                let set: HashSet<char> = set.chars().collect();
                trimmed(text, at_left, at_right, |letter| set.contains(&letter))
            }
        });
    }
    Ok(Arc::new(out.finish()))
}

fn trimmed(text: &str, at_left: bool, at_right: bool, is_in: impl Fn(char) -> bool) -> &str {
    let text = if at_left { text.trim_start_matches(&is_in) } else { text };
    if at_right { text.trim_end_matches(&is_in) } else { text }
}

/// How many letters have to be put in, left out or changed to make one text of another.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, letter) in a.iter().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cost, other) in row.iter_mut().skip(1).zip(b) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cost;
            left = changed.min(diagonal + 1).min(left + 1);
            *cost = left;
        }
    }
    if b.is_empty() { a.len() } else { row.pop().unwrap_or(0) }
}

fn levenshtein(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let letters = |text: &str| {
        let letters: Vec<char> = text.chars().take(DISTANCE_MAX + 1).collect();
        if letters.len() > DISTANCE_MAX {
            let message =
                format!("levenshtein argument exceeds maximum length of {DISTANCE_MAX} characters");
            return Err(SqlError::new(SqlState::InvalidParameter, message));
        }
        Ok(letters)
    };
    let (a, b) = (call.texts(0)?, call.texts(1)?);
    let of_row = |(a, b): (Option<&str>, Option<&str>)| {
        let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
        stop::work(a.len().min(DISTANCE_MAX) * b.len().min(DISTANCE_MAX))?;
        Ok(Some(distance(&letters(a)?, &letters(b)?) as i32))
    };
    let out = a.iter().zip(b.iter()).map(of_row).collect::<Result<Int32Array, SqlError>>()?;
    Ok(Arc::new(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(a: &str, b: &str) -> usize {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        distance(&letters(a), &letters(b))
    }

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(between("kitten", "sitting"), 3);
        assert_eq!(between("", "abc"), 3);
        assert_eq!(between("abc", ""), 3);
        assert_eq!(between("flaw", "lawn"), 2);
        assert_eq!(between("ä", "a"), 1);
    }

    #[test]
    fn pieces_end_between_letters_and_are_the_text() {
        let text = "aä€𝄞".repeat(PIECE_BYTES);
        let parts: Vec<&str> = pieces(&text).collect();
        assert!(parts.len() > 5 && parts.iter().all(|part| part.len() < PIECE_BYTES + 4));
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn work_for_a_statement_that_has_ended_ends() {
        let stop = Arc::new(stop::Stop::default());
        stop.stop(SqlError::new(SqlState::QueryCanceled, "enough"));
        let text = "ab ".repeat(1 << 20);
        let changed = stop::within_now(stop, || {
            let one = [initcap(&text), md5(&text), quote_literal(&text)];
            let more = [by_piece(&text, upper), translate(&text, "a", "b")];
            one.into_iter().chain(more).collect::<Vec<_>>()
        });
        for changed in changed {
            assert_eq!(changed.expect_err("stopped").message, "enough");
        }
    }
}
