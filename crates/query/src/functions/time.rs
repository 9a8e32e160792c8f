//! Dates, times and intervals.

mod trunc;

mod make;

mod extract;
mod intervals;

use super::{Asked, Call, Function, no_function, returns};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect::cast_array;
use crate::values::encode;
use crate::values::moment::{self, DAY_US, SECOND_US};
use chrono::{Datelike, Months, NaiveDateTime};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, PrimitiveArray,
};
use datafusion::arrow::datatypes::*;
use extract::{date_part, extract, returns_extract};
use intervals::{age, divided, interval_order, intervals, justify_days, justify_hours, scaled};
use make::{make_date, make_interval, make_time, make_timestamp, make_timestamptz};
use std::sync::Arc;
use trunc::{date_bin, date_trunc, returns_bin, returns_trunc};

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
    [operators(), reading(), making(), current()].into_iter().flatten().collect()
}

/// What stands for operators.
fn operators() -> Vec<Function> {
    vec![
        Function::new("date_plus_days", |_| returns(DataType::Date32), date_plus_days),
        Function::new("date_minus_date", |_| returns(DataType::Int32), date_minus_date),
        Function::new(
            "timestamp_minus_timestamp",
            |_| returns(interval()),
            timestamp_minus_timestamp,
        ),
        Function::new(
            "timestamp_plus_interval",
            |_| returns(DataType::Timestamp(TimeUnit::Microsecond, None)),
            timestamp_plus_interval,
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
    ]
}

/// Parts of times, and times cut short.
fn reading() -> Vec<Function> {
    vec![
        Function::new("extract", returns_extract, extract),
        Function::new("date_part", |_| returns(DataType::Float64), date_part).alias("datepart"),
        Function::new("date_trunc", returns_trunc, date_trunc),
        Function::new("date_bin", returns_bin, date_bin),
        Function::new("age", |_| returns(interval()), age).stable(),
        Function::new("timezone", returns_zone, timezone),
    ]
}

/// Times and intervals made of others.
fn making() -> Vec<Function> {
    vec![
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
    ]
}

/// What time it is.
fn current() -> Vec<Function> {
    vec![
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

fn timestamp_plus_interval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    plus_interval(call, DataType::Timestamp(TimeUnit::Microsecond, None), &moment::utc())
}

fn timestamptz_plus_interval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    plus_interval(call, timestamptz(), &call.moment().zone)
}

/// Months and days by the calendar of a zone, the rest by the clock.
fn plus_interval(
    call: &Call<'_>,
    kind: DataType,
    zone: &datafusion::arrow::array::timezone::Tz,
) -> Result<ArrayRef, SqlError> {
    let (times, spans) = (micros(call, 0)?, spans(call, 1)?);
    whole::<TimestampMicrosecondType>(call, kind, |row| {
        if times.is_null(row) || spans.is_null(row) {
            return Ok(None);
        }
        let (us, span) = (times.value(row), spans.value(row));
        if matches!(us, i64::MAX | i64::MIN) {
            return Ok(Some(us));
        }
        let mut us = us;
        if span.months != 0 || span.days != 0 {
            let local = moment::naive(encode::local_us(us, zone))
                .and_then(|time| plus_months(time, span.months));
            let local = local.and_then(|time| {
                time.and_utc()
                    .timestamp_micros()
                    .checked_add(i64::from(span.days).checked_mul(DAY_US)?)
            });
            us = local
                .and_then(|local| moment::to_utc_us(local, zone))
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
