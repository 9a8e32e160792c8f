//! Expressions made of others.

use super::*;

/// A call of a function.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args =
        args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(crate) fn args_of(function: &Function) -> Option<Vec<Expr>> {
    match &function.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. } => Some(expr.clone()),
                _ => None,
            })
            .collect(),
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
    }
}

pub(super) fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

pub(super) fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

pub(super) fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// Rows compared part by part.
pub(super) fn compare_rows(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    if left.len() != right.len() || left.is_empty() {
        return None;
    }
    let pairs = || left.iter().cloned().zip(right.iter().cloned());
    let all = |op: BinaryOperator, between: BinaryOperator| {
        pairs()
            .map(|(a, b)| nested(binary(a, op.clone(), b)))
            .reduce(|a, b| binary(a, between.clone(), b))
            .map(nested)
    };
    match op {
        BinaryOperator::Eq => all(BinaryOperator::Eq, BinaryOperator::And),
        BinaryOperator::NotEq => all(BinaryOperator::NotEq, BinaryOperator::Or),
        BinaryOperator::Lt | BinaryOperator::Gt | BinaryOperator::LtEq | BinaryOperator::GtEq => {
            let (a, rest_a) = left.split_first()?;
            let (b, rest_b) = right.split_first()?;
            if rest_a.is_empty() {
                return Some(nested(binary(a.clone(), op.clone(), b.clone())));
            }
            let strict = match op {
                BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
                _ => BinaryOperator::Gt,
            };
            let first = nested(binary(a.clone(), strict, b.clone()));
            let equal = nested(binary(a.clone(), BinaryOperator::Eq, b.clone()));
            let rest = compare_rows(rest_a, op, rest_b)?;
            Some(nested(binary(
                first,
                BinaryOperator::Or,
                nested(binary(equal, BinaryOperator::And, rest)),
            )))
        }
        _ => None,
    }
}

pub(crate) fn function_name(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map(folded).unwrap_or_default()
}

/// The function that stands where a table does, its arguments, and what it is called.
pub(crate) fn args_of_factor(
    factor: &TableFactor,
) -> Option<(String, Vec<Expr>, Option<TableAlias>)> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return None,
    };
    let expr = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    let args = args.iter().map(expr).collect::<Option<Vec<_>>>()?;
    Some((folded(name.0.last()?.as_ident()?), args, alias.clone()))
}

/// Whether a number has more digits than a decimal of 76 holds.
pub(super) fn is_beyond_decimals(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 2);
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    let digits = mantissa.trim_start_matches(['0', '.']).len() as i64;
    let scale = fraction - exponent;
    scale > 76 || digits - scale.min(0) > 76
}

pub(super) fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

/// `INTERVAL '5' DAY` and `INTERVAL '1 day'` as a cast of their text.
pub(super) fn interval_of(
    interval: &datafusion::sql::sqlparser::ast::Interval,
) -> Result<Option<Expr>, SqlError> {
    let value = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(digits, _) => digits.clone(),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let unit = interval.last_field.as_ref().or(interval.leading_field.as_ref());
    let read = match unit {
        Some(unit) => {
            crate::values::moment::interval_of_unit(&value, &unit.to_string().to_lowercase())
        }
        None => crate::values::moment::interval(&value),
    };
    let read = read.map_err(|wrong| wrong.error("interval", &value))?;
    // In words that Arrow reads, too: it computes constants before our casts see them.
    let written = format!("{} months {} days {} microseconds", read.months, read.days, read.us);
    let kind =
        datafusion::sql::sqlparser::ast::DataType::Interval { fields: None, precision: None };
    Ok(Some(super::super::cast_expr(text(&written), &kind)?))
}
