//! `SELECT t FROM t`: a relation's name where no column has it is its whole row.

use super::super::rewrite::{PAIRS, ROW_MARK, call, folded};
use super::{name_of, relations_of};
use crate::functions::WHOLE_ROW;
use crate::sql::walk::WalkMut;
use datafusion::common::Column;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinOperator, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Puts rows where the name of a relation stands, if one is called so; `valid`: the columns that
/// could be named there.
pub(super) fn put(statement: &mut Statement, named: &str, valid: &[Column]) -> bool {
    let name = named.trim_start_matches(ROW_MARK);
    let columns = columns_of(name, valid);
    if columns.is_empty() {
        return false;
    }
    let mut rows = WholeRow { named, name, columns: &columns, unknown: 0, changed: false };
    let _counted = statement.walk_mut(&mut Relations { rows: &mut rows, write: false });
    let _written = statement.walk_mut(&mut Relations { rows: &mut rows, write: true });
    rows.changed
}

fn columns_of(relation: &str, valid: &[Column]) -> Vec<String> {
    let of_it =
        |column: &&Column| column.relation.as_ref().is_some_and(|found| found.table() == relation);
    valid.iter().filter(of_it).map(|column| column.name.clone()).collect()
}

/// A relation's name becomes its row.
struct WholeRow<'a> {
    /// As it stands in the statement: with a mark where it can be nothing else.
    named: &'a str,
    name: &'a str,
    columns: &'a [String],
    /// Relations of this name that do not say which columns they have.
    unknown: usize,
    changed: bool,
}

impl WholeRow<'_> {
    /// Whether a relation is the one with these columns. Where several might be, none is.
    fn is_meant(&self, factor: &TableFactor) -> bool {
        match columns_of_query(factor) {
            Some(columns) => columns == self.columns,
            None => self.unknown == 1,
        }
    }

    fn is_named(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Identifier(ident) if folded(ident) == self.named)
    }

    /// Puts a row where an expression names it, and notes that it did.
    fn putting<'a>(&'a self, row: &'a Expr, changed: &'a mut bool) -> impl FnMut(&mut Expr) + 'a {
        move |expr| {
            if self.is_named(expr) {
                *expr = row.clone();
                *changed = true;
            }
        }
    }

    fn is_called(&self, factor: &TableFactor) -> bool {
        name_of(factor).as_deref() == Some(self.name)
    }

    /// The row of a relation that a SELECT reads.
    fn row(&self, select: &Select, relation: &TableFactor) -> Expr {
        let quoted = |name: &str| Ident::with_quote('"', name);
        let of_column =
            |column: &str| Expr::CompoundIdentifier(vec![quoted(self.name), quoted(column)]);
        // A function that gives single values is called as its values are.
        if let ([value], true) = (self.columns, is_function(relation)) {
            return of_column(value);
        }
        // On a side of a join that may have no row, a row without any value is none.
        let is_optional = !select.from.iter().flat_map(|from| &from.joins).all(is_inner);
        let mut args = vec![Expr::Value(Value::Boolean(is_optional).into())];
        for column in self.columns {
            args.push(Expr::Value(Value::SingleQuotedString(column.clone()).into()));
            args.push(of_column(column));
        }
        call(WHOLE_ROW, args)
    }
}

/// Whether a join gives rows only where both sides have one.
fn is_inner(join: &Join) -> bool {
    matches!(
        join.join_operator,
        JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
    )
}

/// Finds the SELECTs that read a relation of this name.
struct Relations<'a, 'b> {
    rows: &'a mut WholeRow<'b>,
    write: bool,
}

impl VisitorMut for Relations<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.write {
            self.rows.changed |= write_order(query, self.rows);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let found = relations_of(select).find(|factor| self.rows.is_called(factor));
        let Some(found) = found else { return ControlFlow::Continue(()) };
        if !self.write {
            self.rows.unknown += usize::from(columns_of_query(found).is_none());
            return ControlFlow::Continue(());
        }
        if !self.rows.is_meant(found) {
            return ControlFlow::Continue(());
        }
        let row = self.rows.row(select, found);
        self.rows.changed |= write_row(select, self.rows, &row);
        ControlFlow::Continue(())
    }
}

/// Whether a subquery stands for a function in FROM.
fn is_function(factor: &TableFactor) -> bool {
    let TableFactor::Derived { subquery, .. } = factor else { return false };
    let SetExpr::Select(select) = subquery.body.as_ref() else { return false };
    let mut relations = select.from.iter().map(|from| name_of(&from.relation));
    relations.any(|name| name.as_deref() == Some(PAIRS))
}

/// Puts a row where ORDER BY names it.
fn write_order(query: &mut Query, repair: &WholeRow<'_>) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let found = relations_of(select).find(|factor| repair.is_called(factor));
    let Some(found) = found.filter(|found| repair.is_meant(found)) else { return false };
    let row = repair.row(select, found);
    let mut changed = false;
    query.order_by.each_own_expr_mut(&mut repair.putting(&row, &mut changed));
    changed
}

/// The columns of a subquery in FROM, where it names them all.
fn columns_of_query(factor: &TableFactor) -> Option<Vec<String>> {
    let TableFactor::Derived { subquery, alias, .. } = factor else { return None };
    let given = alias.iter().flat_map(|alias| &alias.columns);
    let given: Vec<String> = given.map(|column| folded(&column.name)).collect();
    if !given.is_empty() {
        return Some(given);
    }
    let SetExpr::Select(select) = subquery.body.as_ref() else { return None };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(folded(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(folded),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

/// Puts a row where a SELECT names it, but not in its subqueries: there the name may be a column's.
fn write_row(select: &mut Select, repair: &WholeRow<'_>, row: &Expr) -> bool {
    let mut changed = false;
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && repair.is_named(expr)
        {
            let alias = Ident::with_quote('"', repair.name);
            *item = SelectItem::ExprWithAlias { expr: row.clone(), alias };
            changed = true;
        }
    }
    let mut put = repair.putting(row, &mut changed);
    select.projection.each_own_expr_mut(&mut put);
    select.selection.each_own_expr_mut(&mut put);
    select.group_by.each_own_expr_mut(&mut put);
    select.having.each_own_expr_mut(&mut put);
    drop(put);
    changed
}
