//! Intervals: scaled, divided, compared, put in order.

use super::*;

pub(super) fn intervals(
    call: &Call<'_>,
    each: impl Fn(IntervalMonthDayNano) -> IntervalMonthDayNano,
) -> Result<ArrayRef, SqlError> {
    let spans = spans(call, 0)?;
    let out: PrimitiveArray<IntervalMonthDayNanoType> = spans.unary(each);
    Ok(Arc::new(out))
}

/// What is a fraction of a month goes on as days of thirty, what is a fraction of a day as time.
pub(super) fn scaled(call: &Call<'_>, factor: impl Fn(f64) -> f64) -> Result<ArrayRef, SqlError> {
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

pub(super) fn divided(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let numbers = call.doubles(1)?;
    if numbers.iter().flatten().any(|number| number == 0.0) {
        return Err(SqlError::new(SqlState::DivisionByZero, "division by zero"));
    }
    scaled(call, |number| 1.0 / number)
}

pub(super) fn interval_us(value: IntervalMonthDayNano) -> i128 {
    (i128::from(value.months) * 30 + i128::from(value.days)) * i128::from(DAY_US)
        + i128::from(value.nanoseconds / 1_000)
}

/// A number by which intervals are ordered: a month is thirty days, a day 24 hours.
pub(super) fn interval_order(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let spans = spans(call, 0)?;
    let out: Decimal128Array = spans.iter().map(|value| value.map(interval_us)).collect();
    Ok(Arc::new(out.with_precision_and_scale(38, 0)?))
}

pub(super) fn justify_hours(value: IntervalMonthDayNano) -> IntervalMonthDayNano {
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

pub(super) fn justify_days(value: IntervalMonthDayNano) -> IntervalMonthDayNano {
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

/// Years, months and days by the calendar.
pub(super) fn difference(later: i64, earlier: i64) -> Option<IntervalMonthDayNano> {
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

pub(super) fn age(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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
