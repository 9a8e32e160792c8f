//! Numbers by a format, and back.

use super::*;

/// A number's format, as it is read.
#[derive(Default)]
pub(super) struct Format {
    /// Digits before the point: `9` or `0`, with the separators between them.
    whole: Vec<char>,
    fraction: Vec<char>,
    point: Option<char>,
    fill: bool,
    /// `S`, `MI`, `PL`, `SG`, `PR`, and where they stand.
    sign_first: bool,
    sign_last: bool,
    minus_last: bool,
    plus_first: bool,
    brackets: bool,
    ordinal: Option<bool>,
    exponent: bool,
    shift: usize,
    roman: bool,
    before: String,
    after: String,
}

impl Format {
    /// Reads a word of several letters that a format begins with, and gives its length.
    fn word(&mut self, format: &str, started: bool) -> Option<usize> {
        let upper = format.to_ascii_uppercase();
        if upper.starts_with("EEEE") {
            self.exponent = true;
            return Some(4);
        }
        match upper.get(..2)? {
            "FM" => self.fill = false,
            "MI" => self.minus_last = true,
            "PL" => self.plus_first = true,
            "SG" => self.sign(started),
            "PR" => self.brackets = true,
            "RN" => self.roman = true,
            "TH" => self.ordinal = Some(format.starts_with("TH")),
            _ => return None,
        }
        Some(2)
    }

    fn sign(&mut self, started: bool) {
        if started { self.sign_last = true } else { self.sign_first = true }
    }

    /// What is written as it stands, before the digits or after them.
    fn text(&mut self, text: &str, started: bool) {
        if started { self.after.push_str(text) } else { self.before.push_str(text) }
    }

    /// The digits before the point, without separators.
    fn places(&self) -> impl Iterator<Item = char> {
        self.whole.iter().copied().filter(|&letter| letter != ',')
    }
}

pub(super) fn read_format(format: &str) -> Result<Format, SqlError> {
    let mut read = Format { fill: true, ..Format::default() };
    let mut rest = format;
    let mut shifted = false;
    while let Some(first) = rest.chars().next() {
        let after_point = read.point.is_some();
        let started = !read.whole.is_empty() || after_point;
        if let Some(used) = read.word(rest, started) {
            rest = rest.get(used..).unwrap_or_default();
            continue;
        }
        let mut used = first.len_utf8();
        match first.to_ascii_uppercase() {
            'S' => read.sign(started),
            'V' => shifted = true,
            '9' | '0' if shifted => {
                read.shift += 1;
                read.whole.push(first);
            }
            '9' | '0' if after_point => read.fraction.push(first),
            '9' | '0' => read.whole.push(first),
            '.' | 'D' => {
                if after_point {
                    return Err(SqlError::new(SqlState::SyntaxError, "multiple decimal points"));
                }
                read.point = Some('.');
            }
            ',' | 'G' if !after_point => read.whole.push(','),
            'L' => read.before.push(' '),
            '"' => {
                let quoted = rest.get(1..).unwrap_or_default();
                let end = quoted.find('"').unwrap_or(quoted.len());
                read.text(quoted.get(..end).unwrap_or_default(), started);
                used = (end + 2).min(rest.len());
            }
            _ => read.text(rest.get(..used).unwrap_or_default(), started),
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok(read)
}

pub(super) fn roman(number: i64, fill: bool) -> String {
    const PARTS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..4_000).contains(&number) {
        return "###############".to_owned();
    }
    let mut rest = number;
    let mut out = String::new();
    for (value, letters) in PARTS {
        while rest >= value {
            out.push_str(letters);
            rest -= value;
        }
    }
    if fill { format!("{out:>15}") } else { out }
}

/// A number's digits, as many as a format has room for.
struct Digits {
    negative: bool,
    whole: String,
    fraction: String,
    /// Whether there are more of them than there is room.
    overflow: bool,
}

pub(super) fn format_number(text: &str, format: &str) -> Result<String, SqlError> {
    let read = read_format(format)?;
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        let width = read.whole.len();
        return Ok(format!("{text:>width$}"));
    }
    let plain = plain_digits(text);
    if read.roman {
        let number = plain.split('.').next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        return Ok(roman(number, read.fill));
    }
    if read.exponent {
        return Ok(scientific(text, &read));
    }
    let digits = digits_for(&read, &plain);
    let mut body = whole_part(&read, &digits.whole);
    if let Some(point) = read.point {
        body.push(point);
        body.push_str(shown_fraction(&read, &digits.fraction));
    }
    let mut out = read.before.clone();
    out.push_str(&with_sign(&read, &body, digits.negative));
    put_end(&mut out, &read, &digits);
    out.push_str(&read.after);
    Ok(out)
}

