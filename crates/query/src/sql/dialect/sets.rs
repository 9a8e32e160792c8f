//! Set operations. Rows count as often as they are there (INTERSECT ALL, EXCEPT ALL), and a text
//! without a type gets the type that the other query has in its place.

use crate::error::{SqlError, SqlState};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Projection, Union, WindowFunctionDefinition,
};
use std::sync::Arc;

/// The column that tells equal rows apart where each of them counts.
pub(super) const RANK: &str = "thalweg_rank";

/// Gives plans of set operations what their queries leave open.
pub(super) fn plan_sets(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Projection(projection) if is_ranked(&projection) => {
            ranked(projection).map(Transformed::yes)
        }
        LogicalPlan::Union(union) => typed(union),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

fn is_ranked(projection: &Projection) -> bool {
    let Some(Expr::Alias(alias)) = projection.expr.last() else { return false };
    alias.name == RANK && matches!(alias.expr.as_ref(), Expr::Literal(..))
}

/// The first of several equal rows is 1, the second 2.
fn ranked(mut projection: Projection) -> Result<LogicalPlan> {
    projection.expr.pop();
    let count = projection.expr.len();
    let plan = LogicalPlanBuilder::from(projection.input.as_ref().clone())
        .project(projection.expr)?
        .build()?;
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let rank = Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(
            datafusion::functions_window::row_number::row_number_udwf(),
        ),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by: columns.clone(),
            order_by: Vec::new(),
            window_frame: datafusion::logical_expr::WindowFrame::new(None),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }));
    let plan = LogicalPlanBuilder::from(plan).window(vec![rank])?.build()?;
    let rank = plan.schema().columns().into_iter().nth(count).map(Expr::Column);
    let columns = columns.into_iter().chain(rank.map(|rank| rank.alias(RANK)));
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// The text of a column that a query gives as a literal.
fn literal_at(plan: &LogicalPlan, place: usize) -> bool {
    let LogicalPlan::Projection(projection) = plan else { return false };
    let expr = projection.expr.get(place).map(|expr| match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    });
    matches!(expr, Some(Expr::Literal(value, _)) if is_text(&value.data_type()))
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

/// A text as a value of the type that the other queries give.
fn literal_as(expr: Expr, wanted: &Field) -> Result<Expr> {
    Ok(match &expr {
        Expr::Literal(value, _) => {
            Expr::Literal(super::cast::cast_scalar(value, wanted, &Default::default())?, None)
        }
        _ => expr,
    })
}

fn typed(union: Union) -> Result<Transformed<LogicalPlan>> {
    let width = union.schema.fields().len();
    let mut inputs: Vec<LogicalPlan> =
        union.inputs.iter().map(|input| input.as_ref().clone()).collect();
    let mut changed = false;
    for place in 0..width {
        let known = |plan: &LogicalPlan| {
            let field = plan.schema().fields().get(place)?.clone();
            (!literal_at(plan, place) && !field.data_type().is_null()).then_some(field)
        };
        let fields: Vec<_> = inputs.iter().filter_map(known).collect();
        let Some(wanted) = fields.iter().find(|field| !is_text(field.data_type())) else {
            continue;
        };
        if let Some(text) = fields.iter().find(|field| is_text(field.data_type())) {
            let name = |field| crate::values::pg_type::of_field(field).element.sql;
            let message =
                format!("UNION types {} and {} cannot be matched", name(text), name(wanted));
            return Err(SqlError::new(SqlState::DatatypeMismatch, message).into());
        }
        let wanted = wanted.clone();
        for input in &mut inputs {
            if !literal_at(input, place) {
                continue;
            }
            let LogicalPlan::Projection(projection) = input else { continue };
            let mut exprs = projection.expr.clone();
            if let Some(expr) = exprs.get_mut(place) {
                let name = projection.schema.field(place).name().clone();
                *expr = literal_as(expr.clone().unalias(), &wanted)?.alias(name);
            }
            *input = LogicalPlanBuilder::from(projection.input.as_ref().clone())
                .project(exprs)?
                .build()?;
            changed = true;
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = inputs.into_iter().map(Arc::new).collect();
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}
