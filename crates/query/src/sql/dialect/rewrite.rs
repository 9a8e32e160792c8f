//! Statements rewritten so that DataFusion plans what Postgres means.

mod array;
mod calls;
mod intersections;
mod literals;
mod operators;
mod ordered;

mod patterns;
mod quantified;

mod bounds;

mod regclass;
mod series;
mod special;
mod values;

mod build;
mod membership;
mod names;

use super::names::{name_early, name_items};
use crate::error::{SqlError, SqlState};
use crate::functions::is_set_returning;
use crate::sql::session::Session;
use crate::sql::stop;
use crate::sql::walk::{Walk, WalkMut};
use crate::values::parse::boolean;
use bounds::{check_limit, check_order};
pub(crate) use build::call;
pub(super) use build::{args_of, args_of_factor, function_name};
use build::{binary, compare_rows, interval_of, is_beyond_decimals, is_null, nested, number, text};
use calls::{constant_of, rewrite_function};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, JoinConstraint, JoinOperator,
    ObjectName, ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr,
    Statement as SqlStatement, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins,
    UnaryOperator, Value, Visitor, VisitorMut,
};
use intersections::count_equal_rows;
use membership::{conditions, memberships};
pub(super) use names::folded;
pub(crate) use names::{mentions, reads, relations, width_of};
use patterns::{among, like_among};
pub(crate) use series::quoted;
pub(super) use series::{PAIRS, is_constant, query_of};
use series::{set_in_from, sets_in_select};
use std::ops::ControlFlow;

/// The function that gives a field of a row.
pub(super) const FIELD: &str = "get_field";

/// Before the name of a relation that stands for its row, whatever else is called so.
pub(super) const ROW_MARK: char = '\u{3}';

/// What it costs to rewrite an expression, beside a byte of a value.
const EXPR_WORK: usize = 1_000;

/// Visits all expressions of a statement, the inner ones first.
pub(super) fn visit_all(statement: &mut DfStatement, each: &mut dyn FnMut(&mut Expr)) {
    match statement {
        DfStatement::Statement(statement) => {
            // What is not finished because nobody wants it any more is not planned either.
            let _finished: ControlFlow<()> = statement.each_expr_mut(&mut |expr| {
                each(expr);
                match stop::work(EXPR_WORK) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_stopped) => ControlFlow::Break(()),
                }
            });
        }
        DfStatement::Explain(explain) => visit_all(&mut explain.statement, each),
        _ => {}
    }
}

/// Rewrites a statement for a session.
pub(crate) fn rewrite(statement: &mut DfStatement, session: &Session) -> Result<(), SqlError> {
    match statement {
        DfStatement::Statement(statement) => rewrite_sql(statement, Some(session)),
        DfStatement::Explain(explain) => rewrite(&mut explain.statement, session),
        _ => Ok(()),
    }
}

/// Rewrites a query that nobody in particular asks.
pub(crate) fn rewrite_query(statement: &mut SqlStatement) -> Result<(), SqlError> {
    rewrite_sql(statement, None)
}

fn rewrite_sql(statement: &mut SqlStatement, session: Option<&Session>) -> Result<(), SqlError> {
    let mut rewriter = Rewriter { session, failed: None };
    if let ControlFlow::Break(()) = statement.walk_mut(&mut rewriter) {
        return Err(rewriter
            .failed
            .unwrap_or_else(|| SqlError::new(SqlState::Internal, "a rewrite failed")));
    }
    Ok(())
}

/// Rewrites an expression that stands alone.
pub(super) fn rewrite_expr(expr: &mut Expr) {
    let mut rewriter = Rewriter { session: None, failed: None };
    let _finished = expr.walk_mut(&mut rewriter);
}

struct Rewriter<'a> {
    session: Option<&'a Session>,
    failed: Option<SqlError>,
}

