//! `to_char`, and the ways back: `to_date`, `to_timestamp`, `to_number`.

mod read;

mod number;

use super::time::as_local;
use super::{Asked, Call, Function, returns, returns_text};
use crate::error::{SqlError, SqlState};
use crate::moment::{self, DAY_US, SECOND_US};
use chrono::{Datelike, Timelike};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewBuilder};
use datafusion::arrow::datatypes::*;
use number::{format_number, returns_number, to_number};
use read::{to_date, to_timestamp};
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
mod tests {
    use super::read::read_time;
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
