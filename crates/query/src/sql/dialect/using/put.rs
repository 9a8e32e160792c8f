//! A SELECT whose joins were rewritten: the names in its expressions and `*` are rewritten to fit.

use super::Names;
use super::scope::{Scope, beside, put_item};
use crate::sql::dialect::rewrite::folded;
use crate::sql::walk::WalkMut;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderBy, OrderByKind, Select, SelectItem, WildcardAdditionalOptions,
};

/// Puts a SELECT; nothing where its names cannot be told apart.
pub(super) fn put(select: &mut Select, mut names: Names) -> Option<Scope> {
    let mut from = select.from.clone();
    let mut scope = Scope::default();
    for item in &mut from {
        scope = beside(scope, put_item(item, &mut names)?);
    }
    select.from.clear();
    let mut items = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        put_select_item(item, &scope, &mut items);
    }
    select.projection = items;
    replace(select, &scope);
    select.from = from;
    Some(scope)
}

/// Puts what stands in an item of SELECT by itself: `*`, and a name, which the answer keeps.
fn put_select_item(item: SelectItem, scope: &Scope, items: &mut Vec<SelectItem>) {
    match item {
        SelectItem::Wildcard(options) if scope.has_merged() && is_plain(&options) => {
            items.extend(scope.0.iter().map(|shown| match &shown.expr {
                Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(shown.expr.clone()),
                expr => SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: Ident::with_quote('"', &shown.name),
                },
            }));
        }
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
            let expr = scope.merged(&folded(&name)).cloned();
            items.push(match expr {
                Some(expr) => SelectItem::ExprWithAlias { expr, alias: name },
                None => SelectItem::UnnamedExpr(Expr::Identifier(name)),
            });
        }
        other => items.push(other),
    }
}

/// Whether a `*` stands for all columns.
fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    let WildcardAdditionalOptions { opt_ilike, opt_exclude, opt_except, opt_replace, .. } = options;
    opt_ilike.is_none() && opt_exclude.is_none() && opt_except.is_none() && opt_replace.is_none()
}

/// Puts ORDER BY: a name by itself is that of a column of the answer before it is any other.
pub(super) fn put_order(order: Option<&mut OrderBy>, select: &Select, scope: &Scope) {
    let Some(OrderBy { kind: OrderByKind::Expressions(orders), .. }) = order else { return };
    for order in orders {
        match &order.expr {
            Expr::Identifier(name) if is_answered(select, &folded(name)) => {}
            _ => replace(&mut order.expr, scope),
        }
    }
}

fn is_answered(select: &Select, name: &str) -> bool {
    select.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => folded(alias) == name,
        SelectItem::UnnamedExpr(Expr::Identifier(own)) => folded(own) == name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().is_some_and(|own| folded(own) == name)
        }
        _ => false,
    })
}

/// Puts the names in an expression. Subqueries may have columns of their own that are called so.
pub(super) fn replace(part: &mut impl WalkMut, scope: &Scope) {
    part.each_own_expr_mut(&mut |expr| {
        if let Expr::Identifier(name) = expr
            && let Some(merged) = scope.merged(&folded(name))
        {
            *expr = merged.clone();
        }
    });
}
