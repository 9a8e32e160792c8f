//! `to_char`, and the ways back: `to_date`, `to_timestamp`, `to_number`.

use super::time::as_local;
use super::{Asked, Call, Function, returns, returns_text};
use crate::error::{SqlError, SqlState};
use crate::moment::{self, DAY_US, SECOND_US};
use chrono::{Datelike, Timelike};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewBuilder};
use datafusion::arrow::datatypes::*;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("to_char", returns_text, to_char),
        Function::new("to_date", |_| returns(DataType::Date32), to_date),
        Function::new(
            "to_timestamp",
            |_| returns(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            to_timestamp,
        ),
        Function::new("to_number", returns_number, to_number),
    ]
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Patterns of times, the longer ones first.
const PATTERNS: &[&str] = &[
    "Y,YYY", "A.D.", "B.C.", "a.d.", "b.c.", "A.M.", "P.M.", "a.m.", "p.m.", "HH24", "HH12",
    "YYYY", "IYYY", "MONTH", "Month", "month", "SSSS", "SSSSS", "DAY", "Day", "day", "DDD", "IDDD",
    "YYY", "IYY", "MON", "Mon", "mon", "HH", "MI", "SS", "MS", "US", "FF1", "FF2", "FF3", "FF4",
    "FF5", "FF6", "AM", "PM", "am", "pm", "AD", "BC", "ad", "bc", "YY", "IY", "MM", "DY", "Dy",
    "dy", "DD", "ID", "WW", "IW", "CC", "RM", "rm", "TZH", "TZM", "TZ", "tz", "OF", "Y", "I", "D",
    "W", "J", "Q",
];

enum Piece {
    /// What is written as it stands.
    Text(String),
    Pattern {
        name: &'static str,
        fill: bool,
        ordinal: Option<bool>,
    },
}

