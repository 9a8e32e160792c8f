//! Dates, times of day and timestamps from their fields.

use super::fields::{Field, cut, month};
use super::{DAY_US, DateOrder, Formats, SECOND_US, Wrong, days_of, to_utc_us};
use crate::values::encode;
use datafusion::arrow::array::timezone::Tz;

/// What a reader needs beside the text: what time it is, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Microseconds since 1970, UTC; nothing where a text must always say the same: what is stored
    /// is no `yesterday`.
    pub(crate) now_us: Option<i64>,
    pub(crate) zone: Tz,
    pub(crate) formats: Formats,
}

impl Default for Moment {
    fn default() -> Self {
        Self { now_us: None, zone: super::utc(), formats: Formats::default() }
    }
}

/// What a text says.
#[derive(Default)]
struct Said {
    days: Option<i64>,
    clock_us: Option<i64>,
    offset_seconds: Option<i32>,
    zone: Option<Tz>,
    /// A moment that a word named.
    moment_us: Option<i64>,
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    half: Option<bool>,
    before_christ: bool,
}

/// The most a clock may show, a leap second included.
fn clock(text: &str) -> Result<i64, Wrong> {
    let mut parts = text.split(':');
    let mut next = |missing| match parts.next() {
        Some(part) if !part.is_empty() => part.parse::<i64>().map_err(|_| Wrong::Syntax),
        Some(_) => Err(Wrong::Syntax),
        None => Ok(missing),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut pieces = whole.split(':').collect::<Vec<_>>();
    if pieces.len() > 3 || pieces.len() < 2 {
        return Err(Wrong::Syntax);
    }
    pieces.resize(3, "0");
    let number = |index: usize| {
        let piece = pieces.get(index).copied().unwrap_or_default();
        piece.parse::<i64>().map_err(|_| Wrong::Syntax)
    };
    let _unused = next(0);
    let (hours, minutes, seconds) = (number(0)?, number(1)?, number(2)?);
    of_clock(hours, minutes, seconds, fraction_us(fraction)?)
}

fn of_clock(hours: i64, minutes: i64, seconds: i64, fraction_us: i64) -> Result<i64, Wrong> {
    let us = ((hours * 60 + minutes) * 60 + seconds) * SECOND_US + fraction_us;
    let fits = hours <= 24 && minutes < 60 && seconds <= 60 && us <= DAY_US;
    if fits { Ok(us) } else { Err(Wrong::Range) }
}

/// Digits after a point, as microseconds, rounded.
fn fraction_us(digits: &str) -> Result<i64, Wrong> {
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::Syntax);
    }
    let padded = format!("{digits:0<7}");
    let seven: i64 = padded.get(..7).and_then(|seven| seven.parse().ok()).ok_or(Wrong::Syntax)?;
    Ok((seven + 5) / 10)
}

impl Said {
    fn read(text: &str, moment: &Moment) -> Result<Self, Wrong> {
        let fields = cut(text)?;
        if fields.is_empty() {
            return Err(Wrong::Syntax);
        }
        let mut said = Self::default();
        for field in fields {
            said.take(field, moment)?;
        }
        said.finish()
    }

    fn take(&mut self, field: Field, moment: &Moment) -> Result<(), Wrong> {
        match field {
            Field::Clock(text) => set(&mut self.clock_us, clock(&text)?),
            Field::Offset(seconds) => set(&mut self.offset_seconds, seconds),
            Field::Zone(zone) => set(&mut self.zone, zone.0),
            Field::Date(parts) => self.take_date(&parts, moment.formats.order),
            Field::Number(text) => self.take_number(&text),
            Field::Word(word) => self.take_word(&word, moment),
        }
    }

    fn take_date(&mut self, parts: &[String], order: DateOrder) -> Result<(), Wrong> {
        let named = parts.iter().position(|part| month(part).is_some());
        if let Some(place) = named {
            set(
                &mut self.month,
                parts.get(place).and_then(|name| month(name)).ok_or(Wrong::Syntax)?,
            )?;
            let numbers = parts.iter().enumerate().filter(|(index, _)| *index != place);
            return numbers.map(|(_, part)| part).try_for_each(|part| self.day_or_year(part));
        }
        let [first, second, third] = parts else { return Err(Wrong::Syntax) };
        // The year is first where it is written out; otherwise month and day come before it.
        let (year, month, day) = match order {
            _ if first.len() > 2 => (first, second, third),
            DateOrder::Ymd => (first, second, third),
            DateOrder::Mdy => (third, first, second),
            DateOrder::Dmy => (third, second, first),
        };
        self.set_year(year)?;
        set(&mut self.month, month.parse().map_err(|_| Wrong::Syntax)?)?;
        set(&mut self.day, day.parse().map_err(|_| Wrong::Syntax)?)
    }

