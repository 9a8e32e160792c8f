//! A text about time, cut into its fields.

use super::{Wrong, zone};
use datafusion::arrow::array::timezone::Tz;

/// A field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    /// Digits alone.
    Number(String),
    /// `12:30:05.5`
    Clock(String),
    /// Parts of a date with what stands between them.
    Date(Vec<String>),
    /// A word in lower case.
    Word(String),
    /// A distance from Greenwich, in seconds.
    Offset(i32),
    Zone(ZoneName),
}

/// A zone that was named.
#[derive(Clone, Copy, Debug)]
pub(super) struct ZoneName(pub(super) Tz);

impl PartialEq for ZoneName {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

/// More is no time.
const TEXT_MAX_BYTES: usize = 128;

/// Cuts a text.
pub(super) fn cut(text: &str) -> Result<Vec<Field>, Wrong> {
    if text.len() > TEXT_MAX_BYTES || !text.is_ascii() {
        return Err(Wrong::Syntax);
    }
    let mut rest = text.as_bytes();
    let mut fields = Vec::new();
    while let Some(&byte) = rest.first() {
        let (field, used) = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => (None, 1),
            b'0'..=b'9' => number(rest),
            b'+' | b'-' => sign(rest, &fields)?,
            byte if byte.is_ascii_alphabetic() => word(rest, &fields)?,
            b'@' | b'(' | b')' => (None, 1),
            _ => return Err(Wrong::Syntax),
        };
        fields.extend(field);
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok(fields)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

fn span(bytes: &[u8], holds: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !holds(byte)).unwrap_or(bytes.len())
}

/// What begins with a digit: a clock, a date, or a number.
fn number(rest: &[u8]) -> (Option<Field>, usize) {
    let digits = span(rest, |byte| byte.is_ascii_digit());
    match rest.get(digits) {
        Some(b':') => {
            let length = span(rest, |byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
            (Some(Field::Clock(text_of(rest.get(..length).unwrap_or_default()))), length)
        }
        Some(&between @ (b'-' | b'/' | b'.')) if starts_date(rest, digits, between) => {
            date(rest, between)
        }
        Some(b'.') => {
            let length = span(rest, |byte| byte.is_ascii_digit() || byte == b'.');
            (Some(Field::Number(text_of(rest.get(..length).unwrap_or_default()))), length)
        }
        _ => (Some(Field::Number(text_of(rest.get(..digits).unwrap_or_default()))), digits),
    }
}

/// Whether a number is the first part of a date: another part follows, and the same sign after it
/// or a word.
fn starts_date(rest: &[u8], digits: usize, between: u8) -> bool {
    let after = rest.get(digits + 1..).unwrap_or_default();
    let part = span(after, |byte| byte.is_ascii_alphanumeric());
    let part_text = after.get(..part).unwrap_or_default();
    if part == 0
        || (part_text.iter().any(u8::is_ascii_alphabetic) && month(&text_of(part_text)).is_none())
    {
        return false;
    }
    let closed = after.get(part) == Some(&between);
    // `1999.008` is a day of a year, `2004-10` alone is none.
    closed || between == b'/' || part_text.iter().any(u8::is_ascii_alphabetic)
}

fn date(rest: &[u8], between: u8) -> (Option<Field>, usize) {
    let mut parts = Vec::new();
    let mut used = 0;
    loop {
        let piece = rest.get(used..).unwrap_or_default();
        let mut length = span(piece, |byte| byte.is_ascii_alphanumeric());
        // A `T` between a date and a time does not belong to the date.
        if parts.len() == 2 {
            length = length.min(span(piece, |byte| byte.is_ascii_digit()));
        }
        parts.push(text_of(piece.get(..length).unwrap_or_default()));
        used += length;
        if parts.len() == 3 || rest.get(used) != Some(&between) {
            return (Some(Field::Date(parts)), used);
        }
        used += 1;
    }
}

/// What begins with a sign: a distance from Greenwich, `-infinity`.
fn sign(rest: &[u8], fields: &[Field]) -> Result<(Option<Field>, usize), Wrong> {
    let after = rest.get(1..).unwrap_or_default();
    let letters = span(after, |byte| byte.is_ascii_alphabetic());
    if letters > 0 {
        let length = letters + 1;
        return Ok((Some(Field::Word(text_of(rest.get(..length).unwrap_or_default()))), length));
    }
    let length = 1 + span(after, |byte| byte.is_ascii_digit() || byte == b':');
    if fields.is_empty() {
        return Err(Wrong::Syntax);
    }
    let text = text_of(rest.get(..length).unwrap_or_default());
    Ok((Some(Field::Offset(offset_seconds(&text).ok_or(Wrong::Syntax)?)), length))
}

/// `+5`, `+0530`, `-08:00`, `+01:02:03`.
pub(super) fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("-", digits) => (-1, digits),
        ("+", digits) => (1, digits),
        _ => return None,
    };
    let parts: Vec<i32> = if digits.contains(':') {
        digits.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?
    } else {
        match digits.len() {
            1 | 2 => vec![digits.parse().ok()?],
            3 | 4 => {
                let number: i32 = digits.parse().ok()?;
                vec![number / 100, number % 100]
            }
            _ => return None,
        }
    };
    let [hours, minutes, seconds] = [0, 1, 2].map(|index| parts.get(index).copied().unwrap_or(0));
    let fits = parts.len() <= 3 && hours <= 15 && minutes < 60 && seconds < 60;
    fits.then_some(sign * (hours * 3_600 + minutes * 60 + seconds))
}

/// What begins with a letter: a word, a zone's name, `T` before a time, `Jan-08-1999`, `J2451187`.
fn word(rest: &[u8], fields: &[Field]) -> Result<(Option<Field>, usize), Wrong> {
    let letters = span(rest, |byte| byte.is_ascii_alphabetic());
    let plain = text_of(rest.get(..letters).unwrap_or_default());
    if plain == "t" && !fields.is_empty() {
        return Ok((None, 1));
    }
    if month(&plain).is_some() && rest.get(letters) == Some(&b'-') {
        return Ok(date(rest, b'-'));
    }
    if plain == "j" && rest.get(1).is_some_and(u8::is_ascii_digit) {
        let length = 1 + span(rest.get(1..).unwrap_or_default(), |byte| byte.is_ascii_digit());
        return Ok((Some(Field::Word(text_of(rest.get(..length).unwrap_or_default()))), length));
    }
    let length = span(rest, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/'));
    let text = rest.get(..length).unwrap_or_default();
    if is_word(&plain) {
        return Ok((Some(Field::Word(plain)), letters));
    }
    let name = String::from_utf8_lossy(text);
    if let Some(found) = zone(&name) {
        return Ok((Some(Field::Zone(ZoneName(found))), length));
    }
    if !fields.is_empty() && name.contains('/') { Err(Wrong::Zone) } else { Err(Wrong::Syntax) }
}

fn is_word(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "now",
        "today",
        "tomorrow",
        "yesterday",
        "epoch",
        "infinity",
        "allballs",
        "am",
        "pm",
        "bc",
        "ad",
        "at",
    ];
    WORDS.contains(&word) || month(word).is_some() || is_weekday(word)
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    word.len() >= 3 && DAYS.iter().any(|day| day.starts_with(word))
}

/// The number of a month by its name or the beginning of it.
pub(super) fn month(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let found = MONTHS.iter().position(|name| {
        *name == word
            || (word.len() == 3 && name.starts_with(word))
            || (word == "sept" && *name == "september")
    })?;
    Some(found as u32 + 1)
}
