//! Dates, times and intervals.

use super::{Asked, Call, Function, no_function, returns};
use crate::dialect::cast_array;
use crate::encode;
use crate::error::{SqlError, SqlState};
use crate::moment::{self, DAY_US, SECOND_US};
use chrono::{Datelike, Months, NaiveDateTime};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, PrimitiveArray,
};
use datafusion::arrow::datatypes::*;
use std::sync::Arc;

const HOUR_US: i64 = 3_600 * SECOND_US;

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn interval() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("date_plus_days", |_| returns(DataType::Date32), date_plus_days),
        Function::new("date_minus_date", |_| returns(DataType::Int32), date_minus_date),
        Function::new(
            "timestamp_minus_timestamp",
            |_| returns(interval()),
            timestamp_minus_timestamp,
        ),
        Function::new(
            "timestamptz_plus_interval",
            |_| returns(timestamptz()),
            timestamptz_plus_interval,
        )
        .stable(),
        Function::new(
            "time_plus_interval",
            |_| returns(DataType::Time64(TimeUnit::Microsecond)),
            time_plus_interval,
        ),
        Function::new("time_minus_time", |_| returns(interval()), time_minus_time),
        Function::new(
            "interval_multiply",
            |_| returns(interval()),
            |call| scaled(call, |number| number),
        ),
        Function::new("interval_divide", |_| returns(interval()), divided),
        Function::new("interval_order", |_| returns(DataType::Decimal128(38, 0)), interval_order),
        Function::new("extract", returns_extract, extract),
        Function::new("date_part", |_| returns(DataType::Float64), date_part).alias("datepart"),
        Function::new("date_trunc", returns_trunc, date_trunc),
        Function::new("date_bin", returns_bin, date_bin),
        Function::new("age", |_| returns(interval()), age).stable(),
        Function::new("timezone", returns_zone, timezone),
        Function::new("make_date", |_| returns(DataType::Date32), make_date),
        Function::new("make_time", |_| returns(DataType::Time64(TimeUnit::Microsecond)), make_time),
        Function::new("make_timestamp", |_| returns(timestamp()), make_timestamp),
        Function::new("make_timestamptz", |_| returns(timestamptz()), make_timestamptz).stable(),
        Function::new("make_interval", |_| returns(interval()), make_interval),
        Function::new(
            "justify_hours",
            |_| returns(interval()),
            |call| intervals(call, justify_hours),
        ),
        Function::new(
            "justify_days",
            |_| returns(interval()),
            |call| intervals(call, justify_days),
        ),
        Function::new(
            "justify_interval",
            |_| returns(interval()),
            |call| intervals(call, |value| justify_days(justify_hours(value))),
        ),
        Function::new("isfinite", super::returns_boolean, isfinite),
        Function::new("localtimestamp", |_| returns(timestamp()), localtimestamp).stable(),
        Function::new("localtime", |_| returns(DataType::Time64(TimeUnit::Microsecond)), localtime)
            .stable(),
        Function::new("statement_timestamp", |_| returns(timestamptz()), now)
            .stable()
            .alias("transaction_timestamp"),
        Function::new("clock_timestamp", |_| returns(timestamptz()), now).volatile(),
    ]
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeOutOfRange, format!("{what} out of range"))
}

fn whole<T: ArrowPrimitiveType>(
    call: &Call<'_>,
    kind: DataType,
    each: impl Fn(usize) -> Result<Option<T::Native>, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let out = (0..call.rows).map(each).collect::<Result<Vec<Option<T::Native>>, SqlError>>()?;
    let out: PrimitiveArray<T> = PrimitiveArray::from_iter(out);
    Ok(Arc::new(out.with_data_type(kind)))
}

fn dates(call: &Call<'_>, index: usize) -> Result<PrimitiveArray<Date32Type>, SqlError> {
    Ok(call.as_kind(index, &DataType::Date32)?.as_primitive::<Date32Type>().clone())
}

