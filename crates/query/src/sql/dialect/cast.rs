//! Casts as Postgres does them: text by its readers and writers, halves rounded as it rounds them,
//! and what does not fit refused.

use crate::error::{SqlError, SqlState};
use crate::values::encode::{self, Style};
use crate::values::moment::{self, DAY_US, Moment};
use crate::values::parse;
use crate::values::pg_type;
use crate::values::types::{Column, ColumnType};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, PrimitiveArray, StringViewArray, StringViewBuilder,
    new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::*;
use datafusion::common::ScalarValue;
use std::sync::Arc;

fn out_of_range(kind: &DataType) -> SqlError {
    let name = pg_type::of_arrow(kind).element.sql;
    SqlError::new(SqlState::NumericOutOfRange, format!("{name} out of range"))
}

fn cannot(from: &DataType, to: &Field) -> SqlError {
    let from = pg_type::of_arrow(from).sql();
    let to = pg_type::of_field(to).sql();
    SqlError::new(SqlState::CannotCoerce, format!("cannot cast type {from} to {to}"))
}

/// A column as another type.
pub(crate) fn cast_array(
    array: &ArrayRef,
    to: &Field,
    moment: &Moment,
) -> Result<ArrayRef, SqlError> {
    let (from, kind) = (array.data_type(), to.data_type());
    if from.is_null() {
        return Ok(new_null_array(kind, array.len()));
    }
    if from.is_string() {
        return from_text(array, to, moment);
    }
    if kind.is_string() {
        return to_text(array, to, moment);
    }
    if from == kind && to.metadata().get(pg_type::TYPE_KEY).is_none() {
        return Ok(array.clone());
    }
    match (from, kind) {
        (DataType::Float16, _) => {
            let wide = cast(array, &DataType::Float32).map_err(arrow)?;
            cast_array(&wide, to, moment)
        }
        (DataType::Float32 | DataType::Float64, kind) if kind.is_integer() => {
            round_double(array, kind)
        }
        (DataType::Float32 | DataType::Float64, kind) if kind.is_decimal() => {
            through_text(array, to, moment)
        }
        (DataType::Float64, DataType::Float32) => to_real(array),
        (from, kind) if from.is_decimal() && kind.is_integer() => round_decimal(array, kind),
        (from, kind) if from.is_decimal() && kind.is_floating() => through_text(array, to, moment),
        (DataType::Date32, DataType::Timestamp(_, zone)) => from_date(array, zone.as_ref(), moment),
        (DataType::Timestamp(..), _) => from_timestamp(array, to, moment),
        (DataType::Time64(_), DataType::Interval(_)) => {
            let clocks = cast(array, &DataType::Time64(TimeUnit::Microsecond)).map_err(arrow)?;
            let clocks = clocks.as_primitive::<Time64MicrosecondType>();
            Ok(Arc::new(map::<_, IntervalMonthDayNanoType>(clocks, |us| {
                Ok(IntervalMonthDayNano::new(0, 0, us * 1_000))
            })?))
        }
        (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Time64(_)) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            Ok(Arc::new(map::<_, Time64MicrosecondType>(intervals, |value| {
                Ok((value.nanoseconds / 1_000).rem_euclid(DAY_US))
            })?))
        }
        (DataType::List(_), DataType::List(element)) => cast_lists(array, element, moment),
        _ => checked_cast(array, to),
    }
}

/// Texts by the reader of the type; of objects of the catalog their names are known, too.
fn from_text(array: &ArrayRef, to: &Field, moment: &Moment) -> Result<ArrayRef, SqlError> {
    let kind = to.data_type();
    let texts = cast(array, &DataType::Utf8View).map_err(arrow)?;
    let texts = texts.as_string_view();
    if kind.is_string() && to.metadata().is_empty() {
        return cast(array, kind).map_err(arrow);
    }
    if kind.is_string() {
        let checked =
            parse::array_of_texts(texts, &to.clone().with_data_type(DataType::Utf8View), moment)?;
        return cast(&checked, kind).map_err(arrow);
    }
    if let Some(numbers) = super::objects::numbers(texts, to)? {
        return Ok(numbers);
    }
    parse::array_of_texts(texts, to, moment)
}

/// Days as the times at which they begin.
fn from_date(
    array: &ArrayRef,
    zone: Option<&Arc<str>>,
    moment: &Moment,
) -> Result<ArrayRef, SqlError> {
    let us: PrimitiveArray<TimestampMicrosecondType> =
        map(array.as_primitive::<Date32Type>(), |days: i32| match days {
            i32::MAX => Ok(i64::MAX),
            i32::MIN => Ok(i64::MIN),
            days => at_zone(i64::from(days) * DAY_US, zone.is_some(), moment),
        })?;
    Ok(Arc::new(us.with_timezone_opt(zone.cloned())))
}

