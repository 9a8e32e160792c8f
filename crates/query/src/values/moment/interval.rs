//! Intervals from text.

use super::{DAY_US, SECOND_US, Wrong};

/// Months, days and microseconds: none of them is a fixed number of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) us: i64,
}

/// Days of a month where a fraction of one is meant.
const MONTH_DAYS: f64 = 30.0;

/// A unit, as how many months, days or microseconds one is.
#[derive(Clone, Copy)]
enum Unit {
    Months(i32),
    Days(i32),
    Us(i64),
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Unit::Us(1),
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Unit::Us(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Us(SECOND_US),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Us(60 * SECOND_US),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Us(3_600 * SECOND_US),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1_200),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    us: f64,
    /// Whole microseconds, which a double would not hold.
    exact_us: i64,
}

impl Sum {
    fn add(&mut self, number: &str, unit: Unit) -> Result<(), Wrong> {
        if let (Ok(whole), Unit::Us(us)) = (number.parse::<i64>(), unit) {
            let part = whole.checked_mul(us).ok_or(Wrong::Range)?;
            self.exact_us = self.exact_us.checked_add(part).ok_or(Wrong::Range)?;
            return Ok(());
        }
        let number: f64 = number.parse().map_err(|_| Wrong::Syntax)?;
        match unit {
            Unit::Months(each) => {
                let months = number * f64::from(each);
                self.months += months.trunc();
                // Of a year's fraction only whole months count.
                if each == 1 {
                    self.add_days(months.fract() * MONTH_DAYS);
                } else {
                    self.months += (months.fract()).round();
                }
            }
            Unit::Days(each) => self.add_days(number * f64::from(each)),
            Unit::Us(each) => self.us += number * each as f64,
        }
        Ok(())
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc();
        self.us += days.fract() * DAY_US as f64;
    }

    fn finish(self) -> Result<Interval, Wrong> {
        let whole = |number: f64| {
            let fits = number.abs() <= f64::from(i32::MAX);
            fits.then_some(number as i32).ok_or(Wrong::Range)
        };
        if self.us.abs() >= i64::MAX as f64 {
            return Err(Wrong::Range);
        }
        let us = self.exact_us.checked_add(self.us.round() as i64).ok_or(Wrong::Range)?;
        Ok(Interval { months: whole(self.months)?, days: whole(self.days)?, us })
    }
}

/// `1 year 2 mons 3 days 04:05:06.5`, `1-2`, `3 4:05`, `P1Y2M3DT4H5M6S`, `@ 1 minute ago`.
pub(crate) fn interval(text: &str) -> Result<Interval, Wrong> {
    interval_in(text, "second")
}

/// The same of `INTERVAL '5' DAY`: what has no unit has this one.
pub(crate) fn interval_of_unit(text: &str, unit: &str) -> Result<Interval, Wrong> {
    interval_in(text, unit)
}

fn interval_in(text: &str, last_unit: &str) -> Result<Interval, Wrong> {
    let text = text.trim();
    if text.len() > 256 || !text.is_ascii() {
        return Err(Wrong::Syntax);
    }
    if let Some(rest) = text.strip_prefix(['P', 'p']) {
        return iso(rest);
    }
    let lower = text.to_ascii_lowercase();
    let mut tokens = tokens(lower.trim_start_matches('@'))?;
    let ago = tokens.last().is_some_and(|token| token == "ago");
    if ago {
        tokens.pop();
    }
    if tokens.is_empty() {
        return Err(Wrong::Syntax);
    }
    let mut sum = Sum::default();
    let mut index = 0;
    let mut clock_seen = false;
    while let Some(token) = tokens.get(index) {
        index += 1;
        if token.contains(':') {
            if std::mem::replace(&mut clock_seen, true) {
                return Err(Wrong::Syntax);
            }
            add_clock(&mut sum, token)?;
        } else if token.trim_start_matches(['+', '-']).contains('-') {
            add_years_and_months(&mut sum, token)?;
        } else if let Some(found) = tokens.get(index).and_then(|word| unit(word)) {
            sum.add(token, found)?;
            index += 1;
        } else if tokens.get(index).is_some_and(|next| next.contains(':')) {
            sum.add(token, Unit::Days(1))?;
        } else if index == tokens.len() {
            sum.add(token, unit(last_unit).ok_or(Wrong::Syntax)?)?;
        } else {
            return Err(Wrong::Syntax);
        }
    }
    let Interval { months, days, us } = sum.finish()?;
    if !ago {
        return Ok(Interval { months, days, us });
    }
    let negated = || {
        Some(Interval {
            months: months.checked_neg()?,
            days: days.checked_neg()?,
            us: us.checked_neg()?,
        })
    };
    negated().ok_or(Wrong::Range)
}