impl Rewriter<'_> {
    fn fail(&mut self, error: SqlError) -> ControlFlow<()> {
        self.failed = Some(error);
        ControlFlow::Break(())
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // FOR UPDATE and FOR SHARE: whoever reads what another one writes is told at COMMIT.
        query.locks.clear();
        if let SetExpr::Select(select) = query.body.as_mut() {
            name_early(&mut select.projection);
            sets_in_select(select);
            group_nothing(select);
            ordered::keep_order(select);
            if let Some(condition) = select.selection.take() {
                select.selection = Some(conditions(condition));
            }
            spelled_conditions(select);
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                {
                    memberships(expr);
                }
            }
        }
        if let SetExpr::Values(rows) = query.body.as_mut() {
            values::share_types(rows);
        }
        if let Err(error) = check_limit(query) {
            return self.fail(error);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        count_equal_rows(query.body.as_mut());
        name_body(query.body.as_mut());
        if let Err(error) = check_order(query) {
            return self.fail(error);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if matches!(factor, TableFactor::Table { sample: Some(_), .. }) {
            return self.fail(SqlError::unsupported("TABLESAMPLE is not supported"));
        }
        set_in_from(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match stop::work(EXPR_WORK).and_then(|()| rewrite_one(expr, self.session)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => self.fail(error),
        }
    }
}

fn name_body(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_items(&mut select.projection),
        SetExpr::SetOperation { left, right, .. } => {
            name_body(left);
            name_body(right);
        }
        _ => {}
    }
}

/// `ON ('true')`: a text that stands where a condition does is read as one.
fn spelled_conditions(select: &mut Select) {
    let read = |condition: &mut Expr| {
        let mut inner = &*condition;
        while let Expr::Nested(deeper) = inner {
            inner = deeper;
        }
        if let Expr::Value(value) = inner
            && let Value::SingleQuotedString(text) = &value.value
            && let Some(truth) = boolean(text)
        {
            *condition = Expr::Value(Value::Boolean(truth).into());
        }
    };
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        if let Some(JoinConstraint::On(condition)) = constraint_of(&mut join.join_operator) {
            read(condition);
        }
    }
    select.selection.iter_mut().chain(&mut select.having).for_each(read);
}

fn constraint_of(join: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// GROUP BY () is one group.
fn group_nothing(select: &mut Select) {
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by
        && exprs.len() == 1
        && matches!(exprs.first(), Some(Expr::Tuple(parts)) if parts.is_empty())
        && select.projection.iter().any(|item| {
            matches!(
                item,
                SelectItem::UnnamedExpr(Expr::Function(_))
                    | SelectItem::ExprWithAlias { expr: Expr::Function(_), .. }
            )
        })
    {
        exprs.clear();
    }
}

/// Rewrites an expression whose parts are rewritten already.
fn rewrite_one(expr: &mut Expr, session: Option<&Session>) -> Result<(), SqlError> {
    if let Some(among) = literals::any_of_text(expr) {
        *expr = among;
    }
    match expr {
        Expr::Value(_) | Expr::Interval(_) | Expr::TypedString(_) => {
            special::rewrite_literal(expr)?;
        }
        Expr::BinaryOp { .. } => operators::rewrite_binary(expr)?,
        Expr::UnaryOp { .. } => operators::rewrite_unary(expr),
        Expr::CompoundFieldAccess { .. } => operators::rewrite_fields(expr),
        Expr::InList { .. } => operators::rewrite_in_list(expr),
        Expr::Like { .. } | Expr::ILike { .. } => operators::rewrite_like(expr),
        Expr::SimilarTo { .. } => operators::rewrite_similar(expr),
        Expr::Case { operand, conditions, .. } => literals::case(operand, conditions),
        Expr::Collate { .. } => special::rewrite_collation(expr)?,
        Expr::Cast { .. } => {
            regclass::rewrite_regclass(expr, session)?;
            literals::exact_numeric(expr);
        }
        Expr::Function(_) => rewrite_function(expr, session)?,
        Expr::QualifiedWildcard(ObjectName(parts), _) => {
            if let [ObjectNamePart::Identifier(name)] = parts.as_slice() {
                let row = format!("{ROW_MARK}{}", folded(name));
                *expr = Expr::Identifier(Ident::with_quote('"', row));
            }
        }
        Expr::Identifier(name) if name.quote_style.is_none() => {
            let lower = name.value.to_lowercase();
            if let Some(constant) = constant_of(&lower, session) {
                *expr = constant;
            }
        }
        _ => {
            if let Some(call) = special::as_call(expr) {
                *expr = call;
            }
        }
    }
    Ok(())
}