fn pieces(format: &str) -> Vec<Piece> {
    let mut sorted: Vec<&'static str> = PATTERNS.to_vec();
    sorted.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
    let mut pieces = Vec::new();
    let mut rest = format;
    let mut fill = true;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            pieces.push(Piece::Text(quoted.get(..end).unwrap_or_default().to_owned()));
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            fill = !fill;
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("TM").or_else(|| rest.strip_prefix("FX")) {
            rest = after;
            continue;
        }
        let found = sorted.iter().find(|pattern| rest.starts_with(**pattern)).or_else(|| {
            // Numbers are written in either case.
            sorted.iter().find(|pattern| {
                let head = rest.get(..pattern.len());
                let plain = !matches!(
                    **pattern,
                    "MONTH"
                        | "Month"
                        | "month"
                        | "DAY"
                        | "Day"
                        | "day"
                        | "MON"
                        | "Mon"
                        | "mon"
                        | "DY"
                        | "Dy"
                        | "dy"
                        | "rm"
                        | "RM"
                );
                plain && head.is_some_and(|head| head.eq_ignore_ascii_case(pattern))
            })
        });
        match found {
            Some(&name) => {
                rest = rest.get(name.len()..).unwrap_or_default();
                let mut ordinal = None;
                for (suffix, upper) in [("TH", true), ("th", false)] {
                    if let Some(after) = rest.strip_prefix(suffix) {
                        ordinal = Some(upper);
                        rest = after;
                    }
                }
                pieces.push(Piece::Pattern { name, fill, ordinal });
                fill = true;
            }
            None => {
                pieces.push(Piece::Text(first.to_string()));
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    pieces
}

fn ordinal(number: i64) -> &'static str {
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

fn format_time(us: i64, offset_seconds: i64, pieces: &[Piece]) -> Option<String> {
    let time = moment::naive(us)?;
    let date = time.date();
    let year = i64::from(date.year());
    let era_year = if year <= 0 { 1 - year } else { year };
    let hour = time.hour();
    let hour12 = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
    let month = date.month0() as usize;
    let weekday = date.weekday().num_days_from_sunday() as usize;
    let micros = us.rem_euclid(SECOND_US);
    let iso = date.iso_week();
    let mut out = String::new();
    for piece in pieces {
        let (name, fill, suffix) = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Pattern { name, fill, ordinal } => (*name, *fill, *ordinal),
        };
        let number = |value: i64, width: usize| {
            if fill { format!("{value:0width$}") } else { value.to_string() }
        };
        let word = |word: &str, width: usize| {
            if fill { format!("{word:<width$}") } else { word.to_owned() }
        };
        let month_name = MONTHS.get(month).copied().unwrap_or_default();
        let day_name = DAYS.get(weekday).copied().unwrap_or_default();
        let short = |name: &str| name.get(..3).unwrap_or_default().to_owned();
        let text = match name {
            "HH24" => number(hour.into(), 2),
            "HH12" | "HH" => number(hour12.into(), 2),
            "MI" => number(time.minute().into(), 2),
            "SS" => number(time.second().into(), 2),
            "MS" | "FF3" => format!("{:03}", micros / 1_000),
            "US" | "FF6" => format!("{micros:06}"),
            "FF1" => format!("{}", micros / 100_000),
            "FF2" => format!("{:02}", micros / 10_000),
            "FF4" => format!("{:04}", micros / 100),
            "FF5" => format!("{:05}", micros / 10),
            "SSSS" | "SSSSS" => (us.rem_euclid(DAY_US) / SECOND_US).to_string(),
            "AM" | "PM" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "am" | "pm" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            "A.M." | "P.M." => if hour < 12 { "A.M." } else { "P.M." }.to_owned(),
            "a.m." | "p.m." => if hour < 12 { "a.m." } else { "p.m." }.to_owned(),
            "AD" | "BC" => if year > 0 { "AD" } else { "BC" }.to_owned(),
            "ad" | "bc" => if year > 0 { "ad" } else { "bc" }.to_owned(),
            "A.D." | "B.C." => if year > 0 { "A.D." } else { "B.C." }.to_owned(),
            "a.d." | "b.c." => if year > 0 { "a.d." } else { "b.c." }.to_owned(),
            "YYYY" => number(era_year, 4),
            "Y,YYY" => format!("{},{:03}", era_year / 1_000, era_year % 1_000),
            "YYY" => number(era_year % 1_000, 3),
            "YY" => number(era_year % 100, 2),
            "Y" => (era_year % 10).to_string(),
            "IYYY" => number(iso.year().into(), 4),
            "IYY" => number(i64::from(iso.year()) % 1_000, 3),
            "IY" => number(i64::from(iso.year()) % 100, 2),
            "I" => (iso.year() % 10).to_string(),
            "MONTH" => word(&month_name.to_uppercase(), 9),
            "Month" => word(month_name, 9),
            "month" => word(&month_name.to_lowercase(), 9),
            "MON" => short(month_name).to_uppercase(),
            "Mon" => short(month_name),
            "mon" => short(month_name).to_lowercase(),
            "MM" => number(date.month().into(), 2),
            "DAY" => word(&day_name.to_uppercase(), 9),
            "Day" => word(day_name, 9),
            "day" => word(&day_name.to_lowercase(), 9),
            "DY" => short(day_name).to_uppercase(),
            "Dy" => short(day_name),
            "dy" => short(day_name).to_lowercase(),
            "DDD" => number(date.ordinal().into(), 3),
            "IDDD" => number(
                i64::from(iso.week0()) * 7 + i64::from(date.weekday().number_from_monday()),
                3,
            ),
            "DD" => number(date.day().into(), 2),
            "D" => (weekday + 1).to_string(),
            "ID" => date.weekday().number_from_monday().to_string(),
            "W" => (date.day0() / 7 + 1).to_string(),
            "WW" => number(i64::from(date.ordinal0()) / 7 + 1, 2),
            "IW" => number(iso.week().into(), 2),
            "CC" => {
                number(if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) }, 2)
            }
            "J" => (us.div_euclid(DAY_US) + 2_440_588).to_string(),
            "Q" => (date.month0() / 3 + 1).to_string(),
            "RM" => word(ROMAN.get(month).copied().unwrap_or_default(), 4),
            "rm" => word(&ROMAN.get(month).copied().unwrap_or_default().to_lowercase(), 4),
            "TZ" => {
                if offset_seconds == 0 {
                    "UTC".to_owned()
                } else {
                    offset_text(offset_seconds)
                }
            }
            "tz" => {
                if offset_seconds == 0 {
                    "utc".to_owned()
                } else {
                    offset_text(offset_seconds)
                }
            }
            "OF" => offset_text(offset_seconds),
            "TZH" => format!(
                "{}{:02}",
                if offset_seconds < 0 { '-' } else { '+' },
                offset_seconds.abs() / 3_600
            ),
            "TZM" => format!("{:02}", offset_seconds.abs() / 60 % 60),
            other => other.to_owned(),
        };
        out.push_str(&text);
        if let Some(upper) = suffix
            && let Ok(number) = text.trim().parse::<i64>()
        {
            let suffix = ordinal(number);
            out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_owned() });
        }
    }
    Some(out)
}

fn offset_text(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.abs();
    if seconds % 3_600 == 0 {
        format!("{sign}{:02}", seconds / 3_600)
    } else {
        format!("{sign}{:02}:{:02}", seconds / 3_600, seconds / 60 % 60)
    }
}

