//! The one reader of dates, times, zones and intervals. All their texts are read here, from casts,
//! parameters, INSERT, COPY, files and records, and every text that Postgres takes is taken.

mod fields;
mod formats;
mod interval;
mod read;

pub(crate) use formats::{DateFormat, DateOrder, Formats, IntervalFormat};
pub(crate) use interval::{Interval, interval, interval_of_unit};
pub(crate) use read::{Moment, date, time_of_day, timestamp, timestamptz};

use crate::error::{SqlError, SqlState};
use chrono::{NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use std::sync::LazyLock;

/// Microseconds in a second, a day.
pub(crate) const SECOND_US: i64 = 1_000_000;
pub(crate) const DAY_US: i64 = 86_400 * SECOND_US;

static UTC: LazyLock<Tz> = LazyLock::new(|| {
    // The name stands in the table of zones.
    "UTC".parse().or_else(|_| "+00:00".parse()).unwrap_or_else(|_| unreachable!())
});

/// The zone of Greenwich.
pub(crate) fn utc() -> Tz {
    *UTC
}

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is not written like one.
    Syntax,
    /// A field is beyond what there is: 30 February, 25 o'clock.
    Range,
    /// There is no such zone.
    Zone,
}

impl Wrong {
    /// The error as a client sees it.
    pub(crate) fn error(self, kind: &str, text: &str) -> SqlError {
        match self {
            Self::Syntax => SqlError::new(
                SqlState::InvalidDatetimeFormat,
                format!("invalid input syntax for type {kind}: \"{text}\""),
            ),
            Self::Range => SqlError::new(
                SqlState::DatetimeOutOfRange,
                format!("date/time field value out of range: \"{text}\""),
            ),
            Self::Zone => SqlError::new(
                SqlState::InvalidParameter,
                format!("time zone in \"{text}\" not recognized"),
            ),
        }
    }
}

/// Short names that stand for distances from Greenwich, in minutes.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("z", 0),
    ("zulu", 0),
    ("utc", 0),
    ("gmt", 0),
    ("ut", 0),
    ("uct", 0),
    ("wet", 0),
    ("est", -300),
    ("edt", -240),
    ("cst", -360),
    ("cdt", -300),
    ("mst", -420),
    ("mdt", -360),
    ("pst", -480),
    ("pdt", -420),
    ("cet", 60),
    ("cest", 120),
    ("met", 60),
    ("bst", 60),
    ("eet", 120),
    ("eest", 180),
    ("msk", 180),
    ("msd", 240),
    ("ist", 120),
    ("jst", 540),
    ("kst", 540),
];

/// A zone by its name, its abbreviation, or its distance from Greenwich.
pub(crate) fn zone(name: &str) -> Option<Tz> {
    let name = name.trim();
    let lower = name.to_ascii_lowercase();
    if let Some((_, minutes)) = ABBREVIATIONS.iter().find(|(known, _)| *known == lower) {
        return if *minutes == 0 { Some(utc()) } else { of_minutes(*minutes) };
    }
    if name.starts_with(['+', '-']) {
        return of_minutes(fields::offset_seconds(name)? / 60);
    }
    name.parse().ok().or_else(|| {
        // Names are known whatever their case.
        let words = lower.split('/').map(|part| {
            let parts = part.split('_').map(|word| {
                let mut letters = word.chars();
                letters
                    .next()
                    .map(|first| first.to_ascii_uppercase())
                    .into_iter()
                    .chain(letters)
                    .collect::<String>()
            });
            parts.collect::<Vec<_>>().join("_")
        });
        words.collect::<Vec<_>>().join("/").parse().ok()
    })
}

fn of_minutes(minutes: i32) -> Option<Tz> {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).parse().ok()
}

/// The moment at which a zone's clocks show a time. One that is skipped when clocks go forward is
/// read by the clocks from before, one that comes twice is the first, as in Postgres.
pub(crate) fn to_utc_us(local_us: i64, zone: &Tz) -> Option<i64> {
    let local = naive(local_us)?;
    let offset = match zone.offset_from_local_datetime(&local) {
        chrono::LocalResult::Single(offset) => offset,
        chrono::LocalResult::Ambiguous(first, _) => first,
        chrono::LocalResult::None => {
            let before = local.checked_sub_signed(TimeDelta::hours(3))?;
            zone.offset_from_local_datetime(&before).earliest()?
        }
    };
    local_us.checked_sub(i64::from(offset.fix().local_minus_utc()) * SECOND_US)
}

/// Microseconds since 1970 as a time of the calendar.
pub(crate) fn naive(us: i64) -> Option<NaiveDateTime> {
    datafusion::arrow::temporal_conversions::timestamp_us_to_datetime(us)
}

/// Days since 1970.
pub(crate) fn days(date: NaiveDate) -> i64 {
    i64::from(chrono::Datelike::num_days_from_ce(&date)) - 719_163
}

/// A date of the calendar; years before 1 count backwards from 0.
pub(crate) fn days_of(year: i64, month: u32, day: u32) -> Option<i64> {
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    // Where Postgres' calendar ends.
    (-4_713..=294_276).contains(&year).then(|| days(date))
}

#[cfg(test)]
mod tests;