/// Lists of other elements.
fn cast_lists(array: &ArrayRef, element: &FieldRef, moment: &Moment) -> Result<ArrayRef, SqlError> {
    let lists = array.as_list::<i32>();
    let values = cast_array(lists.values(), element, moment)?;
    let list = ListArray::try_new(
        element.clone(),
        lists.offsets().clone(),
        values,
        lists.nulls().cloned(),
    );
    Ok(Arc::new(list.map_err(arrow)?))
}

/// Arrow's own cast, whose failures say which kind they are.
fn checked_cast(array: &ArrayRef, to: &Field) -> Result<ArrayRef, SqlError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let kind = to.data_type();
    if !datafusion::arrow::compute::can_cast_types(array.data_type(), kind) {
        return Err(cannot(array.data_type(), to));
    }
    cast_with_options(array, kind, &options).map_err(|error| match kind {
        kind if kind.is_decimal() => SqlError::new(
            SqlState::NumericOutOfRange,
            format!("numeric field overflow: it does not fit {}", pg_type::of_arrow(kind).sql()),
        ),
        kind if kind.is_numeric() => out_of_range(kind),
        _ => arrow(error),
    })
}

pub(super) fn arrow(error: datafusion::arrow::error::ArrowError) -> SqlError {
    SqlError::from(datafusion::common::DataFusionError::from(error))
}

/// Applies a function to each value.
pub(super) fn map<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    each: impl Fn(A::Native) -> Result<B::Native, SqlError>,
) -> Result<PrimitiveArray<B>, SqlError> {
    array.try_unary(each)
}

fn to_text(array: &ArrayRef, to: &Field, moment: &Moment) -> Result<ArrayRef, SqlError> {
    let style = Style { long_booleans: true, zone: moment.zone, formats: moment.formats };
    let texts = encode::texts_of(array, &style)?;
    let texts: ArrayRef = match to.metadata().get(pg_type::TYPE_KEY) {
        Some(_) => {
            parse::array_of_texts(&texts, &to.clone().with_data_type(DataType::Utf8View), moment)?
        }
        None => Arc::new(texts),
    };
    cast(&texts, to.data_type()).map_err(arrow)
}

/// By the digits that are printed: a double has 15 of them in a decimal.
fn through_text(array: &ArrayRef, to: &Field, moment: &Moment) -> Result<ArrayRef, SqlError> {
    if to.data_type().is_decimal() {
        let mut texts = StringViewBuilder::with_capacity(array.len());
        let wide = cast(array, &DataType::Float64).map_err(arrow)?;
        let digits = if array.data_type() == &DataType::Float32 { 5 } else { 14 };
        for value in wide.as_primitive::<Float64Type>() {
            match value {
                Some(value) if value.is_finite() => {
                    texts.append_value(format!("{value:.digits$e}"))
                }
                Some(value) => texts.append_value(format!("{value}")),
                None => texts.append_null(),
            }
        }
        return parse::array_of_texts(&texts.finish(), to, moment);
    }
    let texts: StringViewArray = encode::texts_of(array, &Style::wire("UTC"))?;
    parse::array_of_texts(&texts, to, moment)
}

/// Halves to the even number, as Postgres rounds doubles.
fn round_double(array: &ArrayRef, kind: &DataType) -> Result<ArrayRef, SqlError> {
    let wide = cast(array, &DataType::Float64).map_err(arrow)?;
    let whole: PrimitiveArray<Int64Type> = map(wide.as_primitive::<Float64Type>(), |value| {
        let rounded = value.round_ties_even();
        // The largest double below 2^63 is exact.
        if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
            return Err(out_of_range(kind));
        }
        Ok(rounded as i64)
    })?;
    let whole: ArrayRef = Arc::new(whole);
    checked_cast(&whole, &Field::new("", kind.clone(), true))
}

/// Halves away from zero, as Postgres rounds decimals.
fn round_decimal(array: &ArrayRef, kind: &DataType) -> Result<ArrayRef, SqlError> {
    let whole = Field::new("", DataType::Decimal256(76, 0), true);
    let whole = checked_cast(array, &whole)?;
    // Arrow's cast of wide decimals keeps the low bits of what does not fit.
    let narrow: PrimitiveArray<Int64Type> = map(whole.as_primitive::<Decimal256Type>(), |value| {
        let value = value.to_i128().and_then(|value| i64::try_from(value).ok());
        value.ok_or_else(|| out_of_range(kind))
    })?;
    let narrow: ArrayRef = Arc::new(narrow);
    checked_cast(&narrow, &Field::new("", kind.clone(), true)).map_err(|_| out_of_range(kind))
}