    fn set_year(&mut self, text: &str) -> Result<(), Wrong> {
        let number: i64 = text.parse().map_err(|_| Wrong::Syntax)?;
        let number = match (text.len(), number) {
            (1 | 2, 0..=69) => number + 2000,
            (1 | 2, _) => number + 1900,
            _ => number,
        };
        set(&mut self.year, number)
    }

    fn day_or_year(&mut self, text: &str) -> Result<(), Wrong> {
        if text.len() <= 2 && self.day.is_none() {
            return set(&mut self.day, text.parse().map_err(|_| Wrong::Syntax)?);
        }
        self.set_year(text)
    }

    fn take_number(&mut self, text: &str) -> Result<(), Wrong> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let piece = |from: usize, to: usize| -> Result<i64, Wrong> {
            whole.get(from..to).and_then(|piece| piece.parse().ok()).ok_or(Wrong::Syntax)
        };
        let has_date = self.days.is_some() || self.year.is_some();
        match whole.len() {
            8 if !has_date && fraction.is_empty() => {
                set(&mut self.year, piece(0, 4)?)?;
                set(&mut self.month, piece(4, 6)? as u32)?;
                set(&mut self.day, piece(6, 8)? as u32)
            }
            14 if !has_date => {
                self.take_number(whole.get(..8).unwrap_or_default())?;
                let us = of_clock(
                    piece(8, 10)?,
                    piece(10, 12)?,
                    piece(12, 14)?,
                    fraction_us(fraction)?,
                )?;
                set(&mut self.clock_us, us)
            }
            6 if has_date || !fraction.is_empty() || self.month.is_none() => {
                if has_date {
                    let us =
                        of_clock(piece(0, 2)?, piece(2, 4)?, piece(4, 6)?, fraction_us(fraction)?)?;
                    return set(&mut self.clock_us, us);
                }
                self.set_year(whole.get(..2).unwrap_or_default())?;
                set(&mut self.month, piece(2, 4)? as u32)?;
                set(&mut self.day, piece(4, 6)? as u32)
            }
            4 if has_date && self.month.is_some() && self.day.is_some() && fraction.is_empty() => {
                set(&mut self.clock_us, of_clock(piece(0, 2)?, piece(2, 4)?, 0, 0)?)
            }
            4 if fraction.len() == 3 && !has_date => {
                let (year, day) =
                    (piece(0, 4)?, fraction.parse::<i64>().map_err(|_| Wrong::Syntax)?);
                let first = days_of(year, 1, 1).ok_or(Wrong::Range)?;
                if !(1..=366).contains(&day) {
                    return Err(Wrong::Range);
                }
                set(&mut self.days, first + day - 1)
            }
            1 | 2 if fraction.is_empty() && has_date && self.day.is_some() => {
                // An hour, before AM or PM.
                set(&mut self.clock_us, piece(0, whole.len())? * 3_600 * SECOND_US)
            }
            _ if fraction.is_empty() && (self.month.is_some() || whole.len() <= 2) => {
                self.day_or_year(whole)
            }
            _ if fraction.is_empty() && self.month.is_none() && self.year.is_none() => {
                self.set_year(whole)
            }
            _ => Err(Wrong::Syntax),
        }
    }

    fn take_word(&mut self, word: &str, moment: &Moment) -> Result<(), Wrong> {
        let now_us = || moment.now_us.ok_or(Wrong::Syntax);
        let today = || Ok(encode::local_us(now_us()?, &moment.zone).div_euclid(DAY_US));
        match word {
            "now" => set(&mut self.moment_us, now_us()?),
            "epoch" => set(&mut self.moment_us, 0),
            "infinity" => set(&mut self.moment_us, i64::MAX),
            "-infinity" => set(&mut self.moment_us, i64::MIN),
            "today" => set(&mut self.days, today()?),
            "tomorrow" => set(&mut self.days, today()? + 1),
            "yesterday" => set(&mut self.days, today()? - 1),
            "allballs" => set(&mut self.clock_us, 0),
            "am" => set(&mut self.half, false),
            "pm" => set(&mut self.half, true),
            "bc" => {
                self.before_christ = true;
                Ok(())
            }
            "ad" | "at" => Ok(()),
            word if word.starts_with('j')
                && word.len() > 1
                && word.as_bytes().get(1).is_some_and(u8::is_ascii_digit) =>
            {
                let number: i64 =
                    word.get(1..).and_then(|text| text.parse().ok()).ok_or(Wrong::Syntax)?;
                set(&mut self.days, number - 2_440_588)
            }
            word => match month(word) {
                Some(month) if self.month.is_none() => {
                    // `8 January 1999`: the number before was taken for what it looked like.
                    self.month = Some(month);
                    Ok(())
                }
                Some(_) => Err(Wrong::Syntax),
                None if word.starts_with(['+', '-']) => Err(Wrong::Syntax),
                None => Ok(()),
            },
        }
    }

    fn finish(mut self) -> Result<Self, Wrong> {
        if let Some(half) = self.half {
            let us = self.clock_us.ok_or(Wrong::Syntax)?;
            let noon_us = 12 * 3_600 * SECOND_US;
            if us >= noon_us + 3_600 * SECOND_US {
                return Err(Wrong::Range);
            }
            self.clock_us = Some(us % noon_us + if half { noon_us } else { 0 });
        }
        match (self.year, self.month, self.day) {
            (None, None, None) => {
                if self.before_christ {
                    return Err(Wrong::Syntax);
                }
            }
            (Some(year), Some(month), Some(day)) if self.days.is_none() => {
                let year = match (self.before_christ, year) {
                    (_, 0) => return Err(Wrong::Range),
                    (true, year) => 1 - year,
                    (false, year) => year,
                };
                self.days = Some(days_of(year, month, day).ok_or(Wrong::Range)?);
            }
            _ => return Err(Wrong::Syntax),
        }
        Ok(self)
    }

    /// What the clocks on the spot show.
    fn local_us(&self) -> Result<i64, Wrong> {
        let days = self.days.ok_or(Wrong::Syntax)?;
        let us = days.checked_mul(DAY_US).and_then(|us| us.checked_add(self.clock_us.unwrap_or(0)));
        us.ok_or(Wrong::Range)
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), Wrong> {
    if slot.is_some() {
        return Err(Wrong::Syntax);
    }
    *slot = Some(value);
    Ok(())
}

