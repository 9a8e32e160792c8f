//! Operators: over numbers, texts and rows, and those that are functions here.

use super::*;

/// An operator between two expressions.
pub(super) fn rewrite_binary(expr: &mut Expr) -> Result<(), SqlError> {
    let Expr::BinaryOp { left, op, right } = expr else { return Ok(()) };
    if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
        *op = match parts.last().map(String::as_str) {
            Some("~") => BinaryOperator::PGRegexMatch,
            Some("~*") => BinaryOperator::PGRegexIMatch,
            Some("!~") => BinaryOperator::PGRegexNotMatch,
            Some("=") => BinaryOperator::Eq,
            _ => op.clone(),
        };
    }
    if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
        literals::condition(left)?;
        literals::condition(right)?;
    }
    if let (Expr::Tuple(a), Expr::Tuple(b)) = (left.as_ref(), right.as_ref()) {
        if a.len() != b.len() {
            let message = "unequal number of entries in row expressions";
            return Err(SqlError::new(SqlState::SyntaxError, message));
        }
        if let Some(compared) = compare_rows(a, op, b) {
            *expr = compared;
        }
    }
    Ok(())
}

/// Operators before an expression that are functions here.
pub(super) fn rewrite_unary(expr: &mut Expr) {
    let Expr::UnaryOp { op, expr: inner } = expr else { return };
    let name = match op {
        UnaryOperator::PGSquareRoot => "sqrt",
        UnaryOperator::PGCubeRoot => "cbrt",
        UnaryOperator::PGAbs => "abs",
        UnaryOperator::BitwiseNot => "bitwise_not",
        _ => return,
    };
    *expr = call(name, vec![inner.as_ref().clone()]);
}

/// `(row).field.field` as calls of the function that gives a field.
pub(super) fn rewrite_fields(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return };
    let field = |access: &AccessExpr| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(text(&folded(name))),
        _ => None,
    };
    let fields: Option<Vec<Expr>> = access_chain.iter().map(field).collect();
    let Some(fields) = fields else { return };
    let root = match root.as_ref() {
        Expr::Nested(inner) => inner.as_ref().clone(),
        other => other.clone(),
    };
    let of = |row, field| call(FIELD, vec![row, field]);
    *expr = fields.into_iter().fold(root, of);
}

/// `(a, b) IN ((1, 2), (3, 4))` as comparisons with each row.
pub(super) fn rewrite_in_list(expr: &mut Expr) {
    let Expr::InList { expr: value, list, negated } = expr else { return };
    let Expr::Tuple(parts) = value.as_ref() else { return };
    let equal = list.iter().map(|item| match item {
        Expr::Tuple(others) => compare_rows(parts, &BinaryOperator::Eq, others),
        _ => None,
    });
    if let Some(equal) = equal.collect::<Option<Vec<_>>>()
        && let Some(any) = equal.into_iter().reduce(|a, b| binary(a, BinaryOperator::Or, b))
    {
        *expr = denied(nested(any), *negated);
    }
}

/// A pattern with an ESCAPE, or several patterns.
pub(super) fn rewrite_like(expr: &mut Expr) {
    match expr {
        Expr::Like { pattern, .. } | Expr::ILike { pattern, .. } if among(pattern).is_some() => {
            like_among(expr);
        }
        Expr::Like { pattern, escape_char, any: false, .. }
        | Expr::ILike { pattern, escape_char, any: false, .. } => {
            let Some(escape) = escape_char.take() else { return };
            let escape = escape.value.into_string().unwrap_or_default();
            let args = vec![pattern.as_ref().clone(), text(&escape)];
            **pattern = call("like_escape", args);
        }
        _ => {}
    }
}

/// SIMILAR TO is a function here.
pub(super) fn rewrite_similar(expr: &mut Expr) {
    let Expr::SimilarTo { negated, expr: value, pattern, escape_char } = expr else { return };
    let mut args = vec![value.as_ref().clone(), pattern.as_ref().clone()];
    args.extend(
        escape_char
            .as_ref()
            .map(|escape| text(&escape.value.clone().into_string().unwrap_or_default())),
    );
    *expr = denied(call("similar_to", args), *negated);
}

/// What NOT stands before, where an operator has it.
fn denied(expr: Expr, negated: bool) -> Expr {
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) } } else { expr }
}
