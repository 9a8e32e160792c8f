//! Whole numbers as they are written are `integer` in Postgres where they fit, and `numeric` beyond 64 bits.

use super::casts::transform;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Values};

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

/// VALUES have the types that their rows have in common, so they are made anew; a null has none of its own.
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

/// Narrows the literals of a plan.
pub(crate) fn narrow_literals(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Values(values) => narrow_values(values).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    let plan = transform(plan.data, &narrowed)?;
    super::subqueries::plan_subqueries(super::sets::plan_sets(plan)?)
}

/// Narrows the literals of an expression.
pub(crate) fn narrow_expr(expr: Expr) -> Result<Expr> {
    let nothing = DFSchema::empty();
    Ok(expr.transform_up(|expr| narrowed(expr, &nothing))?.data)
}
