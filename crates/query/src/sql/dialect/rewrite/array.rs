//! `ARRAY(query)`: the values of a query as an array, in the query's order.

use super::call;
use crate::error::SqlError;
use crate::functions::is_set_returning;
use crate::sql::dialect::Grammar;
use crate::sql::walk::Walk;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, Ident, OrderByKind, Query, SelectItem, SetExpr,
    Visitor,
};
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

/// The subquery that gives the array; nothing for another function.
pub(super) fn array_of_query(name: &str, function: &Function) -> Result<Option<Expr>, SqlError> {
    let (true, FunctionArguments::Subquery(query)) = (name == "array", &function.args) else {
        return Ok(None);
    };
    let collected = match collect_in_place(query) {
        Some(collected) => collected,
        None => {
            let order = order_of_items(query).unwrap_or_default();
            format!("SELECT array_agg(item{order}) FROM ({query}) AS items (item)")
        }
    };
    let parsed = Parser::new(&Grammar::default())
        .try_with_sql(&collected)
        .and_then(|mut parser| parser.parse_query())
        .map_err(|_| SqlError::unsupported("this query in ARRAY(…)"))?;
    // Of no rows the array is empty, and not null.
    Ok(Some(call("array_or_empty", vec![Expr::Subquery(parsed)])))
}

/// Functions of many rows; a query of these is one of groups.
const AGGREGATES: [&str; 11] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "json_agg",
    "jsonb_agg",
];

/// The query that collects values as it goes, in its order if it has one; nothing where it makes
/// them of many rows.
fn collect_in_place(query: &Query) -> Option<String> {
    let keys: &[_] = match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys,
        Some(_) => return None,
        None => &[],
    };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [item] = select.projection.as_slice() else { return None };
    let value = match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => value,
        _ => return None,
    };
    let alias = match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.as_str()),
        _ => None,
    };
    let mut look = OfRows { depth: 0, found: false };
    let _all_of_it = value.walk(&mut look);
    let is_plain = !look.found
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.with.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if !is_plain {
        return None;
    }
    let keys = keys.iter().map(|key| {
        let mut key = key.clone();
        // By its place or by its name, it is the value.
        let named = key.expr.to_string();
        if named == "1" || Some(named.as_str()) == alias {
            key.expr = value.clone();
        }
        key.to_string()
    });
    let keys = keys.collect::<Vec<_>>().join(", ");
    let order = if keys.is_empty() { String::new() } else { format!(" ORDER BY {keys}") };
    let mut select = select.as_ref().clone();
    let collecting = format!("array_agg({value}{order})");
    let collecting = Parser::new(&Grammar::default())
        .try_with_sql(&collecting)
        .and_then(|mut parser| parser.parse_expr())
        .ok()?;
    select.projection = vec![SelectItem::UnnamedExpr(collecting)];
    Some(select.to_string())
}

/// The order of a query's only column, where it is by this column.
fn order_of_items(query: &Query) -> Option<String> {
    let OrderByKind::Expressions(keys) = &query.order_by.as_ref()?.kind else { return None };
    let [key] = keys.as_slice() else { return None };
    let mut key = key.clone();
    key.expr = Expr::Identifier(Ident::new("item"));
    Some(format!(" ORDER BY {key}"))
}

/// Whether an expression has a function of many rows, or one that gives many, outside of
/// subqueries.
struct OfRows {
    depth: usize,
    found: bool,
}

impl Visitor for OfRows {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let (0, Expr::Function(function)) = (self.depth, expr) {
            let name = super::function_name(function);
            self.found |= function.over.is_some()
                || is_set_returning(&name)
                || AGGREGATES.contains(&name.as_str());
        }
        ControlFlow::Continue(())
    }
}
