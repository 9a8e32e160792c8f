//! What a plan must not do that is kept up to date.

use super::*;

/// A view must say the same tomorrow as today.
pub(super) fn check_deterministic(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut offender = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    offender.get_or_insert_with(|| call.func.name().to_owned());
                }
                if let Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) = expr {
                    offender.get_or_insert_with(|| "a subquery in an expression".to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match offender {
        Some(name) => refuse(format!("{name} does not give the same answer each time")),
        None => Ok(()),
    }
}

/// An aggregate whose answer depends on the order of the rows would change with the knobs.
pub(super) fn check_order(aggregates: &[AggregatePlan]) -> Result<(), SqlError> {
    for aggregate in aggregates {
        let name = aggregate.function.fun().name();
        let ordered = !aggregate.function.order_bys().is_empty();
        let order_matters =
            matches!(name, "first_value" | "last_value" | "nth_value" | "array_agg" | "string_agg");
        if order_matters && !ordered {
            let message = format!(
                "this cannot be maintained incrementally: {name} depends on the order of the rows"
            );
            return Err(SqlError::new(SqlState::FeatureNotSupported, message)
                .hint(format!("{name}(… ORDER BY …) does not")));
        }
    }
    Ok(())
}

/// A row of a hopping or session window does not know its window yet, so nothing may be computed
/// from it.
pub(crate) fn bounds_untouched(
    expr: &Expr,
    schema: &DFSchema,
    window: Option<WindowKind>,
    tags: &Tags,
) -> Result<(), SqlError> {
    if !matches!(window, Some(WindowKind::Hop { .. } | WindowKind::Session { .. })) {
        return Ok(());
    }
    for column in expr.column_refs() {
        let index = schema.maybe_index_of_column(column);
        if index.and_then(|index| tags.get(index)).is_some_and(Option::is_some) {
            return refuse(format!("{expr} is computed from {START} or {END} before grouping"))
                .map_err(|error| {
                    error.hint(
                        "compute it from the grouped columns, or read the view with this condition",
                    )
                });
        }
    }
    Ok(())
}

/// The column of the source that an expression is, unchanged.
pub(super) fn traced(expr: &Expr, plan: &LogicalPlan) -> Option<usize> {
    let Expr::Column(column) = expr else {
        let Expr::Alias(alias) = expr else { return None };
        return traced(&alias.expr, plan);
    };
    let index = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::TableScan(scan) => match &scan.projection {
            Some(projection) => projection.get(index).copied(),
            None => Some(index),
        },
        LogicalPlan::Projection(node) => traced(node.expr.get(index)?, &node.input),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) => {
            let input = plan.inputs().first().copied()?;
            let (qualifier, field) = input.schema().qualified_field(index);
            traced(&Expr::Column((qualifier, field).into()), input)
        }
        _ => None,
    }
}