/// The digits of a number, rounded to the places of a format.
fn digits_for(read: &Format, plain: &str) -> Digits {
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain),
    };
    let places = read.fraction.len() + read.shift;
    let rounded = crate::values::parse::decimal_digits(digits);
    let (_, all, scale) = rounded.unwrap_or((false, "0".to_owned(), 0));
    let digits = round_digits(&all, scale, places as i64);
    let digits = format!("{digits:0>width$}", width = places + 1);
    let at = if read.shift > 0 { digits.len() } else { digits.len() - read.fraction.len() };
    let mut whole = digits.get(..at).unwrap_or_default().trim_start_matches('0').to_owned();
    let mut fraction = digits.get(at..).unwrap_or_default().to_owned();
    let is_zero = whole.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    let room = read.places().count();
    let overflow = whole.len() > room;
    if overflow {
        whole = "#".repeat(room);
        fraction = "#".repeat(read.fraction.len());
    }
    Digits { negative: negative && !is_zero, whole, fraction, overflow }
}

/// The digits before the point, with separators and with blanks or zeros before them.
fn whole_part(read: &Format, whole: &str) -> String {
    let room = read.places().count();
    let zero_from = read.places().position(|letter| letter == '0');
    let lead = room - whole.len();
    let mut out = String::new();
    let mut place = 0;
    for &letter in &read.whole {
        if letter == ',' {
            let shown = place > lead || (place > 0 && zero_from.is_some_and(|from| from < place));
            if shown {
                out.push(',');
            } else if read.fill {
                out.push(' ');
            }
            continue;
        }
        if place >= lead {
            out.push(whole.as_bytes().get(place - lead).map_or('0', |&digit| char::from(digit)));
        } else if zero_from.is_some_and(|from| place >= from)
            || (place + 1 == room && read.fraction.is_empty())
        {
            out.push('0');
        } else if read.fill {
            out.push(' ');
        }
        place += 1;
    }
    out
}

/// The digits after the point that are shown.
fn shown_fraction<'a>(read: &Format, fraction: &'a str) -> &'a str {
    if read.fill {
        return fraction;
    }
    // Only digits that are asked for with 0, or that are not zeros at the end.
    let least = read.fraction.iter().rposition(|&letter| letter == '0').map_or(0, |at| at + 1);
    let kept = fraction.trim_end_matches('0').len().max(least);
    fraction.get(..kept).unwrap_or_default()
}

/// The digits, with the sign where it stands before or around them.
fn with_sign(read: &Format, body: &str, negative: bool) -> String {
    let (blanks, shown) = body.split_at(body.len() - body.trim_start().len());
    if read.brackets {
        return if negative {
            format!("{blanks}<{shown}>")
        } else if read.fill {
            format!("{blanks} {shown} ")
        } else {
            shown.to_owned()
        };
    }
    if read.sign_first {
        return format!("{blanks}{}{shown}", if negative { '-' } else { '+' });
    }
    if read.plus_first {
        return if negative { format!(" {blanks}-{shown}") } else { format!("+{blanks}{shown}") };
    }
    if read.sign_last || read.minus_last {
        return body.to_owned();
    }
    if negative {
        format!("{blanks}-{shown}")
    } else if read.fill {
        format!(" {body}")
    } else {
        body.to_owned()
    }
}

