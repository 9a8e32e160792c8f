//! Lengths of time as SQL writes them.

use crate::error::{SqlError, SqlState};
use datafusion::sql::sqlparser::ast::{DataType, Expr, Value};

/// The length of an interval without months, in microseconds.
pub(crate) fn interval_us(expr: &Expr) -> Result<i64, SqlError> {
    // As a rewritten statement has it.
    if let Expr::Cast { expr: inner, data_type: DataType::Interval { .. }, .. } = expr
        && let Expr::Value(value) = inner.as_ref()
        && let Some(text) = value.value.clone().into_string()
    {
        let wrong = |wrong: crate::values::moment::Wrong| wrong.error("interval", &text);
        let interval = crate::values::moment::interval(&text).map_err(wrong)?;
        if interval.months != 0 {
            let message = format!("'{text}' has months, which differ in length");
            return Err(SqlError::new(SqlState::InvalidParameter, message));
        }
        return Ok(i64::from(interval.days) * crate::values::moment::DAY_US + interval.us);
    }
    let Expr::Interval(interval) = expr else {
        return Err(SqlError::new(
            SqlState::SyntaxError,
            format!("expected an INTERVAL, found {expr}"),
        ));
    };
    let number = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(number, _) => number.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    let text = match &interval.leading_field {
        Some(unit) => format!("{number} {unit}"),
        None => number,
    };
    duration_us(&text)
}

/// Such as `5 seconds`, `1 hour 30 minutes`, `500ms`.
pub(crate) fn duration_us(text: &str) -> Result<i64, SqlError> {
    let wrong = || {
        SqlError::new(SqlState::InvalidParameter, format!("'{text}' is not a duration"))
            .hint("write it like '5 seconds', '1 hour 30 minutes' or '500 ms'")
    };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let mut rest = text;
    let mut total_us: i64 = 0;
    let _has_a_unit = split;
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit_us: f64 = match unit.to_ascii_lowercase().as_str() {
            "us" | "microsecond" | "microseconds" => 1.0,
            "ms" | "millisecond" | "milliseconds" => 1e3,
            "s" | "sec" | "secs" | "second" | "seconds" => 1e6,
            "m" | "min" | "mins" | "minute" | "minutes" => 6e7,
            "h" | "hour" | "hours" => 3.6e9,
            "d" | "day" | "days" => 8.64e10,
            "w" | "week" | "weeks" => 6.048e11,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = (number * unit_us).round();
        if part > 1e17 {
            return Err(wrong());
        }
        total_us = total_us.checked_add(part as i64).ok_or_else(wrong)?;
        rest = after;
    }
    Ok(total_us)
}
