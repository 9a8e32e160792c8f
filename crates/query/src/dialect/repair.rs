//! Statements that DataFusion does not plan as Postgres has them, told by its error, and put so that it does:
//!
//! - `SELECT t FROM t` and `json_agg(t)`: a relation's name where no column has it is its whole row;
//! - `SELECT t.id, t.*`: a column that is there twice;
//! - `r.tableoid`: the number of the relation that a row is of;
//! - `columns.*` of `information_schema.columns`;
//! - `ARRAY[x]` of a row outside a subquery;
//! - a column of the answer called as a column that ORDER BY names;
//! - `FROM current_schema()`: a function of one value where a table stands.
//!
//! They are looked for only after planning has failed: names of columns come first, and others pay nothing.

use super::names::distinct;
use super::rewrite::{PAIRS, args_of_factor, call, folded, is_constant};
use crate::catalog::postgres::OID_OF_NAME;
use crate::functions::WHOLE_ROW;
use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinOperator, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    Statement as SqlStatement, TableAlias, TableFactor, Value, VisitMut, VisitorMut,
    visit_expressions_mut,
};
use std::ops::ControlFlow;

/// One statement is repaired so many times at most.
const REPAIRS_MAX: usize = 32;

/// Plans a statement.
pub(crate) async fn plan(state: &SessionState, mut statement: DfStatement) -> Result<LogicalPlan> {
    for _ in 0..REPAIRS_MAX {
        match state.statement_to_plan(statement.clone()).await {
            Err(error) if repair(&mut statement, &error) => {}
            planned => return planned,
        }
    }
    state.statement_to_plan(statement).await
}

/// Whether a statement was changed.
fn repair(statement: &mut DfStatement, error: &DataFusionError) -> bool {
    let DfStatement::Statement(statement) = statement else {
        return match statement {
            DfStatement::Explain(explain) => repair(&mut explain.statement, error),
            _ => false,
        };
    };
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::AmbiguousReference { field } => match statement.as_mut() {
                SqlStatement::Query(query) => rename_output(query, &field.name),
                _ => false,
            },
            SchemaError::FieldNotFound { field, .. } if field.name == "tableoid" => {
                let relation = field.relation.as_ref().map(|relation| relation.table());
                let mut oids = TableOid { relation, changed: false };
                let _finished = statement.visit(&mut oids);
                oids.changed
            }
            SchemaError::FieldNotFound { field, valid_fields } if field.relation.is_none() => {
                let columns = columns_of(&field.name, valid_fields);
                if columns.is_empty() {
                    return as_calls(statement);
                }
                let mut rows =
                    WholeRow { name: &field.name, columns: &columns, unknown: 0, changed: false };
                let _counted = statement.visit(&mut Relations { rows: &mut rows, write: false });
                let _written = statement.visit(&mut Relations { rows: &mut rows, write: true });
                rows.changed
            }
            SchemaError::FieldNotFound { .. } => as_calls(statement),
            _ => false,
        },
        DataFusionError::Plan(message) => {
            if let Some(name) = between(message, "the expression \"", "\" at position") {
                let name = name.rsplit('.').next().unwrap_or_default();
                let mut twice = Twice { name, changed: false };
                let _finished = statement.visit(&mut twice);
                return twice.changed;
            }
            if let Some(name) = message.strip_prefix("Invalid qualifier ") {
                let mut named = Named { name, changed: false };
                let _finished = statement.visit(&mut named);
                return named.changed;
            }
            let Some(name) = between(message, "able function '", "' not found") else {
                return false;
            };
            let mut one = OneValue { name, changed: false };
            let _finished = statement.visit(&mut one);
            one.changed
        }
        _ => false,
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

fn columns_of(relation: &str, valid: &[Column]) -> Vec<String> {
    let of_it =
        |column: &&Column| column.relation.as_ref().is_some_and(|found| found.table() == relation);
    valid.iter().filter(of_it).map(|column| column.name.clone()).collect()
}