/// Numbers, words and clocks, apart from each other.
fn tokens(text: &str) -> Result<Vec<String>, Wrong> {
    let mut tokens: Vec<String> = Vec::new();
    let mut was_letter = None;
    for byte in text.bytes() {
        let letter = match byte {
            b' ' | b'\t' | b'\n' | b',' => {
                was_letter = None;
                continue;
            }
            b'0'..=b'9' | b'.' | b':' | b'+' | b'-' => false,
            byte if byte.is_ascii_alphabetic() => true,
            _ => return Err(Wrong::Syntax),
        };
        match tokens.last_mut().filter(|_| was_letter == Some(letter)) {
            Some(token) => token.push(char::from(byte)),
            None => tokens.push(char::from(byte).to_string()),
        }
        was_letter = Some(letter);
    }
    Ok(tokens)
}

fn add_clock(sum: &mut Sum, token: &str) -> Result<(), Wrong> {
    let (negative, digits) = match token.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, token.trim_start_matches('+')),
    };
    let parts: Vec<&str> = digits.split(':').collect();
    let whole = |text: &str| text.parse::<i64>().map_err(|_| Wrong::Syntax);
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if seconds.contains('.') => ("0", *minutes, *seconds),
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return Err(Wrong::Syntax),
    };
    let (hours, minutes) = (whole(hours)?, whole(minutes)?);
    let seconds: f64 = seconds.parse().map_err(|_| Wrong::Syntax)?;
    if minutes >= 60 || !(0.0..61.0).contains(&seconds) {
        return Err(Wrong::Range);
    }
    let us = hours.checked_mul(3_600 * SECOND_US).ok_or(Wrong::Range)?
        + minutes * 60 * SECOND_US
        + (seconds * 1e6).round() as i64;
    sum.exact_us = sum.exact_us.checked_add(if negative { -us } else { us }).ok_or(Wrong::Range)?;
    Ok(())
}

fn add_years_and_months(sum: &mut Sum, token: &str) -> Result<(), Wrong> {
    let (sign, digits) = match token.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, token.trim_start_matches('+')),
    };
    let (years, months) = digits.split_once('-').ok_or(Wrong::Syntax)?;
    let number = |text: &str| text.parse::<u16>().map(f64::from).map_err(|_| Wrong::Syntax);
    sum.months += sign * (number(years)? * 12.0 + number(months)?);
    Ok(())
}

/// ISO 8601, after its `P`.
fn iso(text: &str) -> Result<Interval, Wrong> {
    let mut sum = Sum::default();
    let mut in_time = false;
    let mut number = String::new();
    if text.is_empty() {
        return Err(Wrong::Syntax);
    }
    for letter in text.chars() {
        let found = match (letter.to_ascii_uppercase(), in_time) {
            ('T', false) if number.is_empty() => {
                in_time = true;
                continue;
            }
            ('0'..='9' | '.' | '-' | '+', _) => {
                number.push(letter);
                continue;
            }
            ('Y', false) => "year",
            ('M', false) => "month",
            ('W', false) => "week",
            ('D', false) => "day",
            ('H', true) => "hour",
            ('M', true) => "minute",
            ('S', true) => "second",
            _ => return Err(Wrong::Syntax),
        };
        sum.add(&std::mem::take(&mut number), unit(found).ok_or(Wrong::Syntax)?)?;
    }
    if number.is_empty() { sum.finish() } else { Err(Wrong::Syntax) }
}
