//! Literals, collations, and calls with a syntax of their own.

use super::*;
use crate::sql::dialect::cast_expr;

/// A literal whose type is not the one that DataFusion would give it.
pub(super) fn rewrite_literal(expr: &mut Expr) -> Result<(), SqlError> {
    match expr {
        Expr::Value(value) => {
            if let Value::Number(digits, _) = &value.value
                && digits.contains(['e', 'E'])
                && is_beyond_decimals(digits)
            {
                let double = datafusion::sql::sqlparser::ast::DataType::DoublePrecision;
                *expr = cast_expr(text(digits), &double)?;
            }
        }
        Expr::Interval(interval) => {
            if let Some(constant) = interval_of(interval)? {
                *expr = constant;
            }
        }
        Expr::TypedString(typed) => {
            let value = typed.value.value.clone().into_string().unwrap_or_default();
            *expr = cast_expr(text(&value), &typed.data_type)?;
        }
        _ => {}
    }
    Ok(())
}

/// A call with a syntax of its own, as `position(a in b)`, as a call of a function; nothing for
/// another expression.
pub(super) fn as_call(expr: &Expr) -> Option<Expr> {
    let (name, args) = match expr {
        Expr::AtTimeZone { timestamp, time_zone } => {
            ("timezone", vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()])
        }
        Expr::Position { expr: what, r#in } => {
            ("strpos", vec![r#in.as_ref().clone(), what.as_ref().clone()])
        }
        Expr::Substring { expr: value, substring_from, substring_for, .. } => {
            let mut args = vec![value.as_ref().clone()];
            args.push(
                substring_from.as_ref().map_or_else(|| number(1), |from| from.as_ref().clone()),
            );
            args.extend(substring_for.as_ref().map(|length| length.as_ref().clone()));
            ("substring", args)
        }
        Expr::Overlay { expr: value, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![
                value.as_ref().clone(),
                overlay_what.as_ref().clone(),
                overlay_from.as_ref().clone(),
            ];
            args.extend(overlay_for.as_ref().map(|length| length.as_ref().clone()));
            ("overlay", args)
        }
        Expr::Extract { field, expr: value, .. } => {
            let name = match field {
                DateTimeField::Custom(name) => name.value.clone(),
                other => other.to_string(),
            };
            let name = text(name.to_lowercase().trim_matches('\''));
            ("extract", vec![name, value.as_ref().clone()])
        }
        _ => return None,
    };
    Some(call(name, args))
}

/// Takes a collation away that says what is done anyway; any other is refused.
pub(super) fn rewrite_collation(expr: &mut Expr) -> Result<(), SqlError> {
    let Expr::Collate { expr: inner, collation } = expr else { return Ok(()) };
    let name = collation.to_string();
    let plain = name
        .trim_matches('"')
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .trim_matches('"')
        .to_lowercase();
    if !matches!(plain.as_str(), "c" | "posix" | "default" | "ucs_basic") {
        return Err(SqlError::unsupported(format!(
            "collation {name} is not supported: texts are ordered by their bytes"
        )));
    }
    *expr = inner.as_ref().clone();
    Ok(())
}
