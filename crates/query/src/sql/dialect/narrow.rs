//! Whole numbers in a statement's text are `integer`, as in Postgres, if they fit, and `numeric`
//! beyond 64 bits.

use super::casts::transform;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Cast, Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, Values,
};
use std::sync::Arc;

fn narrowed(expr: Expr, _: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), metadata)),
            Err(_) => Transformed::no(Expr::Literal(ScalarValue::Int64(Some(value)), metadata)),
        },
        Expr::Literal(ScalarValue::UInt64(Some(value)), metadata) => {
            let wide = ScalarValue::Decimal128(Some(value.into()), 20, 0);
            Transformed::yes(Expr::Literal(wide, metadata))
        }
        other => Transformed::no(other),
    })
}

/// VALUES have the types that their rows have in common, so they are made anew; a null has none of
/// its own.
fn narrow_values(values: Values) -> Result<LogicalPlan> {
    let nothing = DFSchema::empty();
    let schema = values.schema.clone();
    let rows = values.values.into_iter().map(|row| {
        row.into_iter()
            .map(|expr| {
                Ok(match expr.transform_up(|expr| narrowed(expr, &nothing))?.data {
                    Expr::Literal(value, _) if value.is_null() => {
                        Expr::Literal(ScalarValue::Null, None)
                    }
                    other => other,
                })
            })
            .collect::<Result<Vec<Expr>>>()
    });
    let plan = LogicalPlanBuilder::values(rows.collect::<Result<Vec<_>>>()?)?.build()?;
    // The columns keep their names.
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let same = plan.schema().fields().iter().zip(&names).all(|(field, name)| field.name() == *name);
    if same {
        return Ok(plan);
    }
    let columns = plan.schema().columns().into_iter().zip(names);
    let columns: Vec<Expr> =
        columns.map(|(column, name)| Expr::Column(column).alias(name)).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// Both parts of a recursive query keep the types that it was planned with, for it reads itself
/// with these.
fn keep_types(query: RecursiveQuery) -> Result<LogicalPlan> {
    let typed = |part: &LogicalPlan| -> Result<Arc<LogicalPlan>> {
        let columns = part.schema().columns().into_iter().zip(query.schema.fields());
        let columns = columns.map(|(column, field)| {
            let name = column.name.clone();
            let cast = Cast::new(Box::new(Expr::Column(column)), field.data_type().clone());
            Expr::Cast(cast).alias(name)
        });
        let columns: Vec<Expr> = columns.collect();
        Ok(Arc::new(LogicalPlanBuilder::from(part.clone()).project(columns)?.build()?))
    };
    Ok(LogicalPlan::RecursiveQuery(RecursiveQuery {
        static_term: typed(&query.static_term)?,
        recursive_term: typed(&query.recursive_term)?,
        ..query.clone()
    }))
}

/// Narrows the literals of a plan.
pub(crate) fn narrow_literals(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::RecursiveQuery(query) => keep_types(query).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    let plan = plan.data;
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Values(values) => narrow_values(values).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    let plan = transform(plan.data, &narrowed)?;
    let plan = super::subqueries::plan_subqueries(super::sets::plan_sets(plan)?)?;
    super::numerics::plan_numerics(plan)
}

/// Narrows the literals of an expression.
pub(crate) fn narrow_expr(expr: Expr) -> Result<Expr> {
    let nothing = DFSchema::empty();
    Ok(expr.transform_up(|expr| narrowed(expr, &nothing))?.data)
}
