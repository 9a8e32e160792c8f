//! Subqueries that DataFusion plans only in part: values that may turn out to be several, and NOT
//! IN that looks at the row outside.

mod only_one;

use crate::error::{SqlError, SqlState};
use crate::values::pg_type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery, Sort as SortExpr};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, ExprFunctionExt, LogicalPlan,
    LogicalPlanBuilder, Signature, Subquery, Values, Volatility,
};
pub(super) use only_one::ONLY_ONE;
use only_one::{FirstTwo, only_one};
use std::sync::Arc;

/// Plans a statement's subqueries so that DataFusion can join them.
pub(super) fn plan_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Filter(mut filter) => {
                let parts = split_conjunction_owned(filter.predicate);
                let schema = filter.input.schema().clone();
                let parts = parts.into_iter().map(|part| not_in(part, &schema));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                filter.predicate =
                    conjunction(parts).unwrap_or_else(|| datafusion::logical_expr::lit(true));
                LogicalPlan::Filter(filter)
            }
            LogicalPlan::Values(values) => rows_of_values(values)?,
            other => other,
        };
        node.map_expressions(|expr| expr.transform_up(single))
    })?;
    Ok(plan.data)
}

/// VALUES with subqueries as the union of its rows: DataFusion computes VALUES while it plans, when
/// no subquery has run.
fn rows_of_values(values: Values) -> Result<LogicalPlan> {
    let mut cells = values.values.iter().flatten();
    if !cells.any(has_subquery) {
        return Ok(LogicalPlan::Values(values));
    }
    let fields = values.schema.fields().clone();
    let rows = values.values.into_iter().map(|row| {
        let cells = row.into_iter().zip(&fields).map(|(cell, field)| {
            let kind = field.data_type();
            let cell = if kind.is_null() { cell } else { super::cast_to(cell, field) };
            cell.alias(field.name())
        });
        LogicalPlanBuilder::empty(true).project(cells.collect::<Vec<_>>())?.build()
    });
    let mut rows = rows.collect::<Result<Vec<_>>>()?.into_iter();
    let first = rows.next().map_or_else(|| LogicalPlanBuilder::empty(false).build(), Ok)?;
    rows.try_fold(first, |all, row| LogicalPlanBuilder::from(all).union(row)?.build())
}

/// Whether a subquery is in an expression.
pub(super) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|part| {
        Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)))
    })
    .unwrap_or(true)
}

fn first_column(plan: &LogicalPlan) -> Option<Column> {
    plan.schema().columns().into_iter().next()
}

/// A column of the row outside, as the subquery sees it.
fn seen_from_inside(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr
        .transform_up(|expr| {
            Ok(match expr {
                Expr::Column(column) => {
                    let field = schema.field_from_column(&column)?.clone();
                    Transformed::yes(Expr::OuterReferenceColumn(field, column))
                }
                other => Transformed::no(other),
            })
        })?
        .data)
}

/// `v NOT IN (correlated query)`: no row of it that is equal, and none where that is unknown.
fn not_in(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Expr::InSubquery(InSubquery { expr: value, subquery, negated: true }) = expr else {
        return Ok(expr);
    };
    let unchanged =
        |value, subquery| Ok(Expr::InSubquery(InSubquery { expr: value, subquery, negated: true }));
    if subquery.outer_ref_columns.is_empty() {
        return unchanged(value, subquery);
    }
    let Some(member) = first_column(&subquery.subquery) else { return unchanged(value, subquery) };
    let outer = seen_from_inside(value.as_ref().clone(), schema)?;
    let member = Expr::Column(member);
    let unknown = member.clone().is_null().or(outer.clone().is_null());
    let condition = member.eq(outer).or(unknown);
    let plan =
        LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).filter(condition)?.build()?;
    let mut outside = subquery.outer_ref_columns;
    for column in value.column_refs() {
        let field = schema.field_from_column(column)?.clone();
        let column = Expr::OuterReferenceColumn(field, column.clone());
        if !outside.contains(&column) {
            outside.push(column);
        }
    }
    let subquery =
        Subquery { subquery: Arc::new(plan), outer_ref_columns: outside, spans: subquery.spans };
    Ok(Expr::Exists(Exists::new(subquery, true)))
}

/// Whether a plan has one row at most, by its nature.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => group_expr.is_empty(),
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        _ => false,
    }
}

/// A query of one column as an aggregate: the values it has, two at most, or the first one where it
/// asks for one.
fn as_aggregate(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, bool)>> {
    let LogicalPlan::Limit(limit) = plan else {
        let Some(column) = first_column(plan) else { return Ok(None) };
        let values = Arc::new(AggregateUDF::from(FirstTwo::default()));
        let plan = LogicalPlanBuilder::from(plan.clone())
            .aggregate(Vec::<Expr>::new(), vec![values.call(vec![Expr::Column(column)])])?;
        return Ok(Some((plan.build()?, false)));
    };
    let is_one = |expr: &Option<Box<Expr>>, wanted: i64| match expr.as_deref() {
        Some(Expr::Literal(value, _)) => value
            .cast_to(&DataType::Int64)
            .is_ok_and(|value| value == ScalarValue::Int64(Some(wanted))),
        None => wanted == 0,
        _ => false,
    };
    if !is_one(&limit.fetch, 1) || !is_one(&limit.skip, 0) {
        return Ok(None);
    }
    // The order may be below the columns that the query gives.
    let (value, ordered) = match limit.input.as_ref() {
        LogicalPlan::Projection(projection)
            if matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) =>
        {
            let Some(value) = projection.expr.first() else { return Ok(None) };
            (value.clone().unalias(), projection.input.as_ref())
        }
        other => {
            let Some(column) = first_column(other) else { return Ok(None) };
            (Expr::Column(column), other)
        }
    };
    let (order, input): (Vec<SortExpr>, &LogicalPlan) = match ordered {
        LogicalPlan::Sort(sort) => (sort.expr.clone(), sort.input.as_ref()),
        other => (Vec::new(), other),
    };
    let first = datafusion::functions_aggregate::first_last::first_value_udaf();
    let first = match order.is_empty() {
        true => first.call(vec![value]),
        false => first.call(vec![value]).order_by(order).build()?,
    };
    let plan = LogicalPlanBuilder::from(input.clone())
        .aggregate(Vec::<Expr>::new(), vec![first])?
        .build()?;
    Ok(Some((plan, true)))
}

