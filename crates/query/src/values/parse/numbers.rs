//! Numbers from their texts, and other types that are read in the same way.

use super::*;

/// `true`, `yes`, `on`, `1`, their beginnings, and their opposites.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let lower = text.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    if begins("true", 1) || begins("yes", 1) || lower == "on" || lower == "1" {
        return Some(true);
    }
    (begins("false", 1) || begins("no", 1) || begins("off", 2) || lower == "0").then_some(false)
}

/// A whole number between bounds.
pub(super) fn integer(text: &str, kind: &str, low: i64, high: i64) -> Result<i64, SqlError> {
    let trimmed = text.trim();
    let digits = trimmed.trim_start_matches(['+', '-']);
    let signs = trimmed.len() - digits.len();
    if digits.is_empty() || signs > 1 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(kind, text));
    }
    let value = trimmed.parse::<i64>().ok().filter(|value| (low..=high).contains(value));
    value.ok_or_else(|| out_of_range(kind, text))
}

pub(super) fn double(text: &str, kind: &str) -> Result<f64, SqlError> {
    let trimmed = text.trim();
    let lower = trimmed.to_ascii_lowercase();
    let (sign, word) = match lower.strip_prefix('-') {
        Some(word) => (-1.0, word),
        None => (1.0, lower.strip_prefix('+').unwrap_or(&lower)),
    };
    match word {
        "nan" => return Ok(f64::NAN),
        "inf" | "infinity" => return Ok(sign * f64::INFINITY),
        _ => {}
    }
    if !word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-'))
    {
        return Err(invalid(kind, text));
    }
    let value: f64 = trimmed.parse().map_err(|_| invalid(kind, text))?;
    let has_digit = word
        .split('e')
        .next()
        .is_some_and(|digits| digits.bytes().any(|byte| matches!(byte, b'1'..=b'9')));
    if value.is_infinite() || (value == 0.0 && has_digit) {
        return Err(SqlError::new(
            SqlState::NumericOutOfRange,
            format!("\"{trimmed}\" is out of range for type {kind}"),
        ));
    }
    Ok(value)
}

pub(super) fn real(text: &str) -> Result<f32, SqlError> {
    let wide = double(text, "real")?;
    let value = text.trim().parse().unwrap_or(wide as f32);
    if (value.is_infinite() && wide.is_finite()) || (value == 0.0 && wide != 0.0) {
        return Err(SqlError::new(
            SqlState::NumericOutOfRange,
            format!("\"{}\" is out of range for type real", text.trim()),
        ));
    }
    Ok(value)
}

/// `\x` and hexadecimal digits, or text with `\\` and `\ooo`.
pub(crate) fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u32> = digits
            .chars()
            .filter(|letter| !letter.is_ascii_whitespace())
            .map(|letter| letter.to_digit(16))
            .collect::<Option<_>>()?;
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some((high * 16 + low) as u8),
            _ => None,
        });
        return pairs.collect();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        if let Some(tail) = rest.strip_prefix(b"\\") {
            out.push(b'\\');
            rest = tail;
            continue;
        }
        let (octal, tail) = rest.split_at_checked(3)?;
        let value = u16::from_str_radix(std::str::from_utf8(octal).ok()?, 8).ok()?;
        out.push(u8::try_from(value).ok()?);
        rest = tail;
    }
    Some(out)
}

/// A UUID in any of the forms that Postgres takes, as it prints it.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let digits: String = inner.chars().filter(|&letter| letter != '-').collect();
    let aligned = inner.split('-').all(|part| part.len() % 4 == 0);
    if digits.len() != 32 || !aligned || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let part = |from: usize, to: usize| lower.get(from..to).unwrap_or_default();
    Some(format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    ))
}

/// A text as long as its declaration allows: of `varchar(n)` what is too long is cut where `cut`,
/// and refused otherwise, but for blanks; `char(n)` has no blanks at its end.
pub(crate) fn sized(text: &str, declared: &str, cut: bool) -> Result<String, SqlError> {
    let (name, length) = match declared.split_once('(') {
        Some((name, rest)) => (name, rest.trim_end_matches(')').parse::<usize>().ok()),
        None => (declared, None),
    };
    let mut text = text.to_owned();
    if let Some(length) = length
        && let Some((at, _)) = text.char_indices().nth(length)
    {
        let rest_is_blank =
            text.get(at..).is_some_and(|rest| rest.bytes().all(|byte| byte == b' '));
        if !cut && !rest_is_blank {
            let sql = pg_type::of_name(name).map_or(name, |kind| kind.sql);
            return Err(SqlError::new(
                SqlState::StringTooLong,
                format!("value too long for type {sql}({length})"),
            ));
        }
        text.truncate(at);
    }
    if name == "bpchar" {
        text.truncate(text.trim_end_matches(' ').len());
    }
    Ok(text)
}

/// Rounds microseconds to so many digits of a second.
pub(crate) fn to_digits(us: i64, digits: i32) -> i64 {
    if !(0..6).contains(&digits) || us == i64::MAX || us == i64::MIN {
        return us;
    }
    let unit = 10i64.pow(6 - digits as u32);
    let half = unit / 2;
    us.checked_add(half).map_or(us, |moved| moved - moved.rem_euclid(unit))
}
