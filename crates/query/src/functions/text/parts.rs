//! Texts that others are found in. They may be long and the places many, so that the work can be
//! stopped at each place.

use super::*;
use crate::sql::stop;

/// What it costs to find a place, beside the way there.
const FIND_WORK: usize = 16;

pub(super) fn replace(
    text: &str,
    from: &str,
    to: &str,
    budget: &mut Budget,
) -> Result<String, SqlError> {
    if from.is_empty() {
        return Ok(text.to_owned());
    }
    let (mut found, mut before) = (0usize, 0);
    for (at, _) in text.match_indices(from) {
        stop::work(at - before + FIND_WORK)?;
        (found, before) = (found + 1, at);
    }
    budget.take(text.len().saturating_add(found.saturating_mul(to.len())))?;
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in text.match_indices(from) {
        stop::work(at - rest + to.len() + FIND_WORK)?;
        out.push_str(text.get(rest..at).unwrap_or_default());
        out.push_str(to);
        rest = at + from.len();
    }
    out.push_str(text.get(rest..).unwrap_or_default());
    Ok(out)
}

pub(super) fn split_part(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, delimiters, places) = (call.texts(0)?, call.texts(1)?, call.integers(2)?);
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for ((text, delimiter), place) in texts.iter().zip(delimiters.iter()).zip(places.iter()) {
        let (Some(text), Some(delimiter), Some(place)) = (text, delimiter, place) else {
            out.append_null();
            continue;
        };
        if place == 0 {
            return Err(SqlError::new(
                SqlState::InvalidParameter,
                "field position must not be zero",
            ));
        }
        let part = part_of(text, delimiter, place)?;
        out.append_value(part.unwrap_or_default());
    }
    Ok(Arc::new(out.finish()))
}

/// The part at a place, which counts from the end where it is negative.
fn part_of<'a>(text: &'a str, delimiter: &str, place: i64) -> Result<Option<&'a str>, SqlError> {
    if delimiter.is_empty() {
        return Ok(matches!(place, 1 | -1).then_some(text));
    }
    let nth = |parts: &mut dyn Iterator<Item = &'a str>| {
        let mut left = place.unsigned_abs();
        for part in parts {
            stop::work(part.len() + FIND_WORK)?;
            left -= 1;
            if left == 0 {
                return Ok(Some(part));
            }
        }
        Ok(None)
    };
    match place > 0 {
        true => nth(&mut text.split(delimiter)),
        false => nth(&mut text.rsplit(delimiter)),
    }
}