/// What stands behind the digits: a sign, and the ending of an ordinal number.
fn put_end(out: &mut String, read: &Format, digits: &Digits) {
    if read.sign_last {
        out.push(if digits.negative { '-' } else { '+' });
    }
    if read.minus_last {
        if digits.negative {
            out.push('-');
        } else if read.fill {
            out.push(' ');
        }
    }
    if let Some(upper) = read.ordinal.filter(|_| !digits.negative && !digits.overflow) {
        let suffix = ordinal(digits.whole.parse().unwrap_or(0));
        out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_owned() });
    }
}

pub(super) fn plain_digits(text: &str) -> String {
    match crate::values::parse::decimal_digits(text) {
        Some((negative, digits, scale)) if text.contains(['e', 'E']) && scale.abs() < 400 => {
            let sign = if negative { "-" } else { "" };
            if scale <= 0 {
                return format!(
                    "{sign}{digits}{:0<zeros$}",
                    "",
                    zeros = scale.unsigned_abs() as usize
                );
            }
            let padded = format!("{digits:0>width$}", width = scale as usize + 1);
            let at = padded.len() - scale as usize;
            format!(
                "{sign}{}.{}",
                padded.get(..at).unwrap_or_default(),
                padded.get(at..).unwrap_or_default()
            )
        }
        _ => text.to_owned(),
    }
}

/// Digits with so many after the point, halves away from zero.
pub(super) fn round_digits(digits: &str, scale: i64, places: i64) -> String {
    if scale <= places {
        return format!("{digits}{:0<zeros$}", "", zeros = (places - scale) as usize);
    }
    let drop = (scale - places) as usize;
    if drop > digits.len() {
        return "0".to_owned();
    }
    let (kept, gone) = digits.split_at(digits.len() - drop);
    let mut kept: Vec<u8> = format!("0{kept}").into_bytes();
    if gone.as_bytes().first().is_some_and(|&digit| digit >= b'5') {
        for digit in kept.iter_mut().rev() {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                break;
            }
        }
    }
    String::from_utf8(kept).unwrap_or_default()
}

pub(super) fn scientific(text: &str, read: &Format) -> String {
    let value: f64 = text.parse().unwrap_or(0.0);
    let places = read.fraction.len();
    let formatted = format!("{value:.places$e}");
    let (mantissa, exponent) = formatted.split_once('e').unwrap_or((&formatted, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    let blank = if value >= 0.0 && read.fill { " " } else { "" };
    format!("{blank}{mantissa}e{sign}{:02}", exponent.abs())
}

/// A number has as many digits after the point as the format has.
pub(super) fn returns_number(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let format = asked.constant(1).and_then(|format| format.try_as_str().flatten());
    let scale = format.map_or(10, |format| {
        let fraction = format.split_once(['.', 'D', 'd']).map_or("", |(_, fraction)| fraction);
        fraction.chars().filter(|letter| matches!(letter, '9' | '0')).count().min(30) as i8
    });
    returns(DataType::Decimal128(38, scale))
}

pub(super) fn to_number(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, _formats) = (call.texts(0)?, call.texts(1)?);
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for text in &texts {
        match text {
            Some(text) => {
                let negative = text.contains('-') || (text.contains('<') && text.contains('>'));
                let digits: String = text
                    .chars()
                    .filter(|letter| letter.is_ascii_digit() || *letter == '.')
                    .collect();
                if digits.is_empty() {
                    return Err(SqlError::new(
                        SqlState::InvalidText,
                        format!("invalid input syntax for type numeric: \"{text}\""),
                    ));
                }
                out.append_value(format!("{}{digits}", if negative { "-" } else { "" }));
            }
            None => out.append_null(),
        }
    }
    let texts: ArrayRef = Arc::new(out.finish());
    crate::sql::dialect::cast_array(&texts, call.returns, &call.moment())
}