/// A relation's name becomes its row.
struct WholeRow<'a> {
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
        matches!(expr, Expr::Identifier(ident) if folded(ident) == self.name)
    }

    /// `is_optional`: on a side of a join that may have no row, a row without any value is none.
    fn row(&self, is_optional: bool) -> Expr {
        let quoted = |name: &str| Ident::with_quote('"', name);
        let mut args = vec![Expr::Value(Value::Boolean(is_optional).into())];
        for column in self.columns {
            args.push(Expr::Value(Value::SingleQuotedString(column.clone()).into()));
            args.push(Expr::CompoundIdentifier(vec![quoted(self.name), quoted(column)]));
        }
        call(WHOLE_ROW, args)
    }
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
        let joins = || select.from.iter().flat_map(|from| &from.joins);
        let factors = select.from.iter().map(|from| &from.relation);
        let mut factors = factors.chain(joins().map(|join| &join.relation));
        let found = factors.find(|factor| name_of(factor).as_deref() == Some(self.rows.name));
        let Some(found) = found else { return ControlFlow::Continue(()) };
        if !self.write {
            self.rows.unknown += usize::from(columns_of_query(found).is_none());
            return ControlFlow::Continue(());
        }
        if !self.rows.is_meant(found) {
            return ControlFlow::Continue(());
        }
        let is_inner = |operator: &JoinOperator| {
            matches!(
                operator,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
            )
        };
        let is_optional = !joins().map(|join| &join.join_operator).all(is_inner);
        // A function that gives single values is called as its values are.
        let row = match (self.rows.columns, is_function(found)) {
            ([value], true) => Expr::CompoundIdentifier(
                [self.rows.name, value].map(|name| Ident::with_quote('"', name)).to_vec(),
            ),
            _ => self.rows.row(is_optional),
        };
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
    let factors = select.from.iter().map(|from| &from.relation);
    let joined = select.from.iter().flat_map(|from| &from.joins).map(|join| &join.relation);
    let mut factors = factors.chain(joined);
    let found = factors.find(|factor| name_of(factor).as_deref() == Some(repair.name));
    if !found.is_some_and(|found| repair.is_meant(found)) {
        return false;
    }
    let row = repair.row(false);
    let mut here = Here { repair, row: &row, depth: 0, changed: false };
    let _finished = query.order_by.visit(&mut here);
    here.changed
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
    let mut here = Here { repair, row, depth: 0, changed };
    let _finished = select.projection.visit(&mut here);
    let _finished = select.selection.visit(&mut here);
    let _finished = select.group_by.visit(&mut here);
    let _finished = select.having.visit(&mut here);
    here.changed
}

struct Here<'a, 'b> {
    repair: &'a WholeRow<'b>,
    row: &'a Expr,
    depth: usize,
    changed: bool,
}

impl VisitorMut for Here<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0 && self.repair.is_named(expr) {
            *expr = self.row.clone();
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

/// What a relation in FROM is called.
fn name_of(factor: &TableFactor) -> Option<String> {
    let (name, alias) = match factor {
        TableFactor::Table { name, alias, .. } => (name.0.last()?.as_ident().map(folded), alias),
        TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (None, alias),
        _ => return None,
    };
    alias.as_ref().map(|alias| folded(&alias.name)).or(name)
}

/// A column that is written beside `*` gets an ending, which clients do not see.
struct Twice<'a> {
    name: &'a str,
    changed: bool,
}

impl VisitorMut for Twice<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let is_wildcard = |item: &SelectItem| {
            matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
        };
        if !select.projection.iter().any(is_wildcard) {
            return ControlFlow::Continue(());
        }
        for (number, item) in select.projection.iter_mut().enumerate() {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let last = match expr {
                Expr::Identifier(ident) => Some(&*ident),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            if last.is_some_and(|last| folded(last) == self.name) {
                // Those of one name without `*` are told apart by small numbers.
                let alias = Ident::with_quote('"', distinct(self.name, 10_000 + number));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                self.changed = true;
            }
        }
        ControlFlow::Continue(())
    }
}

/// `tableoid` is the number of the relation that a row is of.
struct TableOid<'a> {
    relation: Option<&'a str>,
    changed: bool,
}

