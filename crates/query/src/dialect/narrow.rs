//! Whole numbers as they are written are `integer` in Postgres where they fit, and `numeric` beyond 64 bits.

use super::casts::transform;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};

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

/// Narrows the literals of a plan.
pub(crate) fn narrow_literals(plan: LogicalPlan) -> Result<LogicalPlan> {
    // A limit is a bigint.
    transform(plan, &narrowed)
}

/// Narrows the literals of an expression.
pub(crate) fn narrow_expr(expr: Expr) -> Result<Expr> {
    let nothing = DFSchema::empty();
    Ok(expr.transform_up(|expr| narrowed(expr, &nothing))?.data)
}
