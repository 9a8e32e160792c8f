//! Roots, powers and logarithms.

use super::*;

pub(super) fn sqrt(value: f64) -> Result<f64, SqlError> {
    if value < 0.0 {
        return Err(SqlError::new(
            SqlState::InvalidPower,
            "cannot take square root of a negative number",
        ));
    }
    Ok(value.sqrt())
}

pub(super) fn exp(value: f64) -> Result<f64, SqlError> {
    let result = value.exp();
    if result.is_infinite() && value.is_finite() {
        return Err(SqlError::new(SqlState::NumericOutOfRange, "value out of range: overflow"));
    }
    Ok(result)
}

pub(super) fn logarithm(value: f64) -> Result<f64, SqlError> {
    let what = match value {
        0.0 => "zero",
        value if value < 0.0 => "a negative number",
        value => return Ok(value),
    };
    Err(SqlError::new(SqlState::InvalidLogarithm, format!("cannot take logarithm of {what}")))
}

/// `log(x)` to base ten, `log(b, x)`.
pub(super) fn log(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

pub(super) fn returns_power(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Float64)
}

pub(super) fn power(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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
pub(super) fn rescaled(value: i256, from: i8, to: i8) -> Result<i256, SqlError> {
    let by = i32::from(to) - i32::from(from);
    let unit = power_of_ten(by.unsigned_abs()).ok_or_else(|| out_of_range("numeric"))?;
    if by >= 0 {
        value.checked_mul(unit).ok_or_else(|| out_of_range("numeric"))
    } else {
        Ok(value / unit)
    }
}

/// A decimal argument in 256 bits, and its digits after the point.
pub(super) fn wide(call: &Call<'_>, index: usize) -> Result<(Decimal256Array, i8), SqlError> {
    let array = call.arg(index)?;
    let scale = match array.data_type() {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        kind if kind.is_integer() => 0,
        _ => 30,
    };
    let to = Field::new("", DataType::Decimal256(76, scale), true);
    let wide = cast_array(array, &to, &call.moment())?;
    Ok((wide.as_primitive::<Decimal256Type>().clone(), scale))
}

pub(super) fn narrowed(array: &ArrayRef, to: &Field) -> Result<ArrayRef, SqlError> {
    cast_array(array, to, &Default::default())
}
