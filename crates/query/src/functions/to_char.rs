//! `to_char`, and the ways back: `to_date`, `to_timestamp`, `to_number`.

mod read;

mod number;
mod times;

use super::time::as_local;
use super::{Asked, Call, Function, returns, returns_text};
use crate::error::{SqlError, SqlState};
use crate::values::moment::{self, DAY_US, SECOND_US};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewBuilder};
use datafusion::arrow::datatypes::*;
use number::{format_number, returns_number, to_number};
use read::{to_date, to_timestamp};
use std::sync::Arc;
use times::format_time;

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

/// The pattern that a format begins with, the longest one.
fn pattern_at(format: &str, sorted: &[&'static str]) -> Option<&'static str> {
    let found = sorted.iter().find(|pattern| format.starts_with(**pattern)).or_else(|| {
        // Numbers are written in either case.
        sorted.iter().find(|pattern| {
            let head = format.get(..pattern.len());
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
    found.copied()
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
        match pattern_at(rest, &sorted) {
            Some(name) => {
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

/// A longer format is none that anybody writes, and what is made of it grows with its square.
const FORMAT_MAX_BYTES: usize = 4_096;

fn to_char(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let formats = call.texts(1)?;
    if formats.iter().flatten().any(|format| format.len() > FORMAT_MAX_BYTES) {
        let message = format!("a format may have {FORMAT_MAX_BYTES} bytes");
        return Err(SqlError::new(SqlState::LimitExceeded, message));
    }
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

#[cfg(test)]
mod tests;
