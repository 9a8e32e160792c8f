//! Which of the stream's columns the parts of a query with a join go back to.

use crate::error::SqlError;
use crate::views::compile::refuse;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use std::collections::BTreeSet;

/// The columns of the stream's rows that the nodes above them look at.
pub(super) fn uses(
    plan: &LogicalPlan,
    stream: &LogicalPlan,
    used: &mut BTreeSet<usize>,
) -> Result<(), SqlError> {
    if plan == stream {
        return Ok(());
    }
    // What a projection makes is looked at where it is used.
    if !matches!(plan, LogicalPlan::Projection(_)) {
        for expr in plan.expressions() {
            for input in plan.inputs() {
                add_columns(&expr, input, stream, used)?;
            }
        }
    }
    for input in plan.inputs() {
        uses(input, stream, used)?;
    }
    Ok(())
}

/// The columns of the stream's rows that an expression over a plan goes back to.
pub(super) fn add_columns(
    expr: &Expr,
    plan: &LogicalPlan,
    stream: &LogicalPlan,
    used: &mut BTreeSet<usize>,
) -> Result<(), SqlError> {
    for column in expr.column_refs() {
        let Some(index) = plan.schema().maybe_index_of_column(column) else { continue };
        if plan == stream {
            used.insert(index);
            continue;
        }
        match plan {
            LogicalPlan::Projection(node) => {
                if let Some(expr) = node.expr.get(index) {
                    add_columns(expr, &node.input, stream, used)?;
                }
            }
            LogicalPlan::Join(_) => {
                for input in plan.inputs() {
                    add_columns(&Expr::Column(column.clone()), input, stream, used)?;
                }
            }
            LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
                let inputs = plan.inputs();
                let Some(input) = inputs.first() else { continue };
                let (qualifier, field) = input.schema().qualified_field(index);
                add_columns(&Expr::Column((qualifier, field).into()), input, stream, used)?;
            }
            // Below here nothing is the stream's.
            _ => {}
        }
    }
    Ok(())
}

/// An expression as one over the stream's rows alone; nothing where it takes values from a table.
pub(super) fn over_stream(
    expr: &Expr,
    plan: &LogicalPlan,
    stream: &LogicalPlan,
) -> Result<Option<Expr>, SqlError> {
    let (mut expr, mut plan) = (expr.clone(), plan);
    while plan != stream {
        let LogicalPlan::Join(join) = plan else {
            (expr, plan) = step_down(expr, plan)?;
            continue;
        };
        let has_stream =
            |side: &LogicalPlan| side.exists(|node| Ok(node == stream)).unwrap_or(false);
        let side = if has_stream(&join.left) { &join.left } else { &join.right };
        let columns = expr.column_refs();
        if !columns.iter().all(|column| side.schema().maybe_index_of_column(column).is_some()) {
            return Ok(None);
        }
        plan = side;
    }
    Ok(Some(expr))
}

/// An expression over a plan as one over its topmost join, and that join.
pub(super) fn over_join<'a>(
    expr: &Expr,
    plan: &'a LogicalPlan,
) -> Result<(Expr, &'a LogicalPlan), SqlError> {
    let (mut expr, mut plan) = (expr.clone(), plan);
    while !matches!(plan, LogicalPlan::Join(_)) {
        (expr, plan) = step_down(expr, plan)?;
    }
    Ok((expr, plan))
}

/// An expression over a plan as one over its input, and that input.
fn step_down(expr: Expr, plan: &LogicalPlan) -> Result<(Expr, &LogicalPlan), SqlError> {
    let inputs = plan.inputs();
    let (
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_),
        Some(input),
    ) = (plan, inputs.first().copied())
    else {
        return refuse(format!("{} above a join", plan.display()));
    };
    let below = expr.transform(|part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        let index = plan.schema().index_of_column(column)?;
        let below = match plan {
            LogicalPlan::Projection(node) => {
                node.expr.get(index).cloned().map(Expr::unalias).unwrap_or(part)
            }
            _ => Expr::Column(input.schema().qualified_field(index).into()),
        };
        Ok(Transformed::new(below, true, TreeNodeRecursion::Jump))
    })?;
    Ok((below.data, input))
}
