//! Times written by a format.

use super::*;
use chrono::{Datelike, NaiveDateTime, Timelike};

pub(super) fn format_time(us: i64, offset_seconds: i64, pieces: &[Piece]) -> Option<String> {
    let shown = Shown { us, time: moment::naive(us)?, offset_seconds };
    let mut out = String::new();
    for piece in pieces {
        let (name, fill, suffix) = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Pattern { name, fill, ordinal } => (*name, *fill, *ordinal),
        };
        let text = shown.by_pattern(name, fill);
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

/// A time on a spot's clocks, and how far they are ahead.
struct Shown {
    us: i64,
    time: NaiveDateTime,
    offset_seconds: i64,
}

impl Shown {
    /// What a pattern stands for; one that is not known stands for itself.
    fn by_pattern(&self, name: &str, fill: bool) -> String {
        self.clock(name, fill)
            .or_else(|| self.year(name, fill))
            .or_else(|| self.name(name, fill))
            .or_else(|| self.date(name, fill))
            .or_else(|| self.zone(name))
            .unwrap_or_else(|| name.to_owned())
    }

    /// Hours, and what is less than one.
    fn clock(&self, name: &str, fill: bool) -> Option<String> {
        let hour = self.time.hour();
        let hour12 = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        let micros = self.us.rem_euclid(SECOND_US);
        Some(match name {
            "HH24" => number(hour.into(), 2, fill),
            "HH12" | "HH" => number(hour12.into(), 2, fill),
            "MI" => number(self.time.minute().into(), 2, fill),
            "SS" => number(self.time.second().into(), 2, fill),
            "MS" | "FF3" => format!("{:03}", micros / 1_000),
            "US" | "FF6" => format!("{micros:06}"),
            "FF1" => format!("{}", micros / 100_000),
            "FF2" => format!("{:02}", micros / 10_000),
            "FF4" => format!("{:04}", micros / 100),
            "FF5" => format!("{:05}", micros / 10),
            "SSSS" | "SSSSS" => (self.us.rem_euclid(DAY_US) / SECOND_US).to_string(),
            "AM" | "PM" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "am" | "pm" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            "A.M." | "P.M." => if hour < 12 { "A.M." } else { "P.M." }.to_owned(),
            "a.m." | "p.m." => if hour < 12 { "a.m." } else { "p.m." }.to_owned(),
            _ => return None,
        })
    }

    /// Years, and what is more than one.
    fn year(&self, name: &str, fill: bool) -> Option<String> {
        let date = self.time.date();
        let year = i64::from(date.year());
        let era_year = if year <= 0 { 1 - year } else { year };
        let iso_year = || i64::from(date.iso_week().year());
        Some(match name {
            "AD" | "BC" => if year > 0 { "AD" } else { "BC" }.to_owned(),
            "ad" | "bc" => if year > 0 { "ad" } else { "bc" }.to_owned(),
            "A.D." | "B.C." => if year > 0 { "A.D." } else { "B.C." }.to_owned(),
            "a.d." | "b.c." => if year > 0 { "a.d." } else { "b.c." }.to_owned(),
            "YYYY" => number(era_year, 4, fill),
            "Y,YYY" => format!("{},{:03}", era_year / 1_000, era_year % 1_000),
            "YYY" => number(era_year % 1_000, 3, fill),
            "YY" => number(era_year % 100, 2, fill),
            "Y" => (era_year % 10).to_string(),
            "IYYY" => number(iso_year(), 4, fill),
            "IYY" => number(iso_year() % 1_000, 3, fill),
            "IY" => number(iso_year() % 100, 2, fill),
            "I" => (iso_year() % 10).to_string(),
            "CC" => {
                let century = if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) };
                number(century, 2, fill)
            }
            _ => return None,
        })
    }

    /// What months and days are called.
    fn name(&self, name: &str, fill: bool) -> Option<String> {
        let date = self.time.date();
        let month = date.month0() as usize;
        let weekday = date.weekday().num_days_from_sunday() as usize;
        let month_name = MONTHS.get(month).copied().unwrap_or_default();
        let day_name = DAYS.get(weekday).copied().unwrap_or_default();
        let roman = ROMAN.get(month).copied().unwrap_or_default();
        Some(match name {
            "MONTH" => word(&month_name.to_uppercase(), 9, fill),
            "Month" => word(month_name, 9, fill),
            "month" => word(&month_name.to_lowercase(), 9, fill),
            "MON" => short(month_name).to_uppercase(),
            "Mon" => short(month_name),
            "mon" => short(month_name).to_lowercase(),
            "DAY" => word(&day_name.to_uppercase(), 9, fill),
            "Day" => word(day_name, 9, fill),
            "day" => word(&day_name.to_lowercase(), 9, fill),
            "DY" => short(day_name).to_uppercase(),
            "Dy" => short(day_name),
            "dy" => short(day_name).to_lowercase(),
            "RM" => word(roman, 4, fill),
            "rm" => word(&roman.to_lowercase(), 4, fill),
            _ => return None,
        })
    }

    /// Numbers of months, weeks and days.
    fn date(&self, name: &str, fill: bool) -> Option<String> {
        let date = self.time.date();
        let weekday = date.weekday();
        Some(match name {
            "MM" => number(date.month().into(), 2, fill),
            "DDD" => number(date.ordinal().into(), 3, fill),
            "IDDD" => {
                let weeks = i64::from(date.iso_week().week0());
                number(weeks * 7 + i64::from(weekday.number_from_monday()), 3, fill)
            }
            "DD" => number(date.day().into(), 2, fill),
            "D" => (weekday.num_days_from_sunday() + 1).to_string(),
            "ID" => weekday.number_from_monday().to_string(),
            "W" => (date.day0() / 7 + 1).to_string(),
            "WW" => number(i64::from(date.ordinal0()) / 7 + 1, 2, fill),
            "IW" => number(date.iso_week().week().into(), 2, fill),
            "J" => (self.us.div_euclid(DAY_US) + 2_440_588).to_string(),
            "Q" => (date.month0() / 3 + 1).to_string(),
            _ => return None,
        })
    }

    /// How far the clocks are ahead.
    fn zone(&self, name: &str) -> Option<String> {
        let seconds = self.offset_seconds;
        Some(match name {
            "TZ" if seconds == 0 => "UTC".to_owned(),
            "tz" if seconds == 0 => "utc".to_owned(),
            "TZ" | "tz" | "OF" => offset_text(seconds),
            "TZH" => {
                format!("{}{:02}", if seconds < 0 { '-' } else { '+' }, seconds.abs() / 3_600)
            }
            "TZM" => format!("{:02}", seconds.abs() / 60 % 60),
            _ => return None,
        })
    }
}

fn number(value: i64, width: usize, fill: bool) -> String {
    if fill { format!("{value:0width$}") } else { value.to_string() }
}

fn word(word: &str, width: usize, fill: bool) -> String {
    if fill { format!("{word:<width$}") } else { word.to_owned() }
}

fn short(name: &str) -> String {
    name.get(..3).unwrap_or_default().to_owned()
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
