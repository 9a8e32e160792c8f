//! `SELECT unnest(t.list), t.a + 1 AS a FROM t`: DataFusion plans it in two steps. The first step
//! has both `t.a` and `a`, and DataFusion finds that ambiguous. So the columns get other names
//! inside, and their own names outside.

use super::super::rewrite::{folded, function_name, query_of};
use crate::sql::walk::WalkMut;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor, VisitorMut,
};
use std::ops::ControlFlow;

/// Begins the names inside.
const NAME: &str = "\u{2}item";

/// Puts SELECTs with a column of this name so; whether there was any.
pub(super) fn put(statement: &mut Statement, name: &str) -> bool {
    let mut apart = Apart { name, changed: false };
    let _finished = statement.walk_mut(&mut apart);
    apart.changed
}

struct Apart<'a> {
    name: &'a str,
    changed: bool,
}

impl VisitorMut for Apart<'_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && let Some(outside) = put_apart(select, self.name)
        {
            **select = outside;
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

/// The SELECT around one; nothing where it is not of this kind.
fn put_apart(select: &mut Select, name: &str) -> Option<Select> {
    let names: Vec<String> = select.projection.iter().map(name_of_item).collect::<Option<_>>()?;
    let is_meant = names.iter().any(|own| own == name);
    if !is_meant || !select.projection.iter_mut().any(has_unnest) {
        return None;
    }
    let mut outside = Vec::with_capacity(names.len());
    for (number, (item, name)) in select.projection.iter_mut().zip(names).enumerate() {
        let inside = Ident::with_quote('"', format!("{NAME}{number}"));
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            return None;
        };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: inside.clone() };
        outside.push(SelectItem::ExprWithAlias {
            expr: Expr::Identifier(inside),
            alias: Ident::with_quote('"', name),
        });
    }
    let mut around = *query_of("SELECT 1 FROM (SELECT 1) AS inside")?;
    let SetExpr::Select(wrapping) = around.body.as_mut() else { return None };
    let TableFactor::Derived { subquery, .. } = &mut wrapping.from.first_mut()?.relation else {
        return None;
    };
    let SetExpr::Select(wrapped) = subquery.body.as_mut() else { return None };
    std::mem::swap(wrapped.as_mut(), select);
    wrapping.projection = outside;
    Some(wrapping.as_ref().clone())
}

fn name_of_item(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(folded(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(folded),
        _ => None,
    }
}

fn has_unnest(item: &mut SelectItem) -> bool {
    let mut found = false;
    let _finished = item.each_expr_mut(&mut |expr| {
        found |= matches!(expr, Expr::Function(call) if function_name(call) == "unnest");
        ControlFlow::Continue(())
    });
    found
}