/// The conditions of a query that are about the row outside alone, and the query without them.
fn outside_conditions(plan: &LogicalPlan) -> Result<Option<(Expr, LogicalPlan)>> {
    if let LogicalPlan::Filter(filter) = plan {
        let parts = split_conjunction_owned(filter.predicate.clone());
        let (outside, inside): (Vec<Expr>, Vec<Expr>) = parts
            .into_iter()
            .partition(|part| part.contains_outer() && part.column_refs().is_empty());
        let Some(condition) = conjunction(outside) else { return Ok(None) };
        let input = filter.input.as_ref().clone();
        let rest = match conjunction(inside) {
            Some(inside) => LogicalPlanBuilder::from(input).filter(inside)?.build()?,
            None => input,
        };
        return Ok(Some((seen_from_outside(condition)?, rest)));
    }
    if !matches!(
        plan,
        LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
    ) {
        return Ok(None);
    }
    let Some(input) = plan.inputs().into_iter().next() else { return Ok(None) };
    let Some((condition, input)) = outside_conditions(input)? else { return Ok(None) };
    Ok(Some((condition, plan.with_new_exprs(plan.expressions(), vec![input])?)))
}

/// The columns of the row outside, as the row itself sees them.
fn seen_from_outside(expr: Expr) -> Result<Expr> {
    Ok(expr
        .transform_up(|expr| {
            Ok(match expr {
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                other => Transformed::no(other),
            })
        })?
        .data)
}

/// A query of a value that is computed from the row outside, too: first a query of what it takes
/// from its own rows, then, outside, the value.
fn lift(subquery: &Subquery) -> Result<Option<Expr>> {
    let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() else { return Ok(None) };
    let [value] = projection.expr.as_slice() else { return Ok(None) };
    // One within would be moved away from the rows that it looks at.
    if !value.contains_outer() || has_subquery(value) {
        return Ok(None);
    }
    let mut columns: Vec<Column> = value.column_refs().into_iter().cloned().collect();
    columns.sort();
    let mut fields =
        vec![datafusion::logical_expr::lit("there"), datafusion::logical_expr::lit(true)];
    for (place, column) in columns.iter().enumerate() {
        fields.push(datafusion::logical_expr::lit(format!("c{place}")));
        fields.push(Expr::Column(column.clone()));
    }
    let row = datafusion::functions::core::named_struct().call(fields).alias("row");
    let plan = LogicalPlanBuilder::from(projection.input.as_ref().clone()).project([row])?;
    let rows = Subquery { subquery: Arc::new(plan.build()?), ..subquery.clone() };
    let row = single(Expr::ScalarSubquery(rows))?.data;
    let field = |name: String| {
        let name = datafusion::logical_expr::lit(name);
        datafusion::functions::core::get_field().call(vec![row.clone(), name])
    };
    let lifted = value.clone().unalias_nested().data.transform_up(|part| {
        Ok(match part {
            Expr::Column(column) => match columns.binary_search(&column) {
                Ok(place) => Transformed::yes(field(format!("c{place}"))),
                Err(_) => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })?;
    let lifted = seen_from_outside(lifted.data)?;
    let there = field("there".to_owned());
    let lifted = datafusion::logical_expr::when(there, lifted).end()?;
    // The type that Arrow does not tell.
    let told = projection.schema.field(0);
    Ok(Some(match pg_type::declared(told) {
        Some(_) => super::cast_to(lifted, told),
        None => lifted,
    }))
}

/// A query that stands for a value may have one row at most; whether it has, is known when it has
/// run.
fn single(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(subquery) = expr else { return Ok(Transformed::no(expr)) };
    if let Some(lifted) = lift(&subquery)? {
        return Ok(Transformed::yes(lifted));
    }
    if is_one_row(&subquery.subquery) || subquery.subquery.schema().fields().len() != 1 {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let is_correlated = !subquery.outer_ref_columns.is_empty();
    if !is_correlated && matches!(subquery.subquery.as_ref(), LogicalPlan::Limit(_)) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let (condition, plan) = match outside_conditions(&subquery.subquery)? {
        Some((condition, plan)) => (Some(condition), Arc::new(plan)),
        None => (None, subquery.subquery.clone()),
    };
    let Some((plan, is_value)) = as_aggregate(&plan)? else {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    };
    let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
    let value = Expr::ScalarSubquery(subquery);
    let value = if is_value { value } else { only_one().call(vec![value]) };
    let value = match condition {
        Some(condition) => datafusion::logical_expr::when(condition, value).end()?,
        None => value,
    };
    Ok(Transformed::yes(value))
}