/// Moments or times on a spot's clocks, in microseconds, whatever their type.
fn micros(
    call: &Call<'_>,
    index: usize,
) -> Result<PrimitiveArray<TimestampMicrosecondType>, SqlError> {
    let kind = match call.arg(index)?.data_type() {
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        _ => timestamp(),
    };
    Ok(call.as_kind(index, &kind)?.as_primitive::<TimestampMicrosecondType>().clone())
}

fn spans(
    call: &Call<'_>,
    index: usize,
) -> Result<PrimitiveArray<IntervalMonthDayNanoType>, SqlError> {
    Ok(call.as_kind(index, &interval())?.as_primitive::<IntervalMonthDayNanoType>().clone())
}

fn date_plus_days(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (dates, days) = (dates(call, 0)?, call.integers(1)?);
    whole::<Date32Type>(call, DataType::Date32, |row| {
        if dates.is_null(row) || days.is_null(row) {
            return Ok(None);
        }
        let date = dates.value(row);
        if date == i32::MAX || date == i32::MIN {
            return Ok(Some(date));
        }
        let sum =
            i64::from(date).checked_add(days.value(row)).and_then(|sum| i32::try_from(sum).ok());
        sum.filter(|sum| (-2_451_545..=106_751_991).contains(sum))
            .map(Some)
            .ok_or_else(|| out_of_range("date"))
    })
}

fn date_minus_date(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (a, b) = (dates(call, 0)?, dates(call, 1)?);
    whole::<Int32Type>(call, DataType::Int32, |row| {
        if a.is_null(row) || b.is_null(row) {
            return Ok(None);
        }
        let (a, b) = (a.value(row), b.value(row));
        if [a, b].iter().any(|days| matches!(*days, i32::MAX | i32::MIN)) {
            return Err(SqlError::new(
                SqlState::DatetimeOutOfRange,
                "cannot subtract infinite dates",
            ));
        }
        Ok(Some(a - b))
    })
}

/// Days and what is left of one.
fn timestamp_minus_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (a, b) = (micros(call, 0)?, micros(call, 1)?);
    whole::<IntervalMonthDayNanoType>(call, interval(), |row| {
        if a.is_null(row) || b.is_null(row) {
            return Ok(None);
        }
        if [a.value(row), b.value(row)].iter().any(|us| matches!(*us, i64::MAX | i64::MIN)) {
            return Err(SqlError::new(
                SqlState::DatetimeOutOfRange,
                "cannot subtract infinite timestamps",
            ));
        }
        let us = a.value(row).checked_sub(b.value(row)).ok_or_else(|| out_of_range("interval"))?;
        let days = i32::try_from(us / DAY_US).map_err(|_| out_of_range("interval"))?;
        Ok(Some(IntervalMonthDayNano::new(0, days, us % DAY_US * 1_000)))
    })
}

fn plus_months(time: NaiveDateTime, months: i32) -> Option<NaiveDateTime> {
    let by = Months::new(months.unsigned_abs());
    if months < 0 { time.checked_sub_months(by) } else { time.checked_add_months(by) }
}

/// Months and days by the calendar of the session's zone, the rest by the clock.
fn timestamptz_plus_interval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (times, spans) = (micros(call, 0)?, spans(call, 1)?);
    let zone = call.moment().zone;
    whole::<TimestampMicrosecondType>(call, timestamptz(), |row| {
        if times.is_null(row) || spans.is_null(row) {
            return Ok(None);
        }
        let (us, span) = (times.value(row), spans.value(row));
        if matches!(us, i64::MAX | i64::MIN) {
            return Ok(Some(us));
        }
        let mut us = us;
        if span.months != 0 || span.days != 0 {
            let local = moment::naive(encode::local_us(us, &zone))
                .and_then(|time| plus_months(time, span.months));
            let local = local.and_then(|time| {
                time.and_utc()
                    .timestamp_micros()
                    .checked_add(i64::from(span.days).checked_mul(DAY_US)?)
            });
            us = local
                .and_then(|local| moment::to_utc_us(local, &zone))
                .ok_or_else(|| out_of_range("timestamp"))?;
        }
        us.checked_add(span.nanoseconds / 1_000).map(Some).ok_or_else(|| out_of_range("timestamp"))
    })
}

