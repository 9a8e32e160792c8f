//! INTERSECT ALL and EXCEPT ALL.

use super::*;

/// INTERSECT ALL and EXCEPT ALL are those of rows that tell their equals apart.
pub(super) fn count_equal_rows(body: &mut SetExpr) {
    use datafusion::sql::sqlparser::ast::{SetOperator, SetQuantifier};
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return };
    count_equal_rows(left);
    count_equal_rows(right);
    let counts = *set_quantifier == SetQuantifier::All
        && matches!(op, SetOperator::Intersect | SetOperator::Except);
    if !counts {
        return;
    }
    let rank = crate::sql::dialect::sets::RANK;
    let side = format!("SELECT *, 0 AS {rank} FROM (SELECT 1) AS side");
    let text = format!("SELECT * EXCLUDE ({rank}) FROM ({side} {op} {side}) AS both");
    let generic = datafusion::sql::sqlparser::dialect::GenericDialect {};
    let Ok(parsed) = datafusion::sql::sqlparser::parser::Parser::parse_sql(&generic, &text) else {
        return;
    };
    let Some(SqlStatement::Query(mut outer)) = parsed.into_iter().next() else { return };
    let inner = |body: &mut SetExpr| match body {
        SetExpr::Select(select) => match &mut select.from.first_mut()?.relation {
            TableFactor::Derived { subquery, .. } => Some(std::mem::replace(
                subquery.body.as_mut(),
                SetExpr::Table(Box::new(datafusion::sql::sqlparser::ast::Table {
                    table_name: None,
                    schema_name: None,
                })),
            )),
            _ => None,
        },
        _ => None,
    };
    let put = |body: &mut SetExpr, new: &mut SetExpr| {
        if let SetExpr::Select(select) = body
            && let Some(from) = select.from.first_mut()
            && let TableFactor::Derived { subquery, .. } = &mut from.relation
        {
            std::mem::swap(subquery.body.as_mut(), new);
        }
    };
    let Some(mut both) = inner(outer.body.as_mut()) else { return };
    if let SetExpr::SetOperation { left: ours_left, right: ours_right, .. } = &mut both {
        put(ours_left, left);
        put(ours_right, right);
    }
    put(outer.body.as_mut(), &mut both);
    *body = *outer.body;
}
