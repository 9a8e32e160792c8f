//! Numbers.

mod division;
mod powers;
mod round;

use super::{Asked, Call, Function, no_function, returns, returns_double, returns_first};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect::cast_array;
use crate::values::pg_type;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal256Array, Decimal256Builder, Float64Array,
};
use datafusion::arrow::datatypes::*;
use datafusion::common::ScalarValue;
use division::{
    div, divide, factorial, gcd, lcm, modulo, pairs, returns_modulo, returns_product,
    returns_quotient, scale_of, times,
};
use powers::{exp, log, logarithm, narrowed, power, rescaled, returns_power, sqrt, wide};
use round::{power_of_ten, returns_rounded, round, trunc};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("power", returns_power, power).alias("pow"),
        Function::new("sqrt", returns_double, |call| double(call, sqrt)),
        Function::new("cbrt", returns_double, |call| double(call, |x| Ok(x.cbrt()))),
        Function::new("exp", returns_double, |call| double(call, exp)),
        Function::new("ln", returns_double, |call| double(call, |x| logarithm(x).map(f64::ln))),
        Function::new("log10", returns_double, |call| {
            double(call, |x| logarithm(x).map(f64::log10))
        }),
        Function::new("log", returns_double, log),
        Function::new("round", returns_rounded, round),
        Function::new("trunc", returns_rounded, trunc),
        Function::new("ceil", returns_whole, |call| whole(call, true)).alias("ceiling"),
        Function::new("floor", returns_whole, |call| whole(call, false)),
        Function::new("abs", returns_magnitude, abs),
        Function::new("sign", returns_sign, sign),
        Function::new("mod", returns_modulo, modulo),
        Function::new("div", |_| returns(DataType::Decimal128(38, 0)), div),
        Function::new("factorial", |_| returns(DataType::Decimal256(76, 0)), factorial),
        Function::new(
            "gcd",
            |_| returns(DataType::Int64),
            |call| pairs(call, |a, b| Some(gcd(a, b))),
        ),
        Function::new("lcm", |_| returns(DataType::Int64), |call| pairs(call, lcm)),
        Function::new("numeric_divide", returns_quotient, divide),
        Function::new("numeric_times", returns_product, times),
        Function::new("same_zero", returns_first, same_zero),
        Function::new("width_bucket", |_| returns(DataType::Int32), width_bucket),
        Function::new("scale", |_| returns(DataType::Int32), scale),
        Function::new("min_scale", |_| returns(DataType::Int32), min_scale),
        Function::new("bitwise_not", returns_first, bitwise_not),
        Function::new("degrees", returns_double, |call| double(call, |x| Ok(x.to_degrees()))),
        Function::new("radians", returns_double, |call| double(call, |x| Ok(x.to_radians()))),
        Function::new("sind", returns_double, |call| {
            double(call, |x| Ok(exact(x.to_radians().sin())))
        }),
        Function::new("cosd", returns_double, |call| {
            double(call, |x| Ok(exact(x.to_radians().cos())))
        }),
        Function::new("tand", returns_double, |call| {
            double(call, |x| Ok(exact(x.to_radians().tan())))
        }),
        Function::new("asin", returns_double, |call| double(call, |x| within(x).map(f64::asin))),
        Function::new("acos", returns_double, |call| double(call, |x| within(x).map(f64::acos))),
        Function::new("to_hex", super::returns_text, to_hex),
    ]
}

fn out_of_range(kind: &str) -> SqlError {
    SqlError::new(SqlState::NumericOutOfRange, format!("{kind} out of range"))
}

fn double(
    call: &Call<'_>,
    each: impl Fn(f64) -> Result<f64, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let values = call.doubles(0)?;
    let out: Float64Array = values.try_unary(each)?;
    Ok(Arc::new(out))
}

/// The nearest short number: degrees have exact sines.
fn exact(value: f64) -> f64 {
    let rounded = (value * 1e15).round() / 1e15;
    if (rounded - value).abs() < 1e-15 { rounded } else { value }
}

fn within(value: f64) -> Result<f64, SqlError> {
    if value.is_nan() || (-1.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(SqlError::new(SqlState::NumericOutOfRange, "input is out of range"))
    }
}

fn returns_whole(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(0) {
        DataType::Decimal128(precision, scale) => {
            returns(DataType::Decimal128((*precision as i8 - scale + 1).clamp(1, 38) as u8, 0))
        }
        DataType::Decimal256(..) => returns(DataType::Decimal256(76, 0)),
        _ if is_written_number(asked) => returns(DataType::Decimal256(76, 0)),
        _ => returns(DataType::Float64),
    }
}

/// Whether the first argument is a number that is kept as it was written.
fn is_written_number(asked: &Asked<'_>) -> bool {
    asked.fields.first().is_some_and(|field| pg_type::is_written_number(field))
}

fn returns_magnitude(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match is_written_number(asked) {
        true => returns_product(asked),
        false => returns_first(asked),
    }
}

fn whole(call: &Call<'_>, up: bool) -> Result<ArrayRef, SqlError> {
    if call.returns.data_type() == &DataType::Float64 {
        return double(call, |x| Ok(if up { x.ceil() } else { x.floor() }));
    }
    let (values, scale) = wide(call, 0)?;
    let unit = power_of_ten(scale.max(0) as u32).ok_or_else(|| out_of_range("numeric"))?;
    let out: Decimal256Array = values.unary(|value| {
        let rest = value % unit;
        let whole = value / unit;
        match (up, rest) {
            (true, rest) if rest > i256::ZERO => whole + i256::ONE,
            (false, rest) if rest < i256::ZERO => whole - i256::ONE,
            _ => whole,
        }
    });
    let out: ArrayRef = Arc::new(out.with_precision_and_scale(76, 0)?);
    narrowed(&out, call.returns)
}

