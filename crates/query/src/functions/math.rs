//! Numbers.

mod round;

use super::{Asked, Call, Function, no_function, returns, returns_double, returns_first};
use crate::dialect::cast_array;
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal256Array, Decimal256Builder, Float64Array,
};
use datafusion::arrow::datatypes::*;
use datafusion::common::ScalarValue;
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
        Function::new("abs", returns_first, abs),
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

fn sqrt(value: f64) -> Result<f64, SqlError> {
    if value < 0.0 {
        return Err(SqlError::new(
            SqlState::InvalidPower,
            "cannot take square root of a negative number",
        ));
    }
    Ok(value.sqrt())
}

fn exp(value: f64) -> Result<f64, SqlError> {
    let result = value.exp();
    if result.is_infinite() && value.is_finite() {
        return Err(SqlError::new(SqlState::NumericOutOfRange, "value out of range: overflow"));
    }
    Ok(result)
}

fn logarithm(value: f64) -> Result<f64, SqlError> {
    let what = match value {
        0.0 => "zero",
        value if value < 0.0 => "a negative number",
        value => return Ok(value),
    };
    Err(SqlError::new(SqlState::InvalidLogarithm, format!("cannot take logarithm of {what}")))
}

/// `log(x)` to base ten, `log(b, x)`.
fn log(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if !call.has(1) {
        return double(call, |x| logarithm(x).map(f64::log10));
    }
    let (bases, values) = (call.doubles(0)?, call.doubles(1)?);
    let pair = |(base, value): (Option<f64>, Option<f64>)| match (base, value) {
        (Some(base), Some(value)) => {
            let (base, value) = (logarithm(base)?, logarithm(value)?);
            if base == 1.0 {
                return Err(SqlError::new(SqlState::DivisionByZero, "division by zero"));
            }
            Ok(Some(value.ln() / base.ln()))
        }
        _ => Ok(None),
    };
    let out =
        bases.iter().zip(values.iter()).map(pair).collect::<Result<Float64Array, SqlError>>()?;
    Ok(Arc::new(out))
}

fn returns_power(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Float64)
}

fn power(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (bases, exponents) = (call.doubles(0)?, call.doubles(1)?);
    let pair = |(base, exponent): (Option<f64>, Option<f64>)| {
        let (Some(base), Some(exponent)) = (base, exponent) else { return Ok(None) };
        if base == 0.0 && exponent < 0.0 {
            return Err(SqlError::new(
                SqlState::InvalidPower,
                "zero raised to a negative power is undefined",
            ));
        }
        if base < 0.0 && exponent.fract() != 0.0 && exponent.is_finite() {
            let message = "a negative number raised to a non-integer power yields a complex result";
            return Err(SqlError::new(SqlState::InvalidPower, message));
        }
        let value = base.powf(exponent);
        if value.is_infinite() && base.is_finite() && exponent.is_finite() {
            return Err(SqlError::new(SqlState::NumericOutOfRange, "value out of range: overflow"));
        }
        if value == 0.0 && base != 0.0 && base.is_finite() && exponent.is_finite() {
            return Err(SqlError::new(
                SqlState::NumericOutOfRange,
                "value out of range: underflow",
            ));
        }
        Ok(Some(value))
    };
    let out =
        bases.iter().zip(exponents.iter()).map(pair).collect::<Result<Float64Array, SqlError>>()?;
    Ok(Arc::new(out))
}

/// A decimal's digits with another number of them after the point; those that go are zeros.
fn rescaled(value: i256, from: i8, to: i8) -> Result<i256, SqlError> {
    let by = i32::from(to) - i32::from(from);
    let unit = power_of_ten(by.unsigned_abs()).ok_or_else(|| out_of_range("numeric"))?;
    if by >= 0 {
        value.checked_mul(unit).ok_or_else(|| out_of_range("numeric"))
    } else {
        Ok(value / unit)
    }
}

