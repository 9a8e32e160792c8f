//! Makes DataFusion's SQL Postgres'. Statements are rewritten before they are planned
//! (`rewrite.rs`, `names.rs`), operators and types are planned here (`operators.rs`,
//! `sql_types.rs`), and plans get Postgres' casts and checked arithmetic (`casts.rs`,
//! `arithmetic.rs`).

mod apply;
mod arithmetic;
mod cast;
mod casts;
mod chain;
mod coalesce;
mod collecting;
mod extreme;
mod grammar;
mod grouping;
mod hoist;
mod lateral;
mod names;
mod narrow;
mod numerics;
mod objects;
mod once;
mod operators;
mod outside;
mod parameters;
pub(crate) mod repair;
mod rewrite;
mod sets;
mod sql_types;
mod subqueries;
mod sum;
mod times;
mod using;

pub(crate) use apply::ApplyCorrelated;
pub(crate) use arithmetic::CheckedArithmetic;
pub(crate) use cast::{assign_array, cast_array};
pub(crate) use casts::{PostgresCasts, cast_to};
pub(crate) use chain::{all_of, chain};
pub(crate) use coalesce::coalesce;
pub(crate) use collecting::collecting_aggregates;
pub(crate) use grammar::Grammar;
pub(crate) use grouping::HideGrouped;
pub(crate) use hoist::HoistSubqueries;
pub(crate) use lateral::PullUpLateral;
pub(crate) use names::{distinct, name_of, shown};
pub(crate) use narrow::narrow_literals;
pub(crate) use numerics::numeric_aggregates;
pub(crate) use objects::{naming_functions, number_of_object, show_names};
pub(crate) use operators::Operators;
pub(crate) use parameters::{
    count_parameters, has_parameters_in_tables, type_parameters, types_of_casts, types_of_plan,
};
pub(crate) use rewrite::{
    call, mentions, quoted, reads, relations, rewrite, rewrite_query, width_of,
};
pub(crate) use sql_types::{Types, assignable, assignable_sql, column_type, field_of_oid};
pub(crate) use times::ReadMicroseconds;

use crate::error::{SqlError, SqlState};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{CastKind, DataType as SqlType, Expr as SqlExpr};
use datafusion::sql::sqlparser::parser::Parser;

/// An expression from its text.
pub(crate) fn parse_expr(text: &str) -> Result<SqlExpr, SqlError> {
    let dialect = Grammar::default();
    let mut parser = Parser::new(&dialect).with_recursion_limit(100).try_with_sql(text)?;
    let expr = parser.parse_expr()?;
    match parser.peek_token().token {
        datafusion::sql::sqlparser::tokenizer::Token::EOF => Ok(expr),
        other => Err(SqlError::new(
            SqlState::SyntaxError,
            format!("syntax error at or near \"{other}\""),
        )),
    }
}

/// A cast of an expression.
pub(crate) fn cast_expr(expr: SqlExpr, kind: &SqlType) -> Result<SqlExpr, SqlError> {
    Ok(SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: kind.clone(),
        array: false,
        format: None,
    })
}

/// An expression over a schema's columns, planned.
pub(crate) fn plan_expr(
    state: &SessionState,
    text: &str,
    schema: &DFSchema,
) -> Result<Expr, SqlError> {
    let mut expr = parse_expr(text)?;
    rewrite::rewrite_expr(&mut expr);
    let planned = state.create_logical_expr_from_sql_expr(
        datafusion::sql::sqlparser::ast::ExprWithAlias { expr, alias: None },
        schema,
    )?;
    Ok(narrow::narrow_expr(planned)?)
}

/// An expression without columns, with Postgres' casts, ready to be computed.
pub(crate) fn constant_expr(
    expr: Expr,
    session: &dyn datafusion::catalog::Session,
) -> datafusion::common::Result<Expr> {
    use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
    use datafusion::optimizer::AnalyzerRule;
    let plan =
        LogicalPlanBuilder::empty(true).project(vec![narrow::narrow_expr(expr)?])?.build()?;
    let options = session.config_options();
    let plan = datafusion::optimizer::analyzer::type_coercion::TypeCoercion::new()
        .analyze(plan, options)?;
    let plan = PostgresCasts::default().analyze(plan, options)?;
    match plan {
        LogicalPlan::Projection(mut projection) => {
            Ok(projection.expr.pop().unwrap_or_else(|| datafusion::logical_expr::lit(0)).unalias())
        }
        _ => Err(SqlError::new(SqlState::Internal, "a constant became something else").into()),
    }
}
