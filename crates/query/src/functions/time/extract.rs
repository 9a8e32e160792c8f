//! Parts of dates, times and intervals: extract and date_part.

use super::*;
use datafusion::arrow::array::StringViewArray;

/// What EXTRACT finds: microseconds of a second, millionths of everything else.
pub(super) fn part_of(
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

pub(super) fn part_of_interval(field: &str, value: IntervalMonthDayNano) -> Result<i128, SqlError> {
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

/// The parts that a time of day has.
const CLOCK_PARTS: [&str; 11] = [
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
];

/// The parts that a call names, of all rows.
pub(super) fn parts(call: &Call<'_>) -> Result<Vec<Option<i128>>, SqlError> {
    let fields = call.texts(0)?;
    match call.arg(1)?.data_type() {
        DataType::Interval(_) | DataType::Duration(_) => parts_of_spans(call, &fields),
        DataType::Time64(_) | DataType::Time32(_) => parts_of_clocks(call, &fields),
        kind => {
            let has_zone = matches!(kind, DataType::Timestamp(_, Some(_)));
            parts_of_times(call, &fields, has_zone)
        }
    }
}

fn parts_of_spans(
    call: &Call<'_>,
    fields: &StringViewArray,
) -> Result<Vec<Option<i128>>, SqlError> {
    let spans = spans(call, 1)?;
    let each = |row: usize| match spans.is_valid(row) && fields.is_valid(row) {
        true => part_of_interval(&fields.value(row).to_lowercase(), spans.value(row)).map(Some),
        false => Ok(None),
    };
    (0..call.rows).map(each).collect()
}

fn parts_of_clocks(
    call: &Call<'_>,
    fields: &StringViewArray,
) -> Result<Vec<Option<i128>>, SqlError> {
    let clocks = clocks(call, 1)?;
    let each = |row: usize| {
        if clocks.is_null(row) || fields.is_null(row) {
            return Ok(None);
        }
        let field = fields.value(row).to_lowercase();
        if !CLOCK_PARTS.contains(&field.as_str()) {
            let message = format!("unit \"{field}\" not supported for type time without time zone");
            return Err(SqlError::unsupported(message));
        }
        part_of(&field, clocks.value(row), None, 0).map(Some)
    };
    (0..call.rows).map(each).collect()
}

fn parts_of_times(
    call: &Call<'_>,
    fields: &StringViewArray,
    has_zone: bool,
) -> Result<Vec<Option<i128>>, SqlError> {
    let zone = call.moment().zone;
    let times = micros(call, 1)?;
    let each = |row: usize| {
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
    };
    (0..call.rows).map(each).collect()
}

/// As many digits as the field has: whole numbers have none.
pub(super) fn returns_extract(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
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

pub(super) fn extract(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let DataType::Decimal128(_, scale) = call.returns.data_type() else {
        return Err(no_function("extract", call.fields));
    };
    let unit = 10i128.pow(6 - scale.unsigned_abs() as u32);
    let parts = parts(call)?.into_iter().map(|part| part.map(|millionths| millionths / unit));
    let out: Decimal128Array = parts.collect();
    Ok(Arc::new(out.with_precision_and_scale(38, *scale)?))
}

pub(super) fn date_part(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let parts = parts(call)?.into_iter().map(|part| part.map(|millionths| millionths as f64 / 1e6));
    Ok(Arc::new(parts.collect::<Float64Array>()))
}
