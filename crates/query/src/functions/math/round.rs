//! round and trunc.

use super::*;

pub(super) fn digits_after(asked: &Asked<'_>) -> Option<i64> {
    asked.constant(1).and_then(|value| value.cast_to(&DataType::Int64).ok()).and_then(|value| {
        match value {
            ScalarValue::Int64(value) => value,
            _ => None,
        }
    })
}

pub(super) fn returns_rounded(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let two = asked.fields.len() > 1;
    match asked.kind(0) {
        DataType::Float16 | DataType::Float32 | DataType::Float64 if !two => {
            returns(DataType::Float64)
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 if !two => {
            returns(DataType::Float64)
        }
        kind if kind.is_integer() => returns(DataType::Decimal128(38, 0)),
        DataType::Decimal128(precision, scale) => {
            let kept = if two {
                digits_after(asked).unwrap_or((*scale).into()).clamp(0, 38) as i8
            } else {
                0
            };
            returns(DataType::Decimal128(
                (*precision as i8 - scale + kept + 1).clamp(1, 38) as u8,
                kept,
            ))
        }
        DataType::Decimal256(_, scale) => {
            let kept = if two {
                digits_after(asked).unwrap_or((*scale).into()).clamp(0, 70) as i8
            } else {
                0
            };
            returns(DataType::Decimal256(76, kept))
        }
        _ if two => {
            let kept = digits_after(asked).unwrap_or(10).clamp(0, 30) as i8;
            returns(DataType::Decimal128(38, kept))
        }
        _ => returns(DataType::Float64),
    }
}

/// Doubles to the even number, decimals away from zero.
pub(super) fn round(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if call.returns.data_type() == &DataType::Float64 {
        return double(call, |x| Ok(x.round_ties_even()));
    }
    rounded(call, true)
}

pub(super) fn trunc(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if call.returns.data_type() == &DataType::Float64 {
        return double(call, |x| Ok(x.trunc()));
    }
    rounded(call, false)
}

pub(super) fn power_of_ten(exponent: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(exponent)
}

/// A decimal with so many digits after the point, or before it where they are negative.
pub(super) fn rounded(call: &Call<'_>, half_up: bool) -> Result<ArrayRef, SqlError> {
    let (DataType::Decimal128(_, to) | DataType::Decimal256(_, to)) = *call.returns.data_type()
    else {
        return Err(no_function("round", call.fields));
    };
    let (values, from) = wide(call, 0)?;
    let digits = if call.has(1) { Some(call.integers(1)?) } else { None };
    let mut out = Decimal256Builder::with_capacity(values.len());
    for row in 0..values.len() {
        let digits = digits.as_ref().map(|digits| digits.is_valid(row).then(|| digits.value(row)));
        let (Some(digits), true) = (digits.unwrap_or(Some(0)), values.is_valid(row)) else {
            out.append_null();
            continue;
        };
        let value = values.value(row);
        let drop = i64::from(from) - digits;
        let kept = if drop <= 0 {
            value
        } else {
            match u32::try_from(drop).ok().and_then(power_of_ten) {
                Some(unit) => {
                    let rest = value % unit;
                    let whole = value - rest;
                    let twice =
                        rest.wrapping_abs().checked_mul(i256::from_i128(2)).unwrap_or(i256::MAX);
                    match half_up && twice >= unit {
                        true if value < i256::ZERO => whole - unit,
                        true => whole + unit,
                        false => whole,
                    }
                }
                None => i256::ZERO,
            }
        };
        out.append_value(rescaled(kept, from, to)?);
    }
    let out: ArrayRef = Arc::new(out.with_precision_and_scale(76, to)?.finish());
    narrowed(&out, call.returns)
}
