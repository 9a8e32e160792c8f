//! Dates and times as Postgres prints them, in the styles that DateStyle names.

use crate::values::moment::{DateFormat, DateOrder, Formats};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::temporal_conversions::timestamp_us_to_datetime;
use std::io::Write;

/// Days from the beginning of the calendar's count to 1970.
const EPOCH_DAYS: i64 = 719_163;

/// The date without its era.
fn put_ymd(out: &mut Vec<u8>, date: NaiveDate, formats: Formats) {
    let year = date.year();
    let year = if year <= 0 { 1 - year } else { year };
    let (month, day) = (date.month(), date.day());
    let day_first = formats.order == DateOrder::Dmy;
    // Writing to memory cannot fail.
    let _infallible = match (formats.dates, day_first) {
        (DateFormat::Iso, _) => write!(out, "{year:04}-{month:02}-{day:02}"),
        (DateFormat::Sql, false) => write!(out, "{month:02}/{day:02}/{year:04}"),
        (DateFormat::Sql, true) => write!(out, "{day:02}/{month:02}/{year:04}"),
        (DateFormat::Postgres, false) => write!(out, "{month:02}-{day:02}-{year:04}"),
        (DateFormat::Postgres, true) => write!(out, "{day:02}-{month:02}-{year:04}"),
        (DateFormat::German, _) => write!(out, "{day:02}.{month:02}.{year:04}"),
    };
}

fn put_era(out: &mut Vec<u8>, year: i32) {
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// Days since 1970.
pub(crate) fn put_date(out: &mut Vec<u8>, days: i32, formats: Formats) {
    let number = i32::try_from(i64::from(days) + EPOCH_DAYS).ok();
    match number.and_then(NaiveDate::from_num_days_from_ce_opt) {
        Some(date) => {
            put_ymd(out, date, formats);
            put_era(out, date.year());
        }
        None => out.extend_from_slice(if days < 0 { b"-infinity" } else { b"infinity" }),
    }
}

fn put_clock(out: &mut Vec<u8>, hours: u64, minutes: u64, seconds: u64, fraction_us: u64) {
    // Writing to memory cannot fail.
    let _infallible = write!(out, "{hours:02}:{minutes:02}:{seconds:02}");
    if fraction_us != 0 {
        let digits = format!("{fraction_us:06}");
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

/// Microseconds since midnight.
pub(crate) fn put_time_of_day(out: &mut Vec<u8>, us: i64) {
    let us = us.unsigned_abs();
    let seconds = us / 1_000_000;
    put_clock(out, seconds / 3_600, seconds / 60 % 60, seconds % 60, us % 1_000_000);
}

fn put_naive(out: &mut Vec<u8>, time: NaiveDateTime, formats: Formats) {
    let clock = time.time();
    let us = u64::from(clock.nanosecond() / 1_000);
    let put_clock = |out: &mut Vec<u8>| {
        put_clock(out, clock.hour().into(), clock.minute().into(), clock.second().into(), us);
    };
    if formats.dates != DateFormat::Postgres {
        put_ymd(out, time.date(), formats);
        out.push(b' ');
        put_clock(out);
        return;
    }
    let date = time.date();
    let (weekday, month, day) = (date.weekday(), date.format("%b"), date.day());
    // Writing to memory cannot fail.
    let _infallible = match formats.order {
        DateOrder::Dmy => write!(out, "{weekday} {day:02} {month} "),
        _ => write!(out, "{weekday} {month} {day:02} "),
    };
    put_clock(out);
    let year = if date.year() <= 0 { 1 - date.year() } else { date.year() };
    let _infallible = write!(out, " {year:04}");
}

/// Microseconds since 1970; with a zone, as its clocks show them, and how far they are from UTC.
pub(crate) fn put_timestamp(out: &mut Vec<u8>, us: i64, zone: Option<&Tz>, formats: Formats) {
    let is_time = us != i64::MAX && us != i64::MIN;
    let Some(time) = timestamp_us_to_datetime(us).filter(|_| is_time) else {
        out.extend_from_slice(if us < 0 { b"-infinity" } else { b"infinity" });
        return;
    };
    let Some(zone) = zone else {
        put_naive(out, time, formats);
        put_era(out, time.date().year());
        return;
    };
    let offset_seconds = zone.offset_from_utc_datetime(&time).fix().local_minus_utc();
    let local = time.checked_add_signed(TimeDelta::seconds(offset_seconds.into())).unwrap_or(time);
    put_naive(out, local, formats);
    match (formats.dates, offset_seconds) {
        (DateFormat::Iso, _) => put_offset(out, offset_seconds),
        (_, 0) => out.extend_from_slice(b" UTC"),
        _ => {
            out.push(b' ');
            put_offset(out, offset_seconds);
        }
    }
    put_era(out, local.date().year());
}

fn put_offset(out: &mut Vec<u8>, seconds: i32) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    // Writing to memory cannot fail.
    let _infallible = write!(out, "{sign}{:02}", seconds / 3_600);
    if !seconds.is_multiple_of(3_600) {
        let _infallible = write!(out, ":{:02}", seconds / 60 % 60);
    }
    if !seconds.is_multiple_of(60) {
        let _infallible = write!(out, ":{:02}", seconds % 60);
    }
}

/// What a zone's clocks show at a moment, as if they were in no zone.
pub(crate) fn local_us(us: i64, zone: &Tz) -> i64 {
    match DateTime::from_timestamp_micros(us) {
        Some(time) => {
            let offset = zone.offset_from_utc_datetime(&time.naive_utc()).fix();
            us.saturating_add(i64::from(offset.local_minus_utc()) * 1_000_000)
        }
        None => us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn times_look_as_in_postgres() {
        for (us, expected) in [
            (0, "1970-01-01 00:00:00"),
            (1_500_000, "1970-01-01 00:00:01.5"),
            (-1, "1969-12-31 23:59:59.999999"),
            (1_768_471_200_000_100, "2026-01-15 10:00:00.0001"),
            (-62_135_596_800_000_000, "0001-01-01 00:00:00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999 BC"),
            (253_402_300_799_999_999, "9999-12-31 23:59:59.999999"),
            (i64::MAX, "infinity"),
        ] {
            assert_eq!(text(|out| put_timestamp(out, us, None, Formats::default())), expected);
        }
        let zone: Tz = "America/New_York".parse().expect("a zone");
        assert_eq!(
            text(|out| put_timestamp(out, 0, Some(&zone), Formats::default())),
            "1969-12-31 19:00:00-05"
        );
        let zone: Tz = "+05:30".parse().expect("a zone");
        assert_eq!(
            text(|out| put_timestamp(out, 0, Some(&zone), Formats::default())),
            "1970-01-01 05:30:00+05:30"
        );
    }
}
