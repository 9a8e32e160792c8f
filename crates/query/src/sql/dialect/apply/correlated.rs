//! Which subqueries are run for each row outside.

use super::*;

/// An array of a type that says more than its own: what elements are declared to be.
pub(super) fn retyped(array: ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    if array.data_type() == kind {
        return Ok(array);
    }
    // What a literal stands for may be of fewer bits than a column was planned with.
    if !array.data_type().equals_datatype(kind) {
        return Ok(datafusion::arrow::compute::cast(&array, kind)?);
    }
    let data = array.into_data().into_builder().data_type(kind.clone());
    Ok(make_array(data.build()?))
}

/// The columns outside that a plan looks at, each once, with the expression that does.
pub(super) fn outside_columns(plan: &LogicalPlan) -> Vec<(Column, Expr)> {
    let mut columns: Vec<(Column, Expr)> = Vec::new();
    let mut note = |part: &Expr| {
        if let Expr::OuterReferenceColumn(_, column) = part
            && !columns.iter().any(|(known, _)| known == column)
        {
            columns.push((column.clone(), part.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    };
    let _walked = plan.apply(|node| node.apply_expressions(|expr| expr.apply(&mut note)));
    columns
}

/// Whether DataFusion joins a subquery rightly: the row outside is only in conditions, and for a
/// value, whose rows are grouped, only in equalities with a column.
pub(super) fn is_joinable(plan: &LogicalPlan, is_value: bool) -> bool {
    let of_inputs = || plan.inputs().into_iter().all(|input| is_joinable(input, is_value));
    match plan {
        LogicalPlan::Filter(filter) => {
            let parts = split_conjunction(&filter.predicate);
            let outside = parts.into_iter().filter(|part| part.contains_outer());
            let fits = |part: &Expr| {
                !has_subquery(part) && !is_applied(part) && (!is_value || is_equality(part))
            };
            outside.into_iter().all(fits) && of_inputs()
        }
        // There are no groups where there are no rows, but one row of a query without GROUP BY.
        LogicalPlan::Aggregate(aggregate) if !is_value && !aggregate.aggr_expr.is_empty() => {
            !contains_outside(plan)
        }
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => {
            !mentions_outside(plan) && of_inputs()
        }
        _ => !contains_outside(plan),
    }
}

/// Whether a subquery that is run for each row is in it: no join can wait for one.
pub(super) fn is_applied(expr: &Expr) -> bool {
    let applied = expr.exists(|part| {
        Ok(match part {
            Expr::ScalarFunction(call) => call.func.inner().is::<AsyncScalarUDF>(),
            _ => false,
        })
    });
    applied.unwrap_or(true)
}

/// `column = something of the row outside`.
pub(super) fn is_equality(expr: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = expr else { return false };
    let is_inside = |side: &Expr| matches!(side, Expr::Column(_));
    let is_outside = |side: &Expr| side.column_refs().is_empty();
    (is_inside(left) && is_outside(right)) || (is_inside(right) && is_outside(left))
}

/// Whether a node's own expressions look at the row outside.
pub(super) fn mentions_outside(plan: &LogicalPlan) -> bool {
    plan.expressions().iter().any(|expr| expr.contains_outer() || has_outside_subquery(expr))
}

pub(super) fn has_outside_subquery(expr: &Expr) -> bool {
    expr.exists(|part| {
        Ok(match part {
            Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
            Expr::Exists(exists) => !exists.subquery.outer_ref_columns.is_empty(),
            Expr::InSubquery(among) => !among.subquery.outer_ref_columns.is_empty(),
            _ => false,
        })
    })
    .unwrap_or(true)
}

pub(super) fn contains_outside(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply(|node| {
        found |= node.expressions().iter().any(Expr::contains_outer);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_err() || found
}