/// A decimal argument in 256 bits, and its digits after the point.
fn wide(call: &Call<'_>, index: usize) -> Result<(Decimal256Array, i8), SqlError> {
    let array = call.arg(index)?;
    let scale = match array.data_type() {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        kind if kind.is_integer() => 0,
        _ => 20,
    };
    let to = Field::new("", DataType::Decimal256(76, scale), true);
    let wide = cast_array(array, &to, &call.moment())?;
    Ok((wide.as_primitive::<Decimal256Type>().clone(), scale))
}

fn narrowed(array: &ArrayRef, to: &Field) -> Result<ArrayRef, SqlError> {
    cast_array(array, to, &Default::default())
}

fn returns_whole(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(0) {
        DataType::Decimal128(precision, scale) => {
            returns(DataType::Decimal128((*precision as i8 - scale + 1).clamp(1, 38) as u8, 0))
        }
        DataType::Decimal256(..) => returns(DataType::Decimal256(76, 0)),
        _ => returns(DataType::Float64),
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

fn returns_modulo(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let kind = match (asked.kind(0), asked.kind(1)) {
        (a, b) if a.is_decimal() || b.is_decimal() => {
            DataType::Decimal128(38, scale_of(a).max(scale_of(b)))
        }
        (DataType::Int64, _) | (_, DataType::Int64) => DataType::Int64,
        (DataType::Int16, DataType::Int16) => DataType::Int16,
        _ => DataType::Int32,
    };
    returns(kind)
}

fn scale_of(kind: &DataType) -> i8 {
    match kind {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

/// Two decimals of one scale, row by row, none of them divided by zero; the results have a scale of their own.
fn divided(
    call: &Call<'_>,
    each: impl Fn(i256, i256) -> i256,
    scale_of_result: impl Fn(i8) -> i8,
) -> Result<ArrayRef, SqlError> {
    let (a, b) = (wide(call, 0)?, wide(call, 1)?);
    let scale = a.1.max(b.1);
    let pair = |row: usize| -> Result<Option<i256>, SqlError> {
        if a.0.is_null(row) || b.0.is_null(row) {
            return Ok(None);
        }
        let divisor = rescaled(b.0.value(row), b.1, scale)?;
        if divisor == i256::ZERO {
            return Err(SqlError::new(SqlState::DivisionByZero, "division by zero"));
        }
        Ok(Some(each(rescaled(a.0.value(row), a.1, scale)?, divisor)))
    };
    let out = (0..call.rows).map(pair).collect::<Result<Decimal256Array, SqlError>>()?;
    let out: ArrayRef = Arc::new(out.with_precision_and_scale(76, scale_of_result(scale))?);
    narrowed(&out, call.returns)
}

fn modulo(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    divided(call, |a, b| a % b, |scale| scale)
}

fn div(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    divided(call, |a, b| a / b, |_| 0)
}

fn factorial(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let numbers = call.integers(0)?;
    let each = |number: Option<i64>| -> Result<Option<i256>, SqlError> {
        let Some(number) = number else { return Ok(None) };
        if number < 0 {
            let message = "factorial of a negative number is undefined";
            return Err(SqlError::new(SqlState::NumericOutOfRange, message));
        }
        let product = (2..=number.min(100)).try_fold(i256::ONE, |product, factor| {
            product.checked_mul(i256::from_i128(factor.into()))
        });
        product.filter(|_| number <= 56).map(Some).ok_or_else(|| {
            SqlError::new(SqlState::NumericOutOfRange, "value overflows numeric format")
        })
    };
    let out = numbers.iter().map(each).collect::<Result<Decimal256Array, SqlError>>()?;
    Ok(Arc::new(out.with_precision_and_scale(76, 0)?))
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a as i64
}

fn lcm(a: i64, b: i64) -> Option<i64> {
    if a == 0 || b == 0 { Some(0) } else { (a / gcd(a, b)).checked_mul(b).map(i64::abs) }
}

fn pairs(call: &Call<'_>, each: impl Fn(i64, i64) -> Option<i64>) -> Result<ArrayRef, SqlError> {
    let (a, b) = (call.integers(0)?, call.integers(1)?);
    let pair = |(a, b): (Option<i64>, Option<i64>)| match (a, b) {
        (Some(a), Some(b)) => each(a, b).map(Some).ok_or_else(|| out_of_range("bigint")),
        _ => Ok(None),
    };
    let out = a
        .iter()
        .zip(b.iter())
        .map(pair)
        .collect::<Result<datafusion::arrow::array::Int64Array, SqlError>>()?;
    Ok(Arc::new(out))
}

/// How many groups of four digits a number has before its point, less one, and its first group.
fn weight(value: &ScalarValue) -> Option<(i32, i64)> {
    let text = match value {
        ScalarValue::Decimal128(Some(value), _, scale) => {
            crate::encode::decimal_text(&value.to_string(), *scale)
        }
        ScalarValue::Decimal256(Some(value), _, scale) => {
            crate::encode::decimal_text(&value.to_string(), *scale)
        }
        other => other.to_string(),
    };
    let digits = text.trim_start_matches('-');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    if !whole.is_empty() {
        let groups = whole.len().div_ceil(4);
        let first = whole.len() - (groups - 1) * 4;
        return Some((groups as i32 - 1, whole.get(..first)?.parse().ok()?));
    }
    let padded = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let group =
        padded.as_bytes().chunks(4).position(|group| group.iter().any(|digit| *digit != b'0'))?;
    let first = padded.get(group * 4..group * 4 + 4)?.parse().ok()?;
    Some((-(group as i32) - 1, first))
}

/// Digits after the point of a quotient, as Postgres chooses them; of columns whose values are not known, sixteen.
fn returns_quotient(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let least = scale_of(asked.kind(0)).max(scale_of(asked.kind(1)));
    let chosen = match (asked.constant(0), asked.constant(1)) {
        (Some(a), Some(b)) => match (weight(a), weight(b)) {
            (Some((wa, fa)), Some((wb, fb))) => {
                let weight = wa - wb - i32::from(fa <= fb);
                (16 - weight * 4).clamp(0, 60) as i8
            }
            _ => 16,
        },
        _ => 16,
    };
    let scale = chosen.max(least);
    let digits = |kind: &DataType| match kind {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            *precision as i8 - scale
        }
        DataType::Int64 => 19,
        DataType::Int16 => 5,
        _ => 10,
    };
    // A quotient has at most so many digits before its point.
    let before = digits(asked.kind(0)).saturating_add(scale_of(asked.kind(1)));
    if i32::from(before) + i32::from(scale) <= 38 {
        return returns(DataType::Decimal128(38, scale));
    }
    returns(DataType::Decimal256(76, scale))
}

fn divide(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let to = scale_of(call.returns.data_type());
    let (a, b) = (wide(call, 0)?, wide(call, 1)?);
    let pair = |row: usize| -> Result<Option<i256>, SqlError> {
        if a.0.is_null(row) || b.0.is_null(row) {
            return Ok(None);
        }
        let divisor = b.0.value(row);
        if divisor == i256::ZERO {
            return Err(SqlError::new(SqlState::DivisionByZero, "division by zero"));
        }
        let by = i32::from(to) + i32::from(b.1) - i32::from(a.1);
        let unit = power_of_ten(by.max(0).unsigned_abs()).ok_or_else(|| out_of_range("numeric"))?;
        let dividend = a.0.value(row).checked_mul(unit).ok_or_else(|| out_of_range("numeric"))?;
        let (quotient, rest) = (dividend / divisor, dividend % divisor);
        let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2)).unwrap_or(i256::MAX);
        let negative = (dividend < i256::ZERO) != (divisor < i256::ZERO);
        let up = twice >= divisor.wrapping_abs();
        Ok(Some(match (up, negative) {
            (false, _) => quotient,
            (true, false) => quotient + i256::ONE,
            (true, true) => quotient - i256::ONE,
        }))
    };
    let out = (0..call.rows).map(pair).collect::<Result<Decimal256Array, SqlError>>()?;
    let out: ArrayRef = Arc::new(out.with_precision_and_scale(76, to)?);
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