fn abs(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    macro_rules! checked {
        ($kind:ty, $name:literal) => {{
            let values = call.arg(0)?.as_primitive::<$kind>();
            let out = values.try_unary::<_, $kind, SqlError>(|value| {
                value.checked_abs().ok_or_else(|| out_of_range($name))
            })?;
            Ok(Arc::new(out.with_data_type(call.arg(0)?.data_type().clone())))
        }};
    }
    match call.arg(0)?.data_type() {
        DataType::Int16 => checked!(Int16Type, "smallint"),
        DataType::Int32 => checked!(Int32Type, "integer"),
        DataType::Int64 => checked!(Int64Type, "bigint"),
        DataType::Decimal128(..) => checked!(Decimal128Type, "numeric"),
        DataType::Decimal256(..) => {
            let out: Decimal256Array =
                call.arg(0)?.as_primitive::<Decimal256Type>().unary(i256::wrapping_abs);
            Ok(Arc::new(out.with_data_type(call.arg(0)?.data_type().clone())))
        }
        DataType::Float32 => {
            let out = call.arg(0)?.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::abs);
            Ok(Arc::new(out))
        }
        DataType::Float64 => double(call, |x| Ok(x.abs())),
        DataType::Null => Ok(call.arg(0)?.clone()),
        kind if kind.is_string() && call.returns.data_type().is_decimal() => {
            let (values, scale) = wide(call, 0)?;
            let out: Decimal256Array = values.unary(i256::wrapping_abs);
            Ok(Arc::new(out.with_precision_and_scale(76, scale)?))
        }
        kind if kind.is_string() => {
            let out = double(call, |x| Ok(x.abs()))?;
            cast_array(&out, call.returns, &call.moment())
        }
        _ => Err(no_function("abs", call.fields)),
    }
}

fn returns_sign(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(0) {
        kind if kind.is_decimal() => returns(DataType::Decimal128(1, 0)),
        _ => returns(DataType::Float64),
    }
}

fn sign(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let out = double(call, |x| Ok(if x == 0.0 || x.is_nan() { x } else { x.signum() }))?;
    narrowed(&out, call.returns)
}

/// Zero without its sign: the two zeros are one number.
fn same_zero(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    match call.arg(0)?.data_type() {
        DataType::Float32 => {
            let out = call
                .arg(0)?
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x + 0.0 });
            Ok(Arc::new(out))
        }
        DataType::Float64 => double(call, |x| Ok(if x.is_nan() { f64::NAN } else { x + 0.0 })),
        _ => Ok(call.arg(0)?.clone()),
    }
}

fn width_bucket(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, lows, highs, counts) =
        (call.doubles(0)?, call.doubles(1)?, call.doubles(2)?, call.integers(3)?);
    let wrong = |message: &str| SqlError::new(SqlState::InvalidWidthBucket, message);
    let each = |row: usize| -> Result<Option<i32>, SqlError> {
        if values.is_null(row) || lows.is_null(row) || highs.is_null(row) || counts.is_null(row) {
            return Ok(None);
        }
        let (value, low, high, count) =
            (values.value(row), lows.value(row), highs.value(row), counts.value(row));
        if count <= 0 {
            return Err(wrong("count must be greater than zero"));
        }
        if low == high {
            return Err(wrong("lower bound cannot equal upper bound"));
        }
        if value.is_nan() || low.is_nan() || high.is_nan() {
            return Err(wrong("operand, lower bound, and upper bound cannot be NaN"));
        }
        let place = (value - low) / (high - low) * count as f64;
        Ok(Some(if place < 0.0 {
            0
        } else if place >= count as f64 {
            count as i32 + 1
        } else {
            place.floor() as i32 + 1
        }))
    };
    let out = (0..call.rows)
        .map(each)
        .collect::<Result<datafusion::arrow::array::Int32Array, SqlError>>()?;
    Ok(Arc::new(out))
}

fn scale(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let digits = i32::from(scale_of(call.arg(0)?.data_type()));
    let array = call.arg(0)?;
    let out: datafusion::arrow::array::Int32Array =
        (0..array.len()).map(|row| array.is_valid(row).then_some(digits)).collect();
    Ok(Arc::new(out))
}

/// The digits after the point that are needed.
fn min_scale(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (numbers, scale) = wide(call, 0)?;
    let needed = |value: i256| {
        let (mut value, mut scale) = (value, i32::from(scale));
        while scale > 0 && value % i256::from(10) == i256::ZERO {
            (value, scale) = (value / i256::from(10), scale - 1);
        }
        scale.max(0)
    };
    let out: datafusion::arrow::array::Int32Array =
        numbers.iter().map(|value| value.map(needed)).collect();
    Ok(Arc::new(out))
}

fn bitwise_not(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let out = call.integers(0)?.unary::<_, Int64Type>(|value| !value);
    let out: ArrayRef = Arc::new(out);
    narrowed(&out, call.returns)
}

fn to_hex(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let narrow = matches!(call.arg(0)?.data_type(), DataType::Int32 | DataType::Int16);
    let numbers = call.integers(0)?;
    // A whole number as it is written is 64 bits wide until its plan is settled.
    let short = |value: i64| narrow || i32::try_from(value).is_ok();
    let texts = numbers.iter().map(|number| {
        number.map(
            |value| if short(value) { format!("{:x}", value as i32) } else { format!("{value:x}") },
        )
    });
    Ok(Arc::new(texts.collect::<datafusion::arrow::array::StringViewArray>()))
}