fn clocks(
    call: &Call<'_>,
    index: usize,
) -> Result<PrimitiveArray<Time64MicrosecondType>, SqlError> {
    let kind = DataType::Time64(TimeUnit::Microsecond);
    Ok(call.as_kind(index, &kind)?.as_primitive::<Time64MicrosecondType>().clone())
}

fn time_plus_interval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (clocks, spans) = (clocks(call, 0)?, spans(call, 1)?);
    whole::<Time64MicrosecondType>(call, DataType::Time64(TimeUnit::Microsecond), |row| {
        if clocks.is_null(row) || spans.is_null(row) {
            return Ok(None);
        }
        Ok(Some((clocks.value(row) + spans.value(row).nanoseconds / 1_000).rem_euclid(DAY_US)))
    })
}

fn time_minus_time(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (a, b) = (clocks(call, 0)?, clocks(call, 1)?);
    whole::<IntervalMonthDayNanoType>(call, interval(), |row| {
        if a.is_null(row) || b.is_null(row) {
            return Ok(None);
        }
        Ok(Some(IntervalMonthDayNano::new(0, 0, (a.value(row) - b.value(row)) * 1_000)))
    })
}

fn intervals(
    call: &Call<'_>,
    each: impl Fn(IntervalMonthDayNano) -> IntervalMonthDayNano,
) -> Result<ArrayRef, SqlError> {
    let spans = spans(call, 0)?;
    let out: PrimitiveArray<IntervalMonthDayNanoType> = spans.unary(each);
    Ok(Arc::new(out))
}

/// What is a fraction of a month goes on as days of thirty, what is a fraction of a day as time.
fn scaled(call: &Call<'_>, factor: impl Fn(f64) -> f64) -> Result<ArrayRef, SqlError> {
    let (spans, numbers) = (spans(call, 0)?, call.doubles(1)?);
    whole::<IntervalMonthDayNanoType>(call, interval(), |row| {
        if spans.is_null(row) || numbers.is_null(row) {
            return Ok(None);
        }
        let (span, factor) = (spans.value(row), factor(numbers.value(row)));
        let wrong = || SqlError::new(SqlState::DatetimeOutOfRange, "interval out of range");
        let months = f64::from(span.months) * factor;
        let days = f64::from(span.days) * factor;
        let month_days = (months - months.trunc()) * 30.0;
        let month_days = (month_days * 1e6).round() / 1e6;
        let day_us = ((days - days.trunc()) + (month_days - month_days.trunc())) * DAY_US as f64;
        let us = (span.nanoseconds / 1_000) as f64 * factor + (day_us).round();
        let extra_days =
            (us / DAY_US as f64).trunc() * f64::from(u8::from(day_us.abs() >= DAY_US as f64));
        let whole_days = days.trunc() + month_days.trunc() + extra_days;
        let us = us - extra_days * DAY_US as f64;
        if !(months.abs() < 2e9 && whole_days.abs() < 2e9 && us.abs() < 9.2e15) {
            return Err(wrong());
        }
        Ok(Some(IntervalMonthDayNano::new(
            months.trunc() as i32,
            whole_days as i32,
            us.round() as i64 * 1_000,
        )))
    })
}

fn divided(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let numbers = call.doubles(1)?;
    if numbers.iter().flatten().any(|number| number == 0.0) {
        return Err(SqlError::new(SqlState::DivisionByZero, "division by zero"));
    }
    scaled(call, |number| 1.0 / number)
}

