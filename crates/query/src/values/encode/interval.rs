//! Intervals in the four styles of Postgres.

use super::time::put_time_of_day;
use crate::values::moment::IntervalFormat;
use std::io::Write;

/// Months, days and microseconds in a style.
pub(crate) fn put_interval_as(
    out: &mut Vec<u8>,
    (months, days, us): (i32, i32, i64),
    format: IntervalFormat,
) {
    let parts = Parts::new(months, days, us);
    match format {
        IntervalFormat::Postgres => put_interval(out, months, days, us),
        IntervalFormat::Verbose => parts.put_verbose(out),
        IntervalFormat::Standard => parts.put_standard(out),
        IntervalFormat::Iso => parts.put_iso(out),
    }
}

struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    /// With the rest of the microseconds; both have one sign.
    seconds: i64,
    fraction_us: i64,
}

fn put_seconds(out: &mut Vec<u8>, seconds: u64, fraction_us: u64, fill: bool) {
    // Writing to memory cannot fail.
    let _infallible = match fill {
        true => write!(out, "{seconds:02}"),
        false => write!(out, "{seconds}"),
    };
    if fraction_us != 0 {
        let digits = format!("{fraction_us:06}");
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

impl Parts {
    fn new(months: i32, days: i32, us: i64) -> Self {
        let seconds = us / 1_000_000;
        Self {
            years: (months / 12).into(),
            months: (months % 12).into(),
            days: days.into(),
            hours: seconds / 3_600,
            minutes: seconds / 60 % 60,
            seconds: seconds % 60,
            fraction_us: us % 1_000_000,
        }
    }

    fn large(&self) -> [(i64, &'static str); 5] {
        [
            (self.years, "year"),
            (self.months, "mon"),
            (self.days, "day"),
            (self.hours, "hour"),
            (self.minutes, "min"),
        ]
    }

    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6.5 secs ago`
    fn put_verbose(&self, out: &mut Vec<u8>) {
        out.push(b'@');
        let mut ago = None;
        for (number, unit) in self.large().into_iter().filter(|(number, _)| *number != 0) {
            let ago = *ago.get_or_insert(number < 0);
            let shown = if ago { -number } else { number };
            let plural = if shown == 1 { "" } else { "s" };
            // Writing to memory cannot fail.
            let _infallible = write!(out, " {shown} {unit}{plural}");
        }
        if self.seconds != 0 || self.fraction_us != 0 {
            let negative = self.seconds < 0 || self.fraction_us < 0;
            out.push(b' ');
            if *ago.get_or_insert(negative) != negative {
                out.push(b'-');
            }
            put_seconds(out, self.seconds.unsigned_abs(), self.fraction_us.unsigned_abs(), false);
            let one = self.seconds.abs() == 1 && self.fraction_us == 0;
            out.extend_from_slice(if one { b" sec" } else { b" secs" });
        }
        match ago {
            None => out.extend_from_slice(b" 0"),
            Some(true) => out.extend_from_slice(b" ago"),
            Some(false) => {}
        }
    }

    /// `P1Y2M3DT4H5M6.5S`
    fn put_iso(&self, out: &mut Vec<u8>) {
        let put = |out: &mut Vec<u8>, number: i64, unit: char| {
            if number != 0 {
                // Writing to memory cannot fail.
                let _infallible = write!(out, "{number}{unit}");
            }
        };
        let start = out.len();
        out.push(b'P');
        put(out, self.years, 'Y');
        put(out, self.months, 'M');
        put(out, self.days, 'D');
        let has_seconds = self.seconds != 0 || self.fraction_us != 0;
        if self.hours != 0 || self.minutes != 0 || has_seconds {
            out.push(b'T');
            put(out, self.hours, 'H');
            put(out, self.minutes, 'M');
            if has_seconds {
                if self.seconds < 0 || self.fraction_us < 0 {
                    out.push(b'-');
                }
                let (seconds, us) = (self.seconds.unsigned_abs(), self.fraction_us.unsigned_abs());
                put_seconds(out, seconds, us, false);
                out.push(b'S');
            }
        }
        if out.len() == start + 1 {
            out.extend_from_slice(b"T0S");
        }
    }

    /// `1-2`, `3 4:05:06.5`, or all of it with signs.
    fn put_standard(&self, out: &mut Vec<u8>) {
        let clock = [self.hours, self.minutes, self.seconds, self.fraction_us];
        let all = [self.years, self.months, self.days].into_iter().chain(clock);
        let negative = all.clone().any(|number| number < 0);
        let positive = all.clone().any(|number| number > 0);
        let has_months = self.years != 0 || self.months != 0;
        let has_clock = clock.iter().any(|&number| number != 0);
        let is_plain = !(negative && positive) && !(has_months && (self.days != 0 || has_clock));
        let (years, months) = (self.years.abs(), self.months.abs());
        let (days, hours, minutes) = (self.days.abs(), self.hours.abs(), self.minutes.abs());
        // Writing to memory cannot fail.
        let _infallible = if !negative && !positive {
            out.push(b'0');
            return;
        } else if !is_plain {
            let sign = |negative: bool| if negative { '-' } else { '+' };
            let of_months = sign(self.years < 0 || self.months < 0);
            let of_clock = sign(clock.iter().any(|&number| number < 0));
            let of_days = sign(self.days < 0);
            write!(
                out,
                "{of_months}{years}-{months} {of_days}{days} {of_clock}{hours}:{minutes:02}:"
            )
        } else {
            if negative {
                out.push(b'-');
            }
            match (has_months, days) {
                (true, _) => {
                    let _infallible = write!(out, "{years}-{months}");
                    return;
                }
                (false, 0) => write!(out, "{hours}:{minutes:02}:"),
                (false, _) => write!(out, "{days} {hours}:{minutes:02}:"),
            }
        };
        put_seconds(out, self.seconds.unsigned_abs(), self.fraction_us.unsigned_abs(), true);
    }
}

/// Months, days and microseconds, such as `1 year 2 mons -3 days +04:05:06.5`.
pub(crate) fn put_interval(out: &mut Vec<u8>, months: i32, days: i32, us: i64) {
    let start = out.len();
    let mut negative_before = false;
    let mut part = |out: &mut Vec<u8>, number: i64, unit: &str| {
        if number == 0 {
            return;
        }
        let space = if out.len() > start { " " } else { "" };
        let sign = if negative_before && number > 0 { "+" } else { "" };
        let plural = if number == 1 { "" } else { "s" };
        // Writing to memory cannot fail.
        let _infallible = write!(out, "{space}{sign}{number} {unit}{plural}");
        negative_before = number < 0;
    };
    part(out, (months / 12).into(), "year");
    part(out, (months % 12).into(), "mon");
    part(out, days.into(), "day");
    if us != 0 || out.len() == start {
        if out.len() > start {
            out.push(b' ');
        }
        if us < 0 {
            out.push(b'-');
        } else if negative_before {
            out.push(b'+');
        }
        put_time_of_day(out, us);
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
    fn intervals_look_as_in_postgres() {
        for (months, days, us, expected) in [
            (0, 0, 0, "00:00:00"),
            (14, 3, 14_706_500_000, "1 year 2 mons 3 days 04:05:06.5"),
            (0, 1, -1_000_000, "1 day -00:00:01"),
            (-1, 1, 1_000_000, "-1 mons +1 day 00:00:01"),
            (0, -1, 1_000_000, "-1 days +00:00:01"),
            (1, 0, 0, "1 mon"),
            (0, 0, 360_000_000_000, "100:00:00"),
        ] {
            assert_eq!(text(|out| put_interval(out, months, days, us)), expected);
        }
    }

    #[test]
    fn intervals_in_other_styles() {
        use IntervalFormat::{Iso, Standard, Verbose};
        let all = (14, 3, 14_706_500_000);
        for (value, format, expected) in [
            (all, Verbose, "@ 1 year 2 mons 3 days 4 hours 5 mins 6.5 secs"),
            ((-14, 0, 1_000_000), Verbose, "@ 1 year 2 mons -1 sec ago"),
            ((0, 0, 0), Verbose, "@ 0"),
            (all, Iso, "P1Y2M3DT4H5M6.5S"),
            ((0, 0, 0), Iso, "PT0S"),
            (all, Standard, "+1-2 +3 +4:05:06.5"),
            ((14, 0, 0), Standard, "1-2"),
            ((0, 3, 14_706_000_000), Standard, "3 4:05:06"),
            ((0, 0, -1_000_000), Standard, "-0:00:01"),
        ] {
            assert_eq!(text(|out| put_interval_as(out, value, format)), expected);
        }
    }
}