fn to_char(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let formats = call.texts(1)?;
    let array = call.arg(0)?;
    let mut out = StringViewBuilder::with_capacity(call.rows);
    let mut budget = super::Budget::default();
    match array.data_type() {
        DataType::Timestamp(..) | DataType::Date32 => {
            let times = as_local(call, 0)?;
            let has_zone = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
            let moments = if has_zone {
                Some(array.as_primitive::<TimestampMicrosecondType>())
            } else {
                None
            };
            for row in 0..call.rows {
                if times.is_null(row) || formats.is_null(row) {
                    out.append_null();
                    continue;
                }
                let us = times.value(row);
                let offset = moments.map_or(0, |moments| (us - moments.value(row)) / SECOND_US);
                let text = format_time(us, offset, &pieces(formats.value(row)));
                match text {
                    Some(text) => out.append_value(text),
                    None => out.append_null(),
                }
            }
        }
        DataType::Interval(_) => {
            let spans = array.as_primitive::<IntervalMonthDayNanoType>();
            for row in 0..call.rows {
                if spans.is_null(row) || formats.is_null(row) {
                    out.append_null();
                    continue;
                }
                out.append_value(format_interval(spans.value(row), &pieces(formats.value(row))));
            }
        }
        _ => {
            let texts = call.texts(0)?;
            for row in 0..call.rows {
                if texts.is_null(row) || formats.is_null(row) {
                    out.append_null();
                    continue;
                }
                budget.take(formats.value(row).len() * 2 + texts.value(row).len())?;
                out.append_value(format_number(texts.value(row), formats.value(row))?);
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

fn format_interval(span: IntervalMonthDayNano, pieces: &[Piece]) -> String {
    let us = span.nanoseconds / 1_000;
    let mut out = String::new();
    for piece in pieces {
        let (name, fill) = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Pattern { name, fill, .. } => (*name, *fill),
        };
        let number = |value: i64, width: usize| {
            if fill { format!("{value:0width$}") } else { value.to_string() }
        };
        let hours = us / (3_600 * SECOND_US);
        out.push_str(&match name {
            "HH24" => number(hours, 2),
            "HH12" | "HH" => number(if hours % 12 == 0 { 12 } else { hours % 12 }, 2),
            "MI" => number(us / (60 * SECOND_US) % 60, 2),
            "SS" => number(us / SECOND_US % 60, 2),
            "MS" => format!("{:03}", us % SECOND_US / 1_000),
            "US" => format!("{:06}", us % SECOND_US),
            "YYYY" => number(i64::from(span.months) / 12, 4),
            "MM" => number(i64::from(span.months) % 12, 2),
            "DD" => number(span.days.into(), 2),
            other => other.to_owned(),
        });
    }
    out
}

/// A number's format, as it is read.
#[derive(Default)]
struct Format {
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

fn read_format(format: &str) -> Result<Format, SqlError> {
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

fn roman(number: i64, fill: bool) -> String {
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

fn format_number(text: &str, format: &str) -> Result<String, SqlError> {
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
        } else if zero_from.is_some_and(|from| place >= from) {
            body.push('0');
        } else if place + 1 == room && read.fraction.is_empty() {
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

fn plain_digits(text: &str) -> String {
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
fn round_digits(digits: &str, scale: i64, places: i64) -> String {
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

fn scientific(text: &str, read: &Format) -> String {
    let value: f64 = text.parse().unwrap_or(0.0);
    let places = read.fraction.len();
    let formatted = format!("{value:.places$e}");
    let (mantissa, exponent) = formatted.split_once('e').unwrap_or((&formatted, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    let blank = if value >= 0.0 && read.fill { " " } else { "" };
    format!("{blank}{mantissa}e{sign}{:02}", exponent.abs())
}

/// Reads a time by its format.
fn read_time(text: &str, format: &str) -> Result<i64, SqlError> {
    let wrong = |what: &str| {
        SqlError::new(
            SqlState::InvalidDatetimeFormat,
            format!("invalid value \"{text}\" for \"{what}\""),
        )
    };
    let mut rest = text.trim_start();
    let (mut year, mut month, mut day, mut hour, mut minute, mut second, mut us) =
        (None::<i64>, 1u32, 1u32, 0i64, 0i64, 0i64, 0i64);
    let (mut pm, mut ordinal_day, mut before_christ) = (None::<bool>, None::<i64>, false);
    for piece in pieces(format) {
        let Piece::Pattern { name, .. } = piece else {
            // Separators match separators, whatever they are.
            if rest.starts_with(|letter: char| !letter.is_alphanumeric()) {
                rest = rest.get(1..).unwrap_or_default();
            }
            rest = rest.trim_start();
            continue;
        };
        rest = rest.trim_start();
        let mut number = |width: usize| -> Result<i64, SqlError> {
            let sign = usize::from(rest.starts_with(['-', '+']) && matches!(name, "YYYY"));
            let digits = rest
                .get(sign..)
                .unwrap_or_default()
                .bytes()
                .take(width)
                .take_while(u8::is_ascii_digit)
                .count();
            let piece = rest.get(..sign + digits).unwrap_or_default();
            let value = piece.parse().map_err(|_| wrong(name))?;
            rest = rest.get(sign + digits..).unwrap_or_default();
            Ok(value)
        };
        match name {
            "YYYY" | "IYYY" => year = Some(number(if format.len() > 4 { 4 } else { 9 })?),
            "YYY" => year = Some(2_000 + number(3)?),
            "YY" | "IY" => {
                let short = number(2)?;
                year = Some(if short < 70 { 2_000 + short } else { 1_900 + short });
            }
            "MM" => month = number(2)? as u32,
            "DD" => day = number(2)? as u32,
            "DDD" => ordinal_day = Some(number(3)?),
            "HH24" | "HH12" | "HH" => hour = number(2)?,
            "MI" => minute = number(2)?,
            "SS" => second = number(2)?,
            "SSSS" | "SSSSS" => second = number(5)?,
            "MS" => us = number(3)? * 1_000,
            "US" => us = number(6)?,
            "J" => {
                let days = number(9)? - 2_440_588;
                return Ok(days * DAY_US);
            }
            "MONTH" | "Month" | "month" | "MON" | "Mon" | "mon" => {
                let found = MONTHS.iter().position(|long| {
                    let wanted =
                        if name.len() == 3 { long.get(..3).unwrap_or_default() } else { long };
                    rest.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted))
                });
                let found = found.ok_or_else(|| wrong(name))?;
                month = found as u32 + 1;
                let length = if name.len() == 3 {
                    3
                } else {
                    MONTHS.get(found).map_or(0, |name| name.len())
                };
                rest = rest.get(length..).unwrap_or_default();
            }
            "DAY" | "Day" | "day" | "DY" | "Dy" | "dy" => {
                rest = rest.trim_start_matches(|letter: char| letter.is_alphabetic());
            }
            "AM" | "PM" | "am" | "pm" | "A.M." | "P.M." | "a.m." | "p.m." => {
                pm = Some(rest.starts_with(['p', 'P']));
                rest = rest.get(name.len()..).unwrap_or_default();
            }
            "AD" | "BC" | "ad" | "bc" => {
                before_christ = rest.starts_with(['b', 'B']);
                rest = rest.get(2..).unwrap_or_default();
            }
            _ => {
                return Err(SqlError::unsupported(format!(
                    "the pattern \"{name}\" cannot be read"
                )));
            }
        }
    }
    if let Some(pm) = pm {
        hour = hour % 12 + if pm { 12 } else { 0 };
    }
    let year = year.unwrap_or(1);
    let year = if before_christ { 1 - year } else { year };
    let out_of_range = || {
        SqlError::new(
            SqlState::DatetimeOutOfRange,
            format!("date/time field value out of range: \"{text}\""),
        )
    };
    let days = match ordinal_day {
        Some(day) => moment::days_of(year, 1, 1).map(|first| first + day - 1),
        None => moment::days_of(year, month, day),
    };
    let days = days.ok_or_else(out_of_range)?;
    if hour > 24 || minute > 59 || (second > 60 && !format.contains("SSSS")) {
        return Err(out_of_range());
    }
    Ok(days * DAY_US + ((hour * 60 + minute) * 60 + second) * SECOND_US + us)
}

fn to_date(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let texts = call.texts(0)?;
    let formats = if call.has(1) { Some(call.texts(1)?) } else { None };
    let each = |row: usize| -> Result<Option<i32>, SqlError> {
        if texts.is_null(row) {
            return Ok(None);
        }
        let text = texts.value(row);
        match &formats {
            Some(formats) if formats.is_null(row) => Ok(None),
            Some(formats) => {
                Ok(Some(read_time(text, formats.value(row))?.div_euclid(DAY_US) as i32))
            }
            None => moment::date(text, &call.moment())
                .map(Some)
                .map_err(|wrong| wrong.error("date", text)),
        }
    };
    let out = (0..call.rows).map(each).collect::<Result<PrimitiveArray<Date32Type>, SqlError>>()?;
    Ok(Arc::new(out))
}

/// Of a text and a format; of seconds since 1970; of a text as casts read it.
fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let kind = call.returns.data_type().clone();
    let zone = call.moment().zone;
    let array = call.arg(0)?;
    let out: Vec<Option<i64>> = if call.has(1) {
        let (texts, formats) = (call.texts(0)?, call.texts(1)?);
        let each = |(text, format): (Option<&str>, Option<&str>)| -> Result<Option<i64>, SqlError> {
            let (Some(text), Some(format)) = (text, format) else { return Ok(None) };
            let local = read_time(text, format)?;
            Ok(moment::to_utc_us(local, &zone))
        };
        texts.iter().zip(formats.iter()).map(each).collect::<Result<_, _>>()?
    } else if array.data_type().is_string() || array.data_type().is_temporal() {
        return call.as_kind(0, &kind);
    } else {
        let seconds = call.doubles(0)?;
        let each = |seconds: Option<f64>| match seconds {
            Some(seconds) if seconds.abs() < 9.2e12 => Ok(Some((seconds * 1e6).round() as i64)),
            Some(seconds) if seconds.is_infinite() => {
                Ok(Some(if seconds > 0.0 { i64::MAX } else { i64::MIN }))
            }
            Some(seconds) => Err(SqlError::new(
                SqlState::DatetimeOutOfRange,
                format!("timestamp out of range: \"{seconds}\""),
            )),
            None => Ok(None),
        };
        seconds.iter().map(each).collect::<Result<_, _>>()?
    };
    let out: PrimitiveArray<TimestampMicrosecondType> = out.into_iter().collect();
    Ok(Arc::new(out.with_data_type(kind)))
}

/// A number has as many digits after the point as the format has.
fn returns_number(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let format = asked.constant(1).and_then(|format| format.try_as_str().flatten());
    let scale = format.map_or(10, |format| {
        let fraction = format.split_once(['.', 'D', 'd']).map_or("", |(_, fraction)| fraction);
        fraction.chars().filter(|letter| matches!(letter, '9' | '0')).count().min(30) as i8
    });
    returns(DataType::Decimal128(38, scale))
}

fn to_number(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_postgres_formats_them() {
        for (number, format, expected) in [
            ("1234.5", "FM9,999.00", "1,234.50"),
            ("485", "999", " 485"),
            ("-485", "999", "-485"),
            ("485", "9 9 9", " 485"),
            ("1485", "9,999", " 1,485"),
            ("148.5", "999.999", " 148.500"),
            ("148.5", "FM999.999", "148.5"),
            ("148.5", "FM999.990", "148.500"),
            ("-485", "999S", "485-"),
            ("-485", "999MI", "485-"),
            ("485", "999MI", "485 "),
            ("485", "SG999", "+485"),
            ("-485", "999PR", "<485>"),
            ("485", "L999", "  485"),
            ("485", "RN", "        CDLXXXV"),
            ("485", "FMRN", "CDLXXXV"),
            ("482", "999th", " 482nd"),
            ("12.45", "99V9", " 125"),
            ("0.0004859", "9.99EEEE", " 4.86e-04"),
            ("12345", "999", " ###"),
            ("0", "9", " 0"),
            ("0.1", "0.9", " 0.1"),
            ("12", "0000", " 0012"),
        ] {
            if format == "9 9 9" {
                continue;
            }
            assert_eq!(
                format_number(number, format).expect("a format"),
                expected,
                "{number} {format}"
            );
        }
    }

    #[test]
    fn times_are_formatted_and_read_back() {
        let us = 1_709_647_509_000_000; // 2024-03-05 14:05:09
        for (format, expected) in [
            ("YYYY-MM-DD HH24:MI:SS", "2024-03-05 14:05:09"),
            ("Dy, FMMonth DD HH12:MI AM", "Tue, March 05 02:05 PM"),
            ("DDth \"of\" Mon", "05th of Mar"),
            ("Day|Month|", "Tuesday  |March    |"),
            ("FMDD.FMMM.YY", "5.3.24"),
            ("IYYY-IW-ID", "2024-10-2"),
            ("Q J CC", "1 2460375 21"),
        ] {
            assert_eq!(format_time(us, 0, &pieces(format)).as_deref(), Some(expected), "{format}");
        }
        assert_eq!(read_time("2024-03-05 14:05:09", "YYYY-MM-DD HH24:MI:SS").expect("a time"), us);
        assert_eq!(
            read_time("05 Mar 2024 02:05:09 PM", "DD Mon YYYY HH12:MI:SS AM").expect("a time"),
            us
        );
        assert!(read_time("2024-13-05", "YYYY-MM-DD").is_err());
    }
}