fn interval_us(value: IntervalMonthDayNano) -> i128 {
    (i128::from(value.months) * 30 + i128::from(value.days)) * i128::from(DAY_US)
        + i128::from(value.nanoseconds / 1_000)
}

/// A number by which intervals are ordered: a month is thirty days, a day 24 hours.
fn interval_order(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let spans = spans(call, 0)?;
    let out: Decimal128Array = spans.iter().map(|value| value.map(interval_us)).collect();
    Ok(Arc::new(out.with_precision_and_scale(38, 0)?))
}

fn justify_hours(value: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let day_ns = DAY_US * 1_000;
    let (mut days, mut ns) =
        (value.days + (value.nanoseconds / day_ns) as i32, value.nanoseconds % day_ns);
    if days > 0 && ns < 0 {
        ns += day_ns;
        days -= 1;
    } else if days < 0 && ns > 0 {
        ns -= day_ns;
        days += 1;
    }
    IntervalMonthDayNano::new(value.months, days, ns)
}

fn justify_days(value: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let (mut months, mut days) = (value.months + value.days / 30, value.days % 30);
    if months > 0 && days < 0 {
        days += 30;
        months -= 1;
    } else if months < 0 && days > 0 {
        days -= 30;
        months += 1;
    }
    IntervalMonthDayNano::new(months, days, value.nanoseconds)
}

/// What EXTRACT finds: microseconds of a second, millionths of everything else.
fn part_of(
    field: &str,
    us: i64,
    moment_us: Option<i64>,
    offset_seconds: i64,
) -> Result<i128, SqlError> {
    let time = moment::naive(us).ok_or_else(|| out_of_range("timestamp"))?;
    let date = time.date();
    let of_day = us.rem_euclid(DAY_US);
    let year = i64::from(date.year());
    let shown_year = if year <= 0 { year - 1 } else { year };
    let iso = date.iso_week();
    let iso_year = i64::from(iso.year());
    let whole = |value: i64| Ok(i128::from(value) * 1_000_000);
    match field {
        "microsecond" | "microseconds" | "us" | "usec" => whole(of_day % (60 * SECOND_US)),
        "millisecond" | "milliseconds" | "ms" | "msec" => {
            Ok(i128::from(of_day % (60 * SECOND_US)) * 1_000)
        }
        "second" | "seconds" => Ok(i128::from(of_day % (60 * SECOND_US))),
        "minute" | "minutes" => whole(of_day / (60 * SECOND_US) % 60),
        "hour" | "hours" => whole(of_day / HOUR_US),
        "day" | "days" => whole(date.day().into()),
        "month" | "months" => whole(date.month().into()),
        "quarter" => whole((i64::from(date.month()) + 2) / 3),
        "week" | "weeks" => whole(iso.week().into()),
        "year" | "years" => whole(shown_year),
        "isoyear" => whole(if iso_year <= 0 { iso_year - 1 } else { iso_year }),
        "decade" => whole(year.div_euclid(10)),
        "century" => whole(if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) }),
        "millennium" => {
            whole(if year > 0 { (year + 999) / 1_000 } else { -((999 - (year - 1)) / 1_000) })
        }
        "dow" => whole(date.weekday().num_days_from_sunday().into()),
        "isodow" => whole(date.weekday().number_from_monday().into()),
        "doy" => whole(date.ordinal().into()),
        "julian" => Ok(i128::from(us.div_euclid(DAY_US) + 2_440_588) * 1_000_000
            + i128::from(of_day) * 1_000_000 / i128::from(DAY_US)),
        "epoch" => Ok(i128::from(moment_us.unwrap_or(us))),
        "timezone" => whole(offset_seconds),
        "timezone_hour" => whole(offset_seconds / 3_600),
        "timezone_minute" => whole(offset_seconds / 60 % 60),
        _ => Err(SqlError::new(
            SqlState::InvalidParameter,
            format!("unit \"{field}\" not recognized for type timestamp"),
        )),
    }
}

