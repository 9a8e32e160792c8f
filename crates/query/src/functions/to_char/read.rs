//! Dates and times read by a format.

use super::*;

/// Reads a time by its format.
pub(super) fn read_time(text: &str, format: &str) -> Result<i64, SqlError> {
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
