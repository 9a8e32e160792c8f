//! Division, remainders, and related functions.

use super::*;

pub(super) fn scale_of(kind: &DataType) -> i8 {
    match kind {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

/// Two decimals of one scale, row by row, none of them divided by zero; the results have a scale of
/// their own.
pub(super) fn divided(
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

pub(super) fn modulo(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    divided(call, |a, b| a % b, |scale| scale)
}

pub(super) fn div(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    divided(call, |a, b| a / b, |_| 0)
}

pub(super) fn returns_modulo(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
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

pub(super) fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a as i64
}

pub(super) fn lcm(a: i64, b: i64) -> Option<i64> {
    if a == 0 || b == 0 { Some(0) } else { (a / gcd(a, b)).checked_mul(b).map(i64::abs) }
}

pub(super) fn pairs(
    call: &Call<'_>,
    each: impl Fn(i64, i64) -> Option<i64>,
) -> Result<ArrayRef, SqlError> {
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
pub(super) fn weight(value: &ScalarValue) -> Option<(i32, i64)> {
    let text = match value {
        ScalarValue::Decimal128(Some(value), _, scale) => {
            crate::values::encode::decimal_text(&value.to_string(), *scale)
        }
        ScalarValue::Decimal256(Some(value), _, scale) => {
            crate::values::encode::decimal_text(&value.to_string(), *scale)
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

/// Digits after the point of a quotient, as Postgres chooses them; of columns whose values are not
/// known, sixteen.
pub(super) fn returns_quotient(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
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
    // Of numbers of any digits the quotient has twenty.
    let least = if least >= COMPUTED_DIGITS as i8 { 20 } else { least };
    let scale = chosen.max(least);
    let digits = |kind: &DataType| match kind {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            *precision as i8 - scale
        }
        DataType::Int64 => 19,
        DataType::Int16 => 5,
        // A number as it was written.
        kind if kind.is_string() => 46,
        _ => 10,
    };
    // A quotient has at most so many digits before its point.
    let before = digits(asked.kind(0)).saturating_add(scale_of(asked.kind(1)));
    if i32::from(before) + i32::from(scale) <= 38 {
        return returns(DataType::Decimal128(38, scale));
    }
    returns(DataType::Decimal256(76, scale))
}

pub(super) fn divide(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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
        let unit = power_of_ten(by.unsigned_abs()).ok_or_else(|| out_of_range("numeric"))?;
        let scaled = |value: i256| value.checked_mul(unit).ok_or_else(|| out_of_range("numeric"));
        let (dividend, divisor) = match by >= 0 {
            true => (scaled(a.0.value(row))?, divisor),
            false => (a.0.value(row), scaled(divisor)?),
        };
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

pub(super) fn factorial(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
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

/// Ten to the power of the digits that computed numbers have after their point.
fn unit() -> i256 {
    i256::from_i128(10i128.pow(COMPUTED_DIGITS))
}

/// Digits after the point of numbers of any digits, while they are computed with.
const COMPUTED_DIGITS: u32 = 30;

pub(super) fn returns_product(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Decimal256(76, COMPUTED_DIGITS as i8))
}

/// The product of two numbers of any digits: exact, but for what is beyond the thirtieth digit
/// after the point, which is rounded.
pub(super) fn times(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (a, b) = (wide(call, 0)?, wide(call, 1)?);
    let scale = COMPUTED_DIGITS as i8;
    let pair = |row: usize| -> Result<Option<i256>, SqlError> {
        if a.0.is_null(row) || b.0.is_null(row) {
            return Ok(None);
        }
        let factors =
            (rescaled(a.0.value(row), a.1, scale)?, rescaled(b.0.value(row), b.1, scale)?);
        product(factors.0, factors.1).map(Some).ok_or_else(|| out_of_range("numeric"))
    };
    let out = (0..call.rows).map(pair).collect::<Result<Decimal256Array, SqlError>>()?;
    Ok(Arc::new(out.with_precision_and_scale(76, scale)?))
}

/// Each factor as a whole part and a fraction: of their four products only that of the fractions
/// has digits that are rounded.
fn product(a: i256, b: i256) -> Option<i256> {
    let unit = unit();
    let (a1, a0) = (a.checked_div(unit)?, a.checked_rem(unit)?);
    let (b1, b0) = (b.checked_div(unit)?, b.checked_rem(unit)?);
    let fractions = a0.checked_mul(b0)?;
    let half = unit.checked_div(i256::from_i128(2))?;
    let half = if fractions < i256::ZERO { half.checked_neg()? } else { half };
    let whole = a1.checked_mul(b1)?.checked_mul(unit)?;
    let crossed = a1.checked_mul(b0)?.checked_add(a0.checked_mul(b1)?)?;
    whole.checked_add(crossed)?.checked_add(fractions.checked_add(half)?.checked_div(unit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_to_the_thirtieth_digit() {
        let number = |text: &str| -> i256 {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            format!("{whole}{fraction:0<30}").parse().expect("a number")
        };
        for (a, b, wanted) in [
            ("1.5", "-2.25", "-3.375"),
            (
                "123456789012345678.5",
                "987654321098765432.25",
                "121932631137021794847203170023472031.625",
            ),
            ("0.000000000000001", "0.000000000000001", "0.000000000000000000000000000001"),
            ("0.000000000000001", "0.0000000000000005", "0.000000000000000000000000000001"),
            ("0.000000000000001", "-0.0000000000000004", "0"),
        ] {
            assert_eq!(product(number(a), number(b)), Some(number(wanted)), "{a} * {b}");
        }
        let large = number("1000000000000000000000000000000");
        assert_eq!(product(large, large), None, "it has too many digits");
    }
}