fn part_of_interval(field: &str, value: IntervalMonthDayNano) -> Result<i128, SqlError> {
    let us = value.nanoseconds / 1_000;
    let whole = |value: i64| Ok(i128::from(value) * 1_000_000);
    let months = i64::from(value.months);
    match field {
        "microsecond" | "microseconds" => whole(us % (60 * SECOND_US)),
        "millisecond" | "milliseconds" => Ok(i128::from(us % (60 * SECOND_US)) * 1_000),
        "second" | "seconds" => Ok(i128::from(us % (60 * SECOND_US))),
        "minute" | "minutes" => whole(us / (60 * SECOND_US) % 60),
        "hour" | "hours" => whole(us / HOUR_US),
        "day" | "days" => whole(value.days.into()),
        "month" | "months" => whole(months % 12),
        "quarter" => whole(months % 12 / 3 + 1),
        "year" | "years" => whole(months / 12),
        "decade" => whole(months / 120),
        "century" => whole(months / 1_200),
        "millennium" => whole(months / 12_000),
        "epoch" => {
            let days = i128::from(months / 12) * 1_461 * 6
                + i128::from(months % 12) * 720
                + i128::from(value.days) * 24;
            Ok(days * i128::from(HOUR_US) + i128::from(us))
        }
        _ => Err(SqlError::new(
            SqlState::InvalidParameter,
            format!("unit \"{field}\" not recognized for type interval"),
        )),
    }
}

fn parts(call: &Call<'_>) -> Result<Vec<Option<i128>>, SqlError> {
    let fields = call.texts(0)?;
    let array = call.arg(1)?;
    let zone = call.moment().zone;
    let rows = 0..call.rows;
    match array.data_type() {
        DataType::Interval(_) | DataType::Duration(_) => {
            let spans = spans(call, 1)?;
            rows.map(|row| match spans.is_valid(row) && fields.is_valid(row) {
                true => {
                    part_of_interval(&fields.value(row).to_lowercase(), spans.value(row)).map(Some)
                }
                false => Ok(None),
            })
            .collect()
        }
        DataType::Time64(_) | DataType::Time32(_) => {
            let clocks = clocks(call, 1)?;
            rows.map(|row| match clocks.is_valid(row) && fields.is_valid(row) {
                true => {
                    let field = fields.value(row).to_lowercase();
                    if ![
                        "microsecond",
                        "microseconds",
                        "millisecond",
                        "milliseconds",
                        "second",
                        "seconds",
                        "minute",
                        "minutes",
                        "hour",
                        "hours",
                        "epoch",
                    ]
                    .contains(&field.as_str())
                    {
                        let message = format!(
                            "unit \"{field}\" not supported for type time without time zone"
                        );
                        return Err(SqlError::unsupported(message));
                    }
                    part_of(&field, clocks.value(row), None, 0).map(Some)
                }
                false => Ok(None),
            })
            .collect()
        }
        kind => {
            let has_zone = matches!(kind, DataType::Timestamp(_, Some(_)));
            let times = micros(call, 1)?;
            rows.map(|row| {
                if times.is_null(row) || fields.is_null(row) {
                    return Ok(None);
                }
                let us = times.value(row);
                let field = fields.value(row).to_lowercase();
                if matches!(us, i64::MAX | i64::MIN) {
                    return Ok(None);
                }
                if !has_zone {
                    return part_of(&field, us, None, 0).map(Some);
                }
                let local = encode::local_us(us, &zone);
                part_of(&field, local, Some(us), (local - us) / SECOND_US).map(Some)
            })
            .collect()
        }
    }
}

/// As many digits as the field has: whole numbers have none.
fn returns_extract(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let field =
        asked.constant(0).and_then(|value| value.try_as_str().flatten()).unwrap_or_default();
    let is_date = matches!(asked.kind(1), DataType::Date32);
    let scale = match field.to_lowercase().as_str() {
        "second" | "seconds" => 6,
        "epoch" if !is_date => 6,
        "millisecond" | "milliseconds" => 3,
        "julian" if !is_date => 6,
        _ => 0,
    };
    returns(DataType::Decimal128(38, scale))
}

