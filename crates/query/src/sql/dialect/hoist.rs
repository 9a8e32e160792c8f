//! Subqueries in the condition of a join and in ORDER BY. DataFusion does not plan them there. Each
//! becomes a column that is computed below, from the rows it reads, and removed above.

use super::subqueries::{ONLY_ONE, has_subquery};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::logical_plan::{Distinct, DistinctOn, Join};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Begins the names of such columns.
const NAME: &str = "\u{2}hoisted";

/// The rule.
#[derive(Debug)]
pub(crate) struct HoistSubqueries;

impl AnalyzerRule for HoistSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut number = 0;
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join)
                if join.filter.as_ref().is_some_and(has_subquery)
                    || join.on.iter().any(|(a, b)| has_subquery(a) || has_subquery(b)) =>
            {
                hoist_join(join, &mut number)
            }
            LogicalPlan::Sort(ref sort)
                if sort.expr.iter().any(|sort| has_subquery(&sort.expr)) =>
            {
                hoist_sort(node, &mut number)
            }
            LogicalPlan::Distinct(Distinct::On(distinct))
                if distinct.select_expr.iter().any(has_subquery) =>
            {
                hoist_distinct(distinct, &mut number)
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "hoist_subqueries"
    }
}

/// The rows of a plan with more columns.
struct Wider {
    plan: Arc<LogicalPlan>,
    added: Vec<Expr>,
}

impl Wider {
    fn add(&mut self, expr: Expr, number: &mut usize) -> Expr {
        *number += 1;
        let name = format!("{NAME}{number}");
        self.added.push(expr.alias(name.clone()));
        Expr::Column(Column::new_unqualified(name))
    }

    /// An expression over these rows alone, its subqueries as columns.
    fn hoist(&mut self, expr: Expr, number: &mut usize) -> Result<Expr> {
        let hoisted = expr.transform_down(|part| {
            Ok(match is_subquery(&part) {
                true => Transformed::new(self.add(part, number), true, TreeNodeRecursion::Jump),
                false => Transformed::no(part),
            })
        });
        hoisted.data()
    }

    fn build(self) -> Result<Arc<LogicalPlan>> {
        if self.added.is_empty() {
            return Ok(self.plan);
        }
        let columns = columns_of(&self.plan);
        let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(self.plan));
        Ok(Arc::new(plan.project(columns.into_iter().chain(self.added))?.build()?))
    }
}

fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

/// The columns of the row outside that a subquery looks at.
fn outside(expr: &Expr) -> Vec<Column> {
    let references = match expr {
        Expr::ScalarFunction(call) => return call.args.iter().flat_map(outside).collect(),
        Expr::ScalarSubquery(subquery) => &subquery.outer_ref_columns,
        Expr::Exists(exists) => &exists.subquery.outer_ref_columns,
        Expr::InSubquery(among) => &among.subquery.outer_ref_columns,
        _ => return Vec::new(),
    };
    let column = |expr: &Expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Some(column.clone()),
        _ => None,
    };
    references.iter().filter_map(column).collect()
}

/// A subquery, or the only value of one.
fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => true,
        Expr::ScalarFunction(call) => call.name() == ONLY_ONE && call.args.iter().any(is_subquery),
        _ => false,
    }
}

fn hoist_join(join: Join, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let all = join.schema.columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let mut left = Wider { plan: join.left.clone(), added: Vec::new() };
    let mut right = Wider { plan: join.right.clone(), added: Vec::new() };
    let (mut conditions, mut above) = (Vec::new(), Vec::new());
    let filter = join.filter.clone().into_iter().flat_map(split_conjunction_owned);
    for condition in filter {
        // A subquery that looks at both sides can be asked only about their pairs.
        let mut of_pairs = false;
        let hoisted = condition.clone().transform_down(|part| {
            if !is_subquery(&part) {
                return Ok(Transformed::no(part));
            }
            let hoisted = |part| Transformed::new(part, true, TreeNodeRecursion::Jump);
            let mut columns = outside(&part);
            if let Expr::InSubquery(among) = &part {
                columns.extend(among.expr.column_refs().into_iter().cloned());
            }
            let all_in =
                |plan: &LogicalPlan| columns.iter().all(|column| plan.schema().has_column(column));
            Ok(if all_in(&left.plan) {
                hoisted(left.add(part, number))
            } else if all_in(&right.plan) {
                hoisted(right.add(part, number))
            } else {
                of_pairs = true;
                Transformed::no(part)
            })
        })?;
        match of_pairs && join.join_type == JoinType::Inner {
            true => above.push(condition),
            false => conditions.push(hoisted.data),
        }
    }
    let mut on = Vec::with_capacity(join.on.len());
    for (of_left, of_right) in join.on {
        on.push((left.hoist(of_left, number)?, right.hoist(of_right, number)?));
    }
    let (left, right) = (left.build()?, right.build()?);
    let joined = Join::try_new(
        left,
        right,
        on,
        conjunction(conditions),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    let mut plan = LogicalPlanBuilder::from(LogicalPlan::Join(joined));
    if let Some(above) = conjunction(above) {
        plan = plan.filter(above)?;
    }
    Ok(Transformed::yes(plan.project(all)?.build()?))
}

fn hoist_distinct(distinct: DistinctOn, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let mut input = Wider { plan: distinct.input, added: Vec::new() };
    let mut select_expr = Vec::with_capacity(distinct.select_expr.len());
    for (expr, column) in distinct.select_expr.into_iter().zip(distinct.schema.columns()) {
        select_expr.push(match has_subquery(&expr) {
            true => input.hoist(expr, number)?.alias_qualified(column.relation, column.name),
            false => expr,
        });
    }
    let input = input.build()?;
    let distinct = DistinctOn::try_new(distinct.on_expr, select_expr, distinct.sort_expr, input)?;
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(distinct))))
}

fn hoist_sort(node: LogicalPlan, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Sort(mut sort) = node else { return Ok(Transformed::no(node)) };
    let columns = columns_of(&sort.input);
    let mut input = Wider { plan: sort.input.clone(), added: Vec::new() };
    for order in &mut sort.expr {
        if has_subquery(&order.expr) {
            order.expr = input.add(order.expr.clone(), number);
        }
    }
    sort.input = input.build()?;
    let plan = LogicalPlanBuilder::from(LogicalPlan::Sort(sort)).project(columns)?.build()?;
    Ok(Transformed::yes(plan))
}
