//! Aggregates over a subquery with ORDER BY: they collect in its order, as in Postgres. DataFusion
//! takes rows of a subquery in any order, so the order is written into the aggregates.

use super::*;
use crate::sql::walk::WalkMut;
use datafusion::sql::sqlparser::ast::{FunctionArgumentClause, OrderBy, OrderByExpr};

/// Aggregates whose answer depends on the order of the rows.
const ORDERED: [&str; 6] =
    ["array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg"];

/// Writes the order of the only relation, a subquery, into the aggregates that have none of their
/// own.
pub(super) fn keep_order(select: &mut Select) {
    let [from] = select.from.as_slice() else { return };
    let TableFactor::Derived { subquery, alias, .. } = &from.relation else { return };
    if !from.joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return;
    }
    let Some(order) = visible_order(subquery) else { return };
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let _finished: ControlFlow<()> = expr.each_expr_mut(&mut |part| {
            if let Expr::Function(function) = part {
                put_order(function, &order);
            }
            ControlFlow::Continue(())
        });
    }
}

fn put_order(function: &mut Function, order: &[OrderByExpr]) {
    if function.over.is_some() || !ORDERED.contains(&function_name(function).as_str()) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    // DISTINCT sorts.
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return;
    }
    list.clauses.push(FunctionArgumentClause::OrderBy(order.to_vec()));
}

/// The order of a query by columns that it gives; nothing where it orders by others.
fn visible_order(query: &Query) -> Option<Vec<OrderByExpr>> {
    let OrderBy { kind: OrderByKind::Expressions(order), .. } = query.order_by.as_ref()? else {
        return None;
    };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let names: Vec<Option<String>> = select.projection.iter().map(name_of).collect();
    // Of several relations the star may give two columns of one name.
    let is_one = matches!(select.from.as_slice(), [from] if from.joins.is_empty());
    let is_all =
        is_one && select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    let column = |order: &OrderByExpr| {
        let name = match &order.expr {
            Expr::Identifier(name) => folded(name),
            Expr::CompoundIdentifier(parts) => folded(parts.last()?),
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => {
                    let place = digits.parse::<usize>().ok()?.checked_sub(1)?;
                    names.get(place)?.clone()?
                }
                _ => return None,
            },
            _ => return None,
        };
        let is_given = is_all || names.iter().flatten().any(|given| *given == name);
        is_given.then(|| OrderByExpr {
            expr: Expr::Identifier(Ident::with_quote('"', name)),
            ..order.clone()
        })
    };
    order.iter().map(column).collect()
}

fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(expr) => Some(crate::sql::dialect::names::name_of(expr)),
        _ => None,
    }
}