impl VisitorMut for TableOid<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let joined = select.from.iter().flat_map(|from| &from.joins).map(|join| &join.relation);
        let mut factors = select.from.iter().map(|from| &from.relation).chain(joined);
        let found = factors.find_map(|factor| match factor {
            TableFactor::Table { name, args: None, .. }
                if self
                    .relation
                    .is_none_or(|wanted| name_of(factor).as_deref() == Some(wanted)) =>
            {
                Some(name.to_string())
            }
            _ => None,
        });
        let Some(table) = found else { return ControlFlow::Continue(()) };
        let name = Expr::Value(Value::SingleQuotedString(table).into());
        let mut put = PutTableOid {
            relation: self.relation,
            oid: call(OID_OF_NAME, vec![name]),
            changed: false,
        };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && put.is_meant(expr)
            {
                let alias = Ident::with_quote('"', "tableoid");
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        let _finished = select.visit(&mut put);
        self.changed |= put.changed;
        ControlFlow::Continue(())
    }
}

struct PutTableOid<'a> {
    relation: Option<&'a str>,
    oid: Expr,
    changed: bool,
}

impl PutTableOid<'_> {
    fn is_meant(&self, expr: &Expr) -> bool {
        match (expr, self.relation) {
            (Expr::Identifier(name), None) => folded(name) == "tableoid",
            (Expr::CompoundIdentifier(parts), Some(relation)) => match parts.as_slice() {
                [table, name] => folded(table) == relation && folded(name) == "tableoid",
                _ => false,
            },
            _ => false,
        }
    }
}

impl VisitorMut for PutTableOid<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.is_meant(expr) {
            *expr = self.oid.clone();
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

/// A table of another schema is called what its last name says.
struct Named<'a> {
    name: &'a str,
    changed: bool,
}

impl VisitorMut for Named<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if name_of(factor).as_deref() == Some(self.name)
            && let TableFactor::Table { name, alias, .. } = factor
            && alias.is_none()
            && name.0.len() > 1
        {
            let name = Ident::with_quote('"', self.name);
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

/// A column of the answer that is called as a column of a relation is, which ORDER BY names: it gets an ending.
fn rename_output(query: &mut Query, name: &str) -> bool {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = body.as_mut() else { return false };
    let mut changed = false;
    for (number, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::ExprWithAlias { alias, .. } = item else { continue };
        if folded(alias) != name {
            continue;
        }
        *alias = Ident::with_quote('"', distinct(name, 20_000 + number));
        changed = true;
        let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = order_by else {
            continue;
        };
        for order in order {
            if matches!(&order.expr, Expr::Identifier(ident) if folded(ident) == name) {
                order.expr = Expr::Identifier(alias.clone());
            }
        }
    }
    changed
}

/// `ARRAY[x]` as `make_array(x)`: what stands in brackets does not see the row outside a subquery.
fn as_calls(statement: &mut SqlStatement) -> bool {
    let mut changed = false;
    let _finished: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if let Expr::Array(array) = expr
            && !array.elem.iter().all(is_constant)
        {
            *expr = call("make_array", array.elem.clone());
            changed = true;
        }
        ControlFlow::Continue(())
    });
    changed
}

/// `FROM f(x) AS a` as `FROM (SELECT f(x) AS a) AS a`.
struct OneValue<'a> {
    name: &'a str,
    changed: bool,
}

impl VisitorMut for OneValue<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let Some((name, args, alias)) = args_of_factor(factor) else {
            return ControlFlow::Continue(());
        };
        if name != self.name {
            return ControlFlow::Continue(());
        }
        let called = alias.as_ref().map_or_else(|| name.clone(), |alias| folded(&alias.name));
        let Some(mut query) = one_row(call(&name, args), &called) else {
            return ControlFlow::Continue(());
        };
        query.with = None;
        let columns = alias.map(|alias| alias.columns).unwrap_or_default();
        let name = Ident::with_quote('"', called);
        *factor = TableFactor::Derived {
            lateral: false,
            subquery: query,
            alias: Some(TableAlias { explicit: true, name, columns, at: None }),
            sample: None,
        };
        self.changed = true;
        ControlFlow::Continue(())
    }
}

/// `SELECT expr AS name`.
fn one_row(expr: Expr, name: &str) -> Option<Box<Query>> {
    let mut statements = crate::statement::parse("SELECT 1 AS value").ok()?;
    let Some(crate::statement::Statement::Df(statement)) = statements.pop() else { return None };
    let DfStatement::Statement(statement) = *statement else { return None };
    let datafusion::sql::sqlparser::ast::Statement::Query(mut query) = *statement else {
        return None;
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let alias = Ident::with_quote('"', name);
    select.projection = vec![SelectItem::ExprWithAlias { expr, alias }];
    Some(query)
}