fn extract(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let DataType::Decimal128(_, scale) = call.returns.data_type() else {
        return Err(no_function("extract", call.fields));
    };
    let unit = 10i128.pow(6 - scale.unsigned_abs() as u32);
    let parts = parts(call)?.into_iter().map(|part| part.map(|millionths| millionths / unit));
    let out: Decimal128Array = parts.collect();
    Ok(Arc::new(out.with_precision_and_scale(38, *scale)?))
}

fn date_part(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let parts = parts(call)?.into_iter().map(|part| part.map(|millionths| millionths as f64 / 1e6));
    Ok(Arc::new(parts.collect::<Float64Array>()))
}

fn returns_trunc(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(1) {
        DataType::Timestamp(_, Some(_)) => returns(timestamptz()),
        DataType::Interval(_) => returns(interval()),
        _ => returns(timestamp()),
    }
}

fn truncated(field: &str, us: i64) -> Result<i64, SqlError> {
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

fn truncated_interval(
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

fn date_trunc(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

fn returns_bin(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(1) {
        DataType::Timestamp(_, Some(_)) => returns(timestamptz()),
        _ => returns(timestamp()),
    }
}

fn date_bin(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

/// Years, months and days by the calendar.
fn difference(later: i64, earlier: i64) -> Option<IntervalMonthDayNano> {
    if later < earlier {
        let back = difference(earlier, later)?;
        return Some(IntervalMonthDayNano::new(-back.months, -back.days, -back.nanoseconds));
    }
    let (a, b) = (moment::naive(later)?, moment::naive(earlier)?);
    let mut us = later.rem_euclid(DAY_US) - earlier.rem_euclid(DAY_US);
    let mut days = a.day() as i32 - b.day() as i32;
    let mut months = (a.year() - b.year()) * 12 + a.month() as i32 - b.month() as i32;
    if us < 0 {
        us += DAY_US;
        days -= 1;
    }
    if days < 0 {
        // The days of the earlier date's month.
        let next = b.date().with_day(1)?.checked_add_months(Months::new(1))?;
        days += next.pred_opt()?.day() as i32;
        months -= 1;
    }
    Some(IntervalMonthDayNano::new(months, days, us * 1_000))
}

fn age(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let zone = call.moment().zone;
    let local = |index: usize| -> Result<Vec<Option<i64>>, SqlError> {
        let has_zone = matches!(call.arg(index)?.data_type(), DataType::Timestamp(_, Some(_)));
        let times = micros(call, index)?;
        Ok(times
            .iter()
            .map(|us| us.map(|us| if has_zone { encode::local_us(us, &zone) } else { us }))
            .collect())
    };
    let first = local(0)?;
    let (later, earlier) = if call.has(1) {
        (first, local(1)?)
    } else {
        let now_us = encode::local_us(chrono::Utc::now().timestamp_micros(), &zone);
        (vec![Some(now_us - now_us.rem_euclid(DAY_US)); first.len()], first)
    };
    whole::<IntervalMonthDayNanoType>(call, interval(), |row| {
        let pair = later.get(row).copied().flatten().zip(earlier.get(row).copied().flatten());
        pair.map(|(later, earlier)| {
            difference(later, earlier).ok_or_else(|| out_of_range("timestamp"))
        })
        .transpose()
    })
}

fn zone_named(name: &str) -> Result<datafusion::arrow::array::timezone::Tz, SqlError> {
    moment::zone(name).ok_or_else(|| {
        SqlError::new(SqlState::InvalidParameter, format!("time zone \"{name}\" not recognized"))
    })
}

fn returns_zone(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(1) {
        DataType::Timestamp(_, Some(_)) => returns(timestamp()),
        _ => returns(timestamptz()),
    }
}

/// `AT TIME ZONE`: the zone's clocks at a moment, or the moment at which they show a time.
fn timezone(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let to_local = matches!(call.arg(1)?.data_type(), DataType::Timestamp(_, Some(_)));
    let times = micros(call, 1)?;
    let by_offset = matches!(call.arg(0)?.data_type(), DataType::Interval(_));
    let names = if by_offset { None } else { Some(call.texts(0)?) };
    let offsets = if by_offset { Some(spans(call, 0)?) } else { None };
    whole::<TimestampMicrosecondType>(call, call.returns.data_type().clone(), |row| {
        if times.is_null(row) {
            return Ok(None);
        }
        let us = times.value(row);
        if matches!(us, i64::MAX | i64::MIN) {
            return Ok(Some(us));
        }
        if let Some(offsets) = &offsets {
            let by = offsets.value(row).nanoseconds / 1_000;
            return Ok(Some(if to_local { us + by } else { us - by }));
        }
        let Some(names) = names.as_ref().filter(|names| names.is_valid(row)) else {
            return Ok(None);
        };
        let zone = zone_named(names.value(row))?;
        if to_local {
            return Ok(Some(encode::local_us(us, &zone)));
        }
        moment::to_utc_us(us, &zone).map(Some).ok_or_else(|| out_of_range("timestamp"))
    })
}

fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if year < 0 { year + 1 } else { year };
    moment::days_of(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

fn field_out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeOutOfRange, format!("{what} field value out of range"))
}

fn make_date(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

fn clock_of(hours: i64, minutes: i64, seconds: f64) -> Option<i64> {
    let fits =
        (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0.0..=60.0).contains(&seconds);
    let us = (hours * 60 + minutes) * 60 * SECOND_US + (seconds * 1e6).round() as i64;
    (fits && us <= DAY_US).then_some(us)
}

fn make_time(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

fn made(call: &Call<'_>, row: usize) -> Result<Option<i64>, SqlError> {
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

fn make_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    whole::<TimestampMicrosecondType>(call, timestamp(), |row| made(call, row))
}

fn make_timestamptz(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

fn make_interval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

fn isfinite(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let array = call.arg(0)?;
    let finite: datafusion::arrow::array::BooleanArray = match array.data_type() {
        DataType::Date32 => array
            .as_primitive::<Date32Type>()
            .iter()
            .map(|days| days.map(|days| days != i32::MAX && days != i32::MIN))
            .collect(),
        DataType::Timestamp(..) => micros(call, 0)?
            .iter()
            .map(|us| us.map(|us| us != i64::MAX && us != i64::MIN))
            .collect(),
        DataType::Interval(_) => {
            (0..array.len()).map(|row| array.is_valid(row).then_some(true)).collect()
        }
        _ => return Err(no_function("isfinite", call.fields)),
    };
    Ok(Arc::new(finite))
}

fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

fn now(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    whole::<TimestampMicrosecondType>(call, timestamptz(), |_| Ok(Some(now_us())))
}

fn localtimestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let local = encode::local_us(now_us(), &call.moment().zone);
    whole::<TimestampMicrosecondType>(call, timestamp(), |_| Ok(Some(local)))
}

fn localtime(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let local = encode::local_us(now_us(), &call.moment().zone).rem_euclid(DAY_US);
    whole::<Time64MicrosecondType>(call, DataType::Time64(TimeUnit::Microsecond), |_| {
        Ok(Some(local))
    })
}

/// A column of times as another type, for what prints them.
pub(super) fn as_local(
    call: &Call<'_>,
    index: usize,
) -> Result<PrimitiveArray<TimestampMicrosecondType>, SqlError> {
    let array = cast_array(call.arg(index)?, &Field::new("", timestamp(), true), &call.moment())?;
    Ok(array.as_primitive::<TimestampMicrosecondType>().clone())
}
