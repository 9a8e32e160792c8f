//! LIMIT, OFFSET and the places of ORDER BY, checked before they are planned.

use super::*;

pub(super) fn literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(-literal(expr)?),
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

pub(super) fn check_limit(query: &mut Query) -> Result<(), SqlError> {
    use datafusion::sql::sqlparser::ast::LimitClause;
    if let Some(fetch) = query.fetch.take() {
        if fetch.with_ties || fetch.percent {
            return Err(SqlError::unsupported("FETCH … WITH TIES and PERCENT are not supported"));
        }
        let rows = fetch.quantity.unwrap_or_else(|| number(1));
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(rows),
            none => {
                let (offset, limit_by) = (None, Vec::new());
                *none = Some(LimitClause::LimitOffset { limit: Some(rows), offset, limit_by });
            }
        }
    }
    if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
        if limit.as_ref().and_then(literal).is_some_and(|limit| limit < 0) {
            return Err(SqlError::new(SqlState::InvalidLimit, "LIMIT must not be negative"));
        }
        if offset
            .as_ref()
            .and_then(|offset| literal(&offset.value))
            .is_some_and(|offset| offset < 0)
        {
            return Err(SqlError::new(SqlState::InvalidOffset, "OFFSET must not be negative"));
        }
        // LIMIT NULL is none.
        if matches!(limit, Some(Expr::Value(value)) if value.value == Value::Null) {
            *limit = None;
        }
        if matches!(offset, Some(offset) if matches!(&offset.value, Expr::Value(value)
            if value.value == Value::Null))
        {
            *offset = None;
        }
    }
    Ok(())
}

/// ORDER BY 3 of two columns.
pub(super) fn check_order(query: &Query) -> Result<(), SqlError> {
    let (Some(order), Some(width)) = (&query.order_by, width_of(query)) else { return Ok(()) };
    let OrderByKind::Expressions(exprs) = &order.kind else { return Ok(()) };
    for order in exprs {
        if let Some(place) = literal(&order.expr)
            && (place < 1 || place > width as i64)
        {
            let message = format!("ORDER BY position {place} is not in select list");
            return Err(SqlError::new(SqlState::InvalidColumnReference, message));
        }
    }
    Ok(())
}
