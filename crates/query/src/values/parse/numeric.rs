//! Numbers with digits after the point, from their texts.

use super::*;

/// A decimal's digits without its point, and how many are after it; `None` where the text is no
/// number.
pub(crate) fn decimal_digits(text: &str) -> Option<(bool, String, i64)> {
    let trimmed = text.trim();
    let (negative, rest) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let scale = fraction.len() as i64 - i64::from(exponent);
    Some((negative, format!("{whole}{fraction}"), scale))
}

/// The digits of a decimal rounded to so many after the point, halves away from zero, without
/// leading zeros.
pub(super) fn rounded(digits: &str, scale: i64, wanted: i64) -> Option<String> {
    let drop = scale - wanted;
    let mut kept = digits.trim_start_matches('0').to_owned();
    if drop <= 0 {
        // More digits than any type has: no need to write them out.
        if !kept.is_empty() && kept.len() as i64 - drop > 1_100 {
            return None;
        }
        kept.extend(std::iter::repeat_n('0', if kept.is_empty() { 0 } else { -drop as usize }));
        return Some(kept);
    }
    let drop = usize::try_from(drop).ok()?;
    let first = match kept.len().checked_sub(drop) {
        Some(at) => kept.as_bytes().get(at).copied(),
        None => return Some(String::new()),
    };
    kept.truncate(kept.len() - drop);
    if first.is_some_and(|digit| digit >= b'5') {
        let mut bytes = kept.into_bytes();
        let nines = bytes.iter().rev().take_while(|&&digit| digit == b'9').count();
        let at = bytes.len() - nines;
        bytes.iter_mut().skip(at).for_each(|digit| *digit = b'0');
        match at.checked_sub(1).and_then(|at| bytes.get_mut(at)) {
            Some(digit) => *digit += 1,
            None => bytes.insert(0, b'1'),
        }
        kept = String::from_utf8(bytes).ok()?;
    }
    Some(kept)
}

/// A decimal as a scalar of a decimal type.
pub(crate) fn decimal_scalar(text: &str, kind: &DataType) -> Result<ScalarValue, SqlError> {
    let (precision, scale) = match kind {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => (*p, *s),
        _ => return Err(invalid("numeric", text)),
    };
    let (negative, digits, given) =
        decimal_digits(text).ok_or_else(|| match text.trim().to_ascii_lowercase().as_str() {
            "nan" | "inf" | "infinity" | "-inf" | "-infinity" => SqlError::unsupported(format!(
                "numeric {} is not supported; double precision has it",
                text.trim()
            )),
            _ => invalid("numeric", text),
        })?;
    let overflow = || numeric_overflow(text, (i64::from(precision), i64::from(scale)));
    let digits = rounded(&digits, given, scale.into()).ok_or_else(overflow)?;
    let digits = digits.trim_start_matches('0');
    if digits.len() > usize::from(precision) {
        return Err(overflow());
    }
    let signed = match (negative, digits) {
        (_, "") => "0".to_owned(),
        (true, digits) => format!("-{digits}"),
        (false, digits) => digits.to_owned(),
    };
    Ok(match kind {
        DataType::Decimal256(..) => {
            let value = i256::from_string(&signed).ok_or_else(overflow)?;
            ScalarValue::Decimal256(Some(value), precision, scale)
        }
        _ => {
            ScalarValue::Decimal128(Some(signed.parse().map_err(|_| overflow())?), precision, scale)
        }
    })
}

pub(super) fn numeric_overflow(text: &str, (precision, scale): (i64, i64)) -> SqlError {
    SqlError::new(
        SqlState::NumericOutOfRange,
        format!(
            "numeric field overflow: {} does not fit numeric({precision},{scale})",
            text.trim()
        ),
    )
}

/// How many digits `numeric(50,2)` has, and how many of them after the point.
pub(super) fn declared_digits(declared: &str) -> Option<(i64, i64)> {
    let (_, digits) = declared.strip_suffix(')')?.split_once('(')?;
    let (precision, scale) = digits.split_once(',')?;
    Some((precision.parse().ok()?, scale.parse().ok()?))
}

/// A number with the digits that are declared; `None` where it has more before its point.
pub(super) fn numeric_to(
    negative: bool,
    digits: &str,
    given: i64,
    (precision, scale): (i64, i64),
) -> Option<String> {
    let digits = rounded(digits, given, scale)?;
    let significant = digits.trim_start_matches('0').len() as i64;
    if significant > precision {
        return None;
    }
    plain_numeric(negative, &digits, scale)
}

/// A number's digits with its point where it belongs.
pub(super) fn plain_numeric(negative: bool, digits: &str, scale: i64) -> Option<String> {
    let digits = rounded(digits, scale, scale.max(0))?;
    let digits = if digits.is_empty() { "0" } else { digits.as_str() };
    let sign = if negative && digits.bytes().any(|digit| digit != b'0') { "-" } else { "" };
    Some(format!(
        "{sign}{}",
        crate::values::encode::decimal_text(digits, i8::try_from(scale.max(0)).ok()?)
    ))
}
