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

pub(super) fn read_format(format: &str) -> Result<Format, SqlError> {
    let mut read = Format { fill: true, ..Format::default() };
    let mut rest = format;
    let mut after_point = false;
    let mut shifted = false;
    while let Some(first) = rest.chars().next() {
        let upper = rest.to_ascii_uppercase();
        let mut used = first.len_utf8();
        let started = !read.whole.is_empty() || after_point;
        match first.to_ascii_uppercase() {
            _ if upper.starts_with("FM") => {
                read.fill = false;
                used = 2;
            }
            _ if upper.starts_with("EEEE") => {
                read.exponent = true;
                used = 4;
            }
            _ if upper.starts_with("MI") => {
                read.minus_last = true;
                used = 2;
            }
            _ if upper.starts_with("PL") => {
                read.plus_first = true;
                used = 2;
            }
            _ if upper.starts_with("SG") => {
                if started {
                    read.sign_last = true
                } else {
                    read.sign_first = true
                }
                used = 2;
            }
            _ if upper.starts_with("PR") => {
                read.brackets = true;
                used = 2;
            }
            _ if upper.starts_with("RN") => {
                read.roman = true;
                used = 2;
            }
            _ if upper.starts_with("TH") => {
                read.ordinal = Some(rest.starts_with("TH"));
                used = 2;
            }
            'S' => {
                if started {
                    read.sign_last = true
                } else {
                    read.sign_first = true
                }
            }
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
                after_point = true;
                read.point = Some('.');
            }
            ',' | 'G' if !after_point => read.whole.push(','),
            'L' => read.before.push(' '),
            '"' => {
                let quoted = rest.get(1..).unwrap_or_default();
                let end = quoted.find('"').unwrap_or(quoted.len());
                let text = quoted.get(..end).unwrap_or_default();
                if started {
                    read.after.push_str(text)
                } else {
                    read.before.push_str(text)
                }
                used = (end + 2).min(rest.len());
            }
            _ => {
                if started {
                    read.after.push(first)
                } else {
                    read.before.push(first)
                }
            }
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
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits.to_owned()),
        None => (false, plain),
    };
    let places = read.fraction.len() + read.shift;
    let rounded = crate::parse::decimal_digits(&digits);
    let (_, all, scale) = rounded.unwrap_or((false, "0".to_owned(), 0));
    let digits = round_digits(&all, scale, places as i64);
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (mut whole, mut fraction) = if read.shift > 0 {
        (digits.clone(), String::new())
    } else {
        let at = digits.len() - read.fraction.len();
        (
            digits.get(..at).unwrap_or_default().to_owned(),
            digits.get(at..).unwrap_or_default().to_owned(),
        )
    };
    whole = whole.trim_start_matches('0').to_owned();
    let is_zero = whole.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    let negative = negative && !is_zero;
    let room = read.whole.iter().filter(|&&letter| letter != ',').count();
    let overflow = whole.len() > room;
    if overflow {
        whole = "#".repeat(room);
        fraction = "#".repeat(read.fraction.len());
    }
    let zero_from =
        read.whole.iter().filter(|&&letter| letter != ',').position(|&letter| letter == '0');
    let mut body = String::new();
    let mut place = 0;
    let lead = room - whole.len();
    for &letter in &read.whole {
        if letter == ',' {
            let shown = place > lead || (place > 0 && zero_from.is_some_and(|from| from < place));
            if shown {
                body.push(',');
            } else if read.fill {
                body.push(' ');
            }
            continue;
        }
        if place >= lead {
            body.push(whole.as_bytes().get(place - lead).map_or('0', |&digit| char::from(digit)));
        } else if zero_from.is_some_and(|from| place >= from)
            || (place + 1 == room && read.fraction.is_empty())
        {
            body.push('0');
        } else if read.fill {
            body.push(' ');
        }
        place += 1;
    }
    if let Some(point) = read.point {
        body.push(point);
        let kept = if read.fill {
            fraction.clone()
        } else {
            // Only digits that are asked for with 0, or that are not zeros at the end.
            let least =
                read.fraction.iter().rposition(|&letter| letter == '0').map_or(0, |at| at + 1);
            let trimmed = fraction.trim_end_matches('0').len().max(least);
            fraction.get(..trimmed).unwrap_or_default().to_owned()
        };
        body.push_str(&kept);
    }
    let first = body.len() - body.trim_start().len();
    let (blanks, shown) = body.split_at(first);
    let any_sign =
        read.sign_first || read.sign_last || read.minus_last || read.plus_first || read.brackets;
    let mut out = read.before.clone();
    if read.brackets {
        let inner = if negative {
            format!("{blanks}<{shown}>")
        } else if read.fill {
            format!("{blanks} {shown} ")
        } else {
            shown.to_owned()
        };
        out.push_str(&inner);
    } else if read.sign_first {
        out.push_str(&format!("{blanks}{}{shown}", if negative { '-' } else { '+' }));
    } else if read.plus_first {
        let sign = if negative { " ".to_owned() + blanks + "-" } else { "+".to_owned() + blanks };
        out.push_str(&format!("{sign}{shown}"));
    } else if any_sign {
        out.push_str(&body);
    } else if negative {
        out.push_str(&format!("{blanks}-{shown}"));
    } else if read.fill {
        out.push_str(&format!(" {body}"));
    } else {
        out.push_str(&body);
    }
    if read.sign_last {
        out.push(if negative { '-' } else { '+' });
    }
    if read.minus_last {
        if negative {
            out.push('-');
        } else if read.fill {
            out.push(' ');
        }
    }
    if let Some(upper) = read.ordinal.filter(|_| !negative && !overflow) {
        let suffix = ordinal(whole.parse().unwrap_or(0));
        out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_owned() });
    }
    out.push_str(&read.after);
    Ok(out)
}

pub(super) fn plain_digits(text: &str) -> String {
    match crate::parse::decimal_digits(text) {
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
    crate::dialect::cast_array(&texts, call.returns, &call.moment())
}
