//! Times cut down: date_trunc and date_bin.

use super::*;

pub(super) fn returns_trunc(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(1) {
        DataType::Timestamp(_, Some(_)) => returns(timestamptz()),
        DataType::Interval(_) => returns(interval()),
        _ => returns(timestamp()),
    }
}

pub(super) fn truncated(field: &str, us: i64) -> Result<i64, SqlError> {
    let floor = |unit: i64| Ok(us - us.rem_euclid(unit));
    let time = moment::naive(us).ok_or_else(|| out_of_range("timestamp"))?;
    let date = time.date();
    let of = |year: i64, month: u32, day: u32| {
        moment::days_of(year, month, day)
            .map(|days| days * DAY_US)
            .ok_or_else(|| out_of_range("timestamp"))
    };
    let year = i64::from(date.year());
    match field {
        "microsecond" | "microseconds" => Ok(us),
        "millisecond" | "milliseconds" => floor(1_000),
        "second" | "seconds" => floor(SECOND_US),
        "minute" | "minutes" => floor(60 * SECOND_US),
        "hour" | "hours" => floor(HOUR_US),
        "day" | "days" => floor(DAY_US),
        "week" | "weeks" => {
            let monday = us.div_euclid(DAY_US) - i64::from(date.weekday().num_days_from_monday());
            Ok(monday * DAY_US)
        }
        "month" | "months" => of(year, date.month(), 1),
        "quarter" => of(year, (date.month() - 1) / 3 * 3 + 1, 1),
        "year" | "years" => of(year, 1, 1),
        "decade" | "decades" => of(year.div_euclid(10) * 10, 1, 1),
        "century" | "centuries" => of((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        "millennium" | "millennia" => of((year - 1).div_euclid(1_000) * 1_000 + 1, 1, 1),
        _ => Err(SqlError::new(
            SqlState::InvalidParameter,
            format!("unit \"{field}\" not recognized for type timestamp without time zone"),
        )),
    }
}

pub(super) fn truncated_interval(
    field: &str,
    value: IntervalMonthDayNano,
) -> Result<IntervalMonthDayNano, SqlError> {
    let us = value.nanoseconds / 1_000;
    let clock =
        |unit: i64| IntervalMonthDayNano::new(value.months, value.days, us / unit * unit * 1_000);
    let months = |unit: i32| IntervalMonthDayNano::new(value.months / unit * unit, 0, 0);
    Ok(match field {
        "microsecond" | "microseconds" => value,
        "millisecond" | "milliseconds" => clock(1_000),
        "second" | "seconds" => clock(SECOND_US),
        "minute" | "minutes" => clock(60 * SECOND_US),
        "hour" | "hours" => clock(HOUR_US),
        "day" | "days" => IntervalMonthDayNano::new(value.months, value.days, 0),
        "month" | "months" => months(1),
        "quarter" => months(3),
        "year" | "years" => months(12),
        "decade" | "decades" => months(120),
        "century" | "centuries" => months(1_200),
        "millennium" | "millennia" => months(12_000),
        _ => {
            return Err(SqlError::new(
                SqlState::InvalidParameter,
                format!("unit \"{field}\" not recognized for type interval"),
            ));
        }
    })
}

pub(super) fn date_trunc(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let fields = call.texts(0)?;
    if matches!(call.returns.data_type(), DataType::Interval(_)) {
        let spans = spans(call, 1)?;
        return whole::<IntervalMonthDayNanoType>(call, interval(), |row| {
            match spans.is_valid(row) {
                true => truncated_interval(&fields.value(row).to_lowercase(), spans.value(row))
                    .map(Some),
                false => Ok(None),
            }
        });
    }
    let times = micros(call, 1)?;
    let has_zone = matches!(call.returns.data_type(), DataType::Timestamp(_, Some(_)));
    let given = if call.has(2) { Some(call.texts(2)?) } else { None };
    whole::<TimestampMicrosecondType>(call, call.returns.data_type().clone(), |row| {
        if times.is_null(row) || fields.is_null(row) {
            return Ok(None);
        }
        let us = times.value(row);
        let field = fields.value(row).to_lowercase();
        if matches!(us, i64::MAX | i64::MIN) {
            return Ok(Some(us));
        }
        if !has_zone {
            return truncated(&field, us).map(Some);
        }
        let zone = match &given {
            Some(names) => zone_named(names.value(row))?,
            None => call.moment().zone,
        };
        let local = truncated(&field, encode::local_us(us, &zone))?;
        moment::to_utc_us(local, &zone).map(Some).ok_or_else(|| out_of_range("timestamp"))
    })
}

pub(super) fn returns_bin(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(1) {
        DataType::Timestamp(_, Some(_)) => returns(timestamptz()),
        _ => returns(timestamp()),
    }
}

pub(super) fn date_bin(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (strides, times) = (spans(call, 0)?, micros(call, 1)?);
    let origins = if call.has(2) { Some(micros(call, 2)?) } else { None };
    whole::<TimestampMicrosecondType>(call, call.returns.data_type().clone(), |row| {
        if strides.is_null(row) || times.is_null(row) {
            return Ok(None);
        }
        let stride = strides.value(row);
        if stride.months != 0 {
            return Err(SqlError::unsupported(
                "timestamps cannot be binned into intervals containing months or years",
            ));
        }
        let stride = i64::from(stride.days) * DAY_US + stride.nanoseconds / 1_000;
        if stride <= 0 {
            return Err(SqlError::new(
                SqlState::DatetimeOutOfRange,
                "stride must be greater than zero",
            ));
        }
        let (us, origin) =
            (times.value(row), origins.as_ref().map_or(0, |origins| origins.value(row)));
        if matches!(us, i64::MAX | i64::MIN) {
            return Ok(Some(us));
        }
        let past = us.checked_sub(origin).ok_or_else(|| out_of_range("interval"))?;
        Ok(Some(us - past.rem_euclid(stride)))
    })
}
