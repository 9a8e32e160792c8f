//! Dates, times and intervals from their parts.

use super::*;

pub(super) fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if year < 0 { year + 1 } else { year };
    moment::days_of(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

pub(super) fn field_out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeOutOfRange, format!("{what} field value out of range"))
}

pub(super) fn make_date(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (years, months, days) = (call.integers(0)?, call.integers(1)?, call.integers(2)?);
    whole::<Date32Type>(call, DataType::Date32, |row| {
        if years.is_null(row) || months.is_null(row) || days.is_null(row) {
            return Ok(None);
        }
        let date = day_of(years.value(row), months.value(row), days.value(row))
            .filter(|_| years.value(row) != 0);
        date.map(|date| Some(date as i32)).ok_or_else(|| field_out_of_range("date"))
    })
}

pub(super) fn clock_of(hours: i64, minutes: i64, seconds: f64) -> Option<i64> {
    let fits =
        (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0.0..=60.0).contains(&seconds);
    let us = (hours * 60 + minutes) * 60 * SECOND_US + (seconds * 1e6).round() as i64;
    (fits && us <= DAY_US).then_some(us)
}

pub(super) fn make_time(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (hours, minutes, seconds) = (call.integers(0)?, call.integers(1)?, call.doubles(2)?);
    whole::<Time64MicrosecondType>(call, DataType::Time64(TimeUnit::Microsecond), |row| {
        if hours.is_null(row) || minutes.is_null(row) || seconds.is_null(row) {
            return Ok(None);
        }
        clock_of(hours.value(row), minutes.value(row), seconds.value(row))
            .map(Some)
            .ok_or_else(|| field_out_of_range("time"))
    })
}

pub(super) fn made(call: &Call<'_>, row: usize) -> Result<Option<i64>, SqlError> {
    let mut numbers = Vec::with_capacity(5);
    for index in 0..5 {
        let column = call.integers(index)?;
        if column.is_null(row) {
            return Ok(None);
        }
        numbers.push(column.value(row));
    }
    let seconds = call.doubles(5)?;
    let [year, month, day, hour, minute] = numbers.as_slice() else { return Ok(None) };
    let days = day_of(*year, *month, *day).ok_or_else(|| field_out_of_range("date"))?;
    let clock =
        clock_of(*hour, *minute, seconds.value(row)).ok_or_else(|| field_out_of_range("time"))?;
    Ok(Some(days * DAY_US + clock))
}

pub(super) fn make_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    whole::<TimestampMicrosecondType>(call, timestamp(), |row| made(call, row))
}

pub(super) fn make_timestamptz(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let names = if call.has(6) { Some(call.texts(6)?) } else { None };
    whole::<TimestampMicrosecondType>(call, timestamptz(), |row| {
        let zone = match &names {
            Some(names) => zone_named(names.value(row))?,
            None => call.moment().zone,
        };
        let Some(local) = made(call, row)? else { return Ok(None) };
        moment::to_utc_us(local, &zone).map(Some).ok_or_else(|| out_of_range("timestamp"))
    })
}

pub(super) fn make_interval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let mut numbers = Vec::new();
    for index in 0..call.args.len().min(6) {
        numbers.push(call.integers(index)?);
    }
    let seconds = if call.has(6) { Some(call.doubles(6)?) } else { None };
    whole::<IntervalMonthDayNanoType>(call, interval(), |row| {
        let number = |index: usize| {
            numbers
                .get(index)
                .map_or(0, |column: &datafusion::arrow::array::Int64Array| column.value(row))
        };
        let us = (number(4) * 60 + number(5)) * 60 * SECOND_US
            + seconds.as_ref().map_or(0, |seconds| (seconds.value(row) * 1e6).round() as i64);
        let (months, days) = (number(0) * 12 + number(1), number(2) * 7 + number(3));
        let fits = i32::try_from(months).ok().zip(i32::try_from(days).ok());
        fits.map(|(months, days)| {
            Some(IntervalMonthDayNano::new(months, days, us.saturating_mul(1_000)))
        })
        .ok_or_else(|| out_of_range("interval"))
    })
}
