//! GROUPING SETS over a column that is constant. ROLLUP, CUBE and GROUPING SETS add rows in which
//! such a column is null. DataFusion takes the column for constant above the grouping, too, and
//! drops an ORDER BY over it. So such columns go through a function whose result DataFusion does
//! not know. (The test `constants_below_grouping_sets` tells when this can go.)

use crate::functions::{Function, returns_same};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;
use std::collections::HashSet;
use std::sync::Arc;

/// Hides columns that grouping sets ask for.
#[derive(Debug)]
pub(crate) struct HideGrouped;

impl AnalyzerRule for HideGrouped {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) => hide(aggregate),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "hide_grouped"
    }
}

fn hide(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let mut grouped: HashSet<Column> = HashSet::new();
    for expr in aggregate.group_expr.iter().filter(|expr| matches!(expr, Expr::GroupingSet(_))) {
        grouped.extend(expr.column_refs().into_iter().cloned());
    }
    if grouped.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    // It says that it might give something else each time.
    let same = Function::new("thalweg_same", returns_same, |call| call.arg(0).cloned());
    let same = same.volatile().udf();
    let columns = aggregate.input.schema().iter().map(|(qualifier, field)| {
        let column = Column::new(qualifier.cloned(), field.name());
        if !grouped.contains(&column) {
            return Expr::Column(column);
        }
        let hidden = Expr::Column(column);
        Expr::ScalarFunction(ScalarFunction::new_udf(same.clone(), vec![hidden]))
            .alias_qualified(qualifier.cloned(), field.name())
    });
    let input = Projection::try_new(columns.collect(), aggregate.input)?;
    let (input, groups) = (Arc::new(LogicalPlan::Projection(input)), aggregate.group_expr);
    let aggregate = Aggregate::try_new(input, groups, aggregate.aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    /// What DataFusion does by itself: when this fails, the rule can go.
    #[tokio::test]
    async fn constants_below_grouping_sets() {
        let query = "SELECT id FROM (SELECT 'id' AS id UNION ALL SELECT 'id' AS id) AS t \
                     GROUP BY GROUPING SETS ((id), ()) ORDER BY id NULLS LAST";
        let plan = SessionContext::new().sql(query).await.expect("a plan");
        let plan = plan.create_physical_plan().await.expect("a physical plan");
        let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
        assert!(!shown.contains("SortExec"), "DataFusion sorts now: {shown}");
    }
}
