//! Statements that DataFusion does not plan as Postgres does. Its error says which kind it is, and
//! the statement is changed so that DataFusion plans it:
//!
//! - `SELECT t FROM t` and `json_agg(t)`: a relation's name where no column has it is its whole
//!   row;
//! - `SELECT t.id, t.*`: a column that is there twice;
//! - `r.tableoid`: the number of the relation that a row is of, and `r.xmin`, which is always 1;
//! - `columns.*` of `information_schema.columns`;
//! - `ARRAY[x]` of a row outside a subquery;
//! - a column of the answer called as a column that ORDER BY names;
//! - `SELECT unnest(t.list), t.a + 1 AS a`: a column called as one that its SELECT reads;
//! - `-x` of a number that is kept as text;
//! - `FROM current_schema()`: a function of one value where a table stands.
//!
//! This is done only after planning has failed. So the names of columns come first, and other
//! statements pay nothing.

mod system_columns;
mod unnested;
mod whole_row;

use super::names::distinct;
use super::rewrite::{args_of_factor, call, folded, is_constant, query_of, quoted};
use crate::sql::walk::WalkMut;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    Statement as SqlStatement, TableAlias, TableFactor, UnaryOperator, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// One statement is repaired so many times at most.
const REPAIRS_MAX: usize = 32;

/// Plans a statement.
pub(crate) async fn plan(state: &SessionState, mut statement: DfStatement) -> Result<LogicalPlan> {
    super::outside::qualify(&mut statement);
    let _numbered = super::once::resolve(state, &mut statement).await?;
    super::using::resolve(state, &mut statement).await?;
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
            SchemaError::AmbiguousReference { field } => {
                let is_of_steps = field.relation.is_some();
                is_of_steps && unnested::put(statement, &field.name)
                    || match statement.as_mut() {
                        SqlStatement::Query(query) => rename_output(query, &field.name),
                        _ => false,
                    }
            }
            SchemaError::FieldNotFound { field, .. } if system_columns::is_one(&field.name) => {
                let relation = field.relation.as_ref().map(|relation| relation.table());
                system_columns::put(statement, &field.name, relation)
            }
            SchemaError::FieldNotFound { field, valid_fields } if field.relation.is_none() => {
                whole_row::put(statement, &field.name, valid_fields) || as_calls(statement)
            }
            SchemaError::FieldNotFound { .. } => as_calls(statement),
            _ => false,
        },
        DataFusionError::Plan(message) if message.starts_with("Unary operator '-'") => {
            negated(statement)
        }
        DataFusionError::Plan(message) => {
            if let Some(name) = between(message, "the expression \"", "\" at position") {
                let name = name.rsplit('.').next().unwrap_or_default();
                let mut twice = Twice { name, changed: false };
                let _finished = statement.walk_mut(&mut twice);
                return twice.changed;
            }
            if let Some(name) = message.strip_prefix("Invalid qualifier ") {
                let mut named = Named { name, changed: false };
                let _finished = statement.walk_mut(&mut named);
                return named.changed;
            }
            let Some(name) = between(message, "able function '", "' not found") else {
                return false;
            };
            let mut one = OneValue { name, changed: false };
            let _finished = statement.walk_mut(&mut one);
            one.changed
        }
        _ => false,
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// The relations that a SELECT reads.
fn relations_of(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    })
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

/// A column of the answer that is called as a column of a relation is, which ORDER BY names: it
/// gets an ending.
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
    let _finished: ControlFlow<()> = statement.each_expr_mut(&mut |expr| {
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

/// `-x` of a number that is kept as text, as `0 - x`.
fn negated(statement: &mut SqlStatement) -> bool {
    let mut changed = false;
    let _finished: ControlFlow<()> = statement.each_expr_mut(&mut |expr| {
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && !is_constant(inner)
        {
            let zero = Expr::Value(Value::Number("0".to_owned(), false).into());
            let right = Box::new(Expr::Nested(inner.clone()));
            *expr = Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(zero),
                op: BinaryOperator::Minus,
                right,
            }));
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
        let value = call(&name, args);
        let Some(query) = query_of(&format!("SELECT {value} AS {}", quoted(&called))) else {
            return ControlFlow::Continue(());
        };
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