/// The most common form, read without cutting: `2024-01-31 10:00:00.123456`, with a `T`, or the
/// date alone.
fn plain_us(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let two = |at: usize| -> Option<i64> {
        let (a, b) = (*bytes.get(at)?, *bytes.get(at + 1)?);
        (a.is_ascii_digit() && b.is_ascii_digit())
            .then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
    };
    let is = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    if !is(4, b'-') || !is(7, b'-') {
        return None;
    }
    let year = two(0)? * 100 + two(2)?;
    let days = days_of(year, two(5)? as u32, two(8)? as u32).filter(|_| year > 0)?;
    if bytes.len() == 10 {
        return Some(days * DAY_US);
    }
    if !(is(10, b' ') || is(10, b'T')) || !is(13, b':') || !is(16, b':') {
        return None;
    }
    let (hours, minutes, seconds) = (two(11)?, two(14)?, two(17)?);
    let fraction = match bytes.get(19) {
        None => 0,
        Some(b'.') if bytes.len() > 20 => fraction_us(text.get(20..)?).ok()?,
        Some(_) => return None,
    };
    Some(days * DAY_US + of_clock(hours, minutes, seconds, fraction).ok()?)
}

/// A timestamp without a zone: microseconds since 1970; a zone in the text is left out, as in
/// Postgres.
pub(crate) fn timestamp(text: &str, moment: &Moment) -> Result<i64, Wrong> {
    if let Some(us) = plain_us(text) {
        return Ok(us);
    }
    let said = Said::read(text, moment)?;
    match said.moment_us {
        Some(us @ (i64::MAX | i64::MIN | 0)) => Ok(us),
        Some(us) => Ok(encode::local_us(us, &moment.zone)),
        None => said.local_us(),
    }
}

/// A timestamp with a zone: microseconds since 1970, UTC; a text without a zone is in the
/// session's.
pub(crate) fn timestamptz(text: &str, moment: &Moment) -> Result<i64, Wrong> {
    let said = Said::read(text, moment)?;
    if let Some(us) = said.moment_us {
        return Ok(us);
    }
    let local_us = said.local_us()?;
    match said.offset_seconds {
        Some(seconds) => local_us.checked_sub(i64::from(seconds) * SECOND_US).ok_or(Wrong::Range),
        None => to_utc_us(local_us, &said.zone.unwrap_or(moment.zone)).ok_or(Wrong::Range),
    }
}

/// Days since 1970.
pub(crate) fn date(text: &str, moment: &Moment) -> Result<i32, Wrong> {
    let us = timestamp(text, moment)?;
    match us {
        i64::MAX => Ok(i32::MAX),
        i64::MIN => Ok(i32::MIN),
        us => i32::try_from(us.div_euclid(DAY_US)).map_err(|_| Wrong::Range),
    }
}

/// Microseconds since midnight; a date and a zone in the text are left out, as in Postgres.
pub(crate) fn time_of_day(text: &str, moment: &Moment) -> Result<i64, Wrong> {
    let trimmed = text.trim();
    if trimmed.len() == 6 && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        return time_of_day(
            &format!("{}:{}:{}", &trimmed[..2], &trimmed[2..4], &trimmed[4..]),
            moment,
        );
    }
    if trimmed.len() == 4 && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        return time_of_day(&format!("{}:{}", &trimmed[..2], &trimmed[2..]), moment);
    }
    let said = Said::read(text, moment)?;
    if let Some(us) = said.moment_us {
        return Ok(encode::local_us(us, &moment.zone).rem_euclid(DAY_US));
    }
    said.clock_us.ok_or(Wrong::Syntax)
}