fn to_real(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(map::<_, Float32Type>(array.as_primitive::<Float64Type>(), |value| {
        let narrow = value as f32;
        if (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0) {
            return Err(out_of_range(&DataType::Float32));
        }
        Ok(narrow)
    })?))
}

/// A time on a spot's clocks as a moment, where a moment is wanted.
fn at_zone(local_us: i64, wanted: bool, moment: &Moment) -> Result<i64, SqlError> {
    if !wanted {
        return Ok(local_us);
    }
    moment::to_utc_us(local_us, &moment.zone)
        .ok_or_else(|| SqlError::new(SqlState::DatetimeOutOfRange, "timestamp out of range"))
}

fn is_special(us: i64) -> bool {
    us == i64::MAX || us == i64::MIN
}

fn from_timestamp(array: &ArrayRef, to: &Field, moment: &Moment) -> Result<ArrayRef, SqlError> {
    let has_zone = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    let us = microseconds(array)?;
    let us = us.as_primitive::<TimestampMicrosecondType>();
    let local =
        |us: i64| if has_zone && !is_special(us) { encode::local_us(us, &moment.zone) } else { us };
    match to.data_type() {
        DataType::Timestamp(unit, zone) => {
            let digits = pg_type::of_field(to).modifier;
            let moved: PrimitiveArray<TimestampMicrosecondType> = map(us, |us| {
                let moved = match (has_zone, zone.is_some()) {
                    _ if is_special(us) => us,
                    (true, false) => local(us),
                    (false, true) => at_zone(us, true, moment)?,
                    _ => us,
                };
                Ok(parse::to_digits(moved, digits))
            })?;
            let moved: ArrayRef = Arc::new(moved.with_timezone_opt(zone.clone()));
            if *unit == TimeUnit::Microsecond {
                return Ok(moved);
            }
            cast(&moved, to.data_type()).map_err(arrow)
        }
        DataType::Date32 => Ok(Arc::new(map::<_, Date32Type>(us, |us| {
            Ok(match us {
                i64::MAX => i32::MAX,
                i64::MIN => i32::MIN,
                us => local(us).div_euclid(DAY_US) as i32,
            })
        })?)),
        DataType::Time64(TimeUnit::Microsecond) => Ok(Arc::new(map::<_, Time64MicrosecondType>(
            us,
            |us| Ok(local(us).rem_euclid(DAY_US)),
        )?)),
        _ => checked_cast(array, to),
    }
}

/// Timestamps in microseconds, without a zone in their type.
fn microseconds(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, None) => Ok(array.clone()),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Ok(Arc::new(
            array
                .as_primitive::<TimestampMicrosecondType>()
                .clone()
                .with_timezone_opt::<Arc<str>>(None),
        )),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let ns = array.as_primitive::<TimestampNanosecondType>();
            let us: PrimitiveArray<TimestampMicrosecondType> = ns.unary(|ns| ns.div_euclid(1_000));
            Ok(Arc::new(us))
        }
        DataType::Timestamp(unit, Some(_)) => {
            let naive = cast(array, &DataType::Int64)
                .and_then(|raw| cast(&raw, &DataType::Timestamp(*unit, None)));
            naive.and_then(|naive| cast(&naive, &kind)).map_err(arrow)
        }
        _ => cast(array, &kind).map_err(arrow),
    }
}

/// A column's values as the table keeps them: a text that is too long is refused, not cut.
pub(crate) fn assign_array(array: &ArrayRef, column: &Column) -> Result<ArrayRef, SqlError> {
    let field = super::assignable(column);
    let array = if array.data_type() == field.data_type() {
        array.clone()
    } else {
        cast_array(array, &field, &Moment::default())?
    };
    let declared = match column.kind {
        ColumnType::Varchar(_) | ColumnType::Char(_) => column.kind.declared().unwrap_or_default(),
        _ => return Ok(array),
    };
    let mut texts = StringViewBuilder::with_capacity(array.len());
    for text in array.as_string_view() {
        texts.append_option(text.map(|text| parse::sized(text, &declared, false)).transpose()?);
    }
    Ok(Arc::new(texts.finish()))
}

/// A value as another type.
pub(crate) fn cast_scalar(
    value: &ScalarValue,
    to: &Field,
    moment: &Moment,
) -> Result<ScalarValue, SqlError> {
    let array = cast_array(&value.to_array()?, to, moment)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}
