//! Dates and times read by a format.

use super::*;

/// Reads a time by its format.
pub(super) fn read_time(text: &str, format: &str) -> Result<i64, SqlError> {
    let mut read = Read::new(text, format);
    for piece in pieces(format) {
        let Piece::Pattern { name, .. } = piece else {
            // Separators match separators, whatever they are.
            if read.rest.starts_with(|letter: char| !letter.is_alphanumeric()) {
                read.rest = read.rest.get(1..).unwrap_or_default();
            }
            read.rest = read.rest.trim_start();
            continue;
        };
        read.rest = read.rest.trim_start();
        if name == "J" {
            let days = read.number(name, 9)? - 2_440_588;
            return Ok(days * DAY_US);
        }
        read.pattern(name)?;
    }
    read.time()
}

/// What is read of a time so far.
struct Read<'a> {
    text: &'a str,
    format: &'a str,
    rest: &'a str,
    year: Option<i64>,
    month: u32,
    day: u32,
    hour: i64,
    minute: i64,
    second: i64,
    us: i64,
    pm: Option<bool>,
    ordinal_day: Option<i64>,
    before_christ: bool,
}

impl<'a> Read<'a> {
    fn new(text: &'a str, format: &'a str) -> Self {
        Self {
            text,
            format,
            rest: text.trim_start(),
            year: None,
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
            second: 0,
            us: 0,
            pm: None,
            ordinal_day: None,
            before_christ: false,
        }
    }

    fn wrong(&self, what: &str) -> SqlError {
        SqlError::new(
            SqlState::InvalidDatetimeFormat,
            format!("invalid value \"{}\" for \"{what}\"", self.text),
        )
    }

    /// What a pattern stands for, at the beginning of what is left.
    fn pattern(&mut self, name: &str) -> Result<(), SqlError> {
        match name {
            "YYYY" | "IYYY" => {
                let width = if self.format.len() > 4 { 4 } else { 9 };
                self.year = Some(self.number(name, width)?);
            }
            "YYY" => self.year = Some(2_000 + self.number(name, 3)?),
            "YY" | "IY" => {
                let short = self.number(name, 2)?;
                self.year = Some(if short < 70 { 2_000 + short } else { 1_900 + short });
            }
            "MM" => self.month = self.number(name, 2)? as u32,
            "DD" => self.day = self.number(name, 2)? as u32,
            "DDD" => self.ordinal_day = Some(self.number(name, 3)?),
            "HH24" | "HH12" | "HH" => self.hour = self.number(name, 2)?,
            "MI" => self.minute = self.number(name, 2)?,
            "SS" => self.second = self.number(name, 2)?,
            "SSSS" | "SSSSS" => self.second = self.number(name, 5)?,
            "MS" => self.us = self.number(name, 3)? * 1_000,
            "US" => self.us = self.number(name, 6)?,
            "MONTH" | "Month" | "month" | "MON" | "Mon" | "mon" => self.month_name(name)?,
            "DAY" | "Day" | "day" | "DY" | "Dy" | "dy" => {
                self.rest = self.rest.trim_start_matches(|letter: char| letter.is_alphabetic());
            }
            "AM" | "PM" | "am" | "pm" | "A.M." | "P.M." | "a.m." | "p.m." => {
                self.pm = Some(self.rest.starts_with(['p', 'P']));
                self.skip(name.len());
            }
            "AD" | "BC" | "ad" | "bc" => {
                self.before_christ = self.rest.starts_with(['b', 'B']);
                self.skip(2);
            }
            _ => {
                let message = format!("the pattern \"{name}\" cannot be read");
                return Err(SqlError::unsupported(message));
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn number(&mut self, name: &str, width: usize) -> Result<i64, SqlError> {
        let sign = usize::from(self.rest.starts_with(['-', '+']) && matches!(name, "YYYY"));
        let digits = self
            .rest
            .get(sign..)
            .unwrap_or_default()
            .bytes()
            .take(width)
            .take_while(u8::is_ascii_digit)
            .count();
        let piece = self.rest.get(..sign + digits).unwrap_or_default();
        let value = piece.parse::<i64>().map_err(|_| self.wrong(name))?;
        self.skip(sign + digits);
        Ok(value)
    }

    fn month_name(&mut self, name: &str) -> Result<(), SqlError> {
        let rest = self.rest;
        let found = MONTHS.iter().position(|long| {
            let wanted = if name.len() == 3 { long.get(..3).unwrap_or_default() } else { long };
            rest.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted))
        });
        let found = found.ok_or_else(|| self.wrong(name))?;
        self.month = found as u32 + 1;
        self.skip(if name.len() == 3 { 3 } else { MONTHS.get(found).map_or(0, |name| name.len()) });
        Ok(())
    }

    /// The time that has been read.
    fn time(self) -> Result<i64, SqlError> {
        let hour = match self.pm {
            Some(pm) => self.hour % 12 + if pm { 12 } else { 0 },
            None => self.hour,
        };
        let year = self.year.unwrap_or(1);
        let year = if self.before_christ { 1 - year } else { year };
        let out_of_range = || {
            SqlError::new(
                SqlState::DatetimeOutOfRange,
                format!("date/time field value out of range: \"{}\"", self.text),
            )
        };
        let days = match self.ordinal_day {
            Some(day) => moment::days_of(year, 1, 1).map(|first| first + day - 1),
            None => moment::days_of(year, self.month, self.day),
        };
        let days = days.ok_or_else(out_of_range)?;
        let is_long = self.second > 60 && !self.format.contains("SSSS");
        if hour > 24 || self.minute > 59 || is_long {
            return Err(out_of_range());
        }
        let seconds = (hour * 60 + self.minute) * 60 + self.second;
        Ok(days * DAY_US + seconds * SECOND_US + self.us)
    }
}

pub(super) fn to_date(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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
pub(super) fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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
