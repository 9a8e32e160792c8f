//! LATERAL. In `FROM t, unnest(t.list)` the relation is made of the row beside it alone. DataFusion
//! has no plan for that, so its steps are done here on top of the rows beside it. A relation that
//! also reads other relations is joined by DataFusion where that is right, and otherwise read for
//! each row beside it (`apply/lateral.rs`).

use super::apply::{apply_join, is_joined};
use crate::database::Inner;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, JoinType, RecursionUnnestOption, Result, UnnestOptions};
use datafusion::functions_nested::expr_fn::array_empty;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::logical_plan::{Join, SubqueryAlias, Unnest};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::optimizer::AnalyzerRule;
use std::sync::{Arc, Weak};

/// Begins the names of such columns.
const NAME: &str = "\u{2}lateral";

/// The rule.
pub(crate) struct PullUpLateral(pub(crate) Weak<Inner>);

impl std::fmt::Debug for PullUpLateral {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullUpLateral")
    }
}

impl AnalyzerRule for PullUpLateral {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut number = 0;
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if is_lateral(&join.right) => {
                pull_join(join, &self.0, &mut number)
            }
            // One that looks at no row beside it is a relation like any other.
            LogicalPlan::SubqueryAlias(relation) => match relation.input.as_ref() {
                LogicalPlan::Subquery(inner) if inner.outer_ref_columns.is_empty() => {
                    let alias = SubqueryAlias::try_new(inner.subquery.clone(), relation.alias)?;
                    Ok(Transformed::yes(LogicalPlan::SubqueryAlias(alias)))
                }
                _ => Ok(Transformed::no(LogicalPlan::SubqueryAlias(relation))),
            },
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "pull_up_lateral"
    }
}

fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}

/// The rows beside, with the columns of the relation.
struct Pulled {
    plan: LogicalPlan,
    /// What the relation calls its columns, and what they are called here.
    own: Vec<(Column, Column)>,
}

/// How a relation's steps are done.
struct Puller<'a> {
    left: &'a LogicalPlan,
    /// A row beside it that makes no rows is kept.
    is_outer: bool,
    number: &'a mut usize,
}

impl Puller<'_> {
    fn name(&mut self) -> String {
        *self.number += 1;
        format!("{NAME}{}", self.number)
    }

    /// `None` where the relation is made of more than the row beside it.
    fn pull(&mut self, plan: &LogicalPlan) -> Result<Option<Pulled>> {
        match plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                Ok(Some(Pulled { plan: self.left.clone(), own: Vec::new() }))
            }
            LogicalPlan::Subquery(subquery) => self.pull(&subquery.subquery),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(pulled) = self.pull(&alias.input)? else { return Ok(None) };
                let names = alias.schema.columns().into_iter();
                let own = names.zip(pulled.own).map(|(name, (_, here))| (name, here)).collect();
                Ok(Some(Pulled { own, ..pulled }))
            }
            LogicalPlan::Filter(filter) if !self.is_outer => {
                let Some(pulled) = self.pull(&filter.input)? else { return Ok(None) };
                let condition = here(filter.predicate.clone(), &pulled.own)?;
                let plan = LogicalPlanBuilder::from(pulled.plan).filter(condition)?.build()?;
                Ok(Some(Pulled { plan, own: pulled.own }))
            }
            LogicalPlan::Projection(projection) => {
                let Some(pulled) = self.pull(&projection.input)? else { return Ok(None) };
                let mut exprs: Vec<Expr> =
                    self.left.schema().columns().into_iter().map(Expr::Column).collect();
                let mut own = Vec::new();
                for (expr, seen) in projection.expr.iter().zip(projection.schema.columns()) {
                    let name = self.name();
                    exprs.push(here(expr.clone().unalias(), &pulled.own)?.alias(name.clone()));
                    own.push((seen, Column::new_unqualified(name)));
                }
                let plan = LogicalPlanBuilder::from(pulled.plan).project(exprs)?.build()?;
                Ok(Some(Pulled { plan, own }))
            }
            LogicalPlan::Unnest(unnest) => self.pull_unnest(unnest),
            _ => Ok(None),
        }
    }

    fn pull_unnest(&mut self, unnest: &Unnest) -> Result<Option<Pulled>> {
        let Some(mut pulled) = self.pull(&unnest.input)? else { return Ok(None) };
        if !unnest.struct_type_columns.is_empty() {
            return Ok(None);
        }
        let mut exec_columns = Vec::new();
        for column in &unnest.exec_columns {
            let Some(column) = find(&pulled.own, column) else { return Ok(None) };
            exec_columns.push(column);
        }
        if self.is_outer {
            pulled.plan = empty_as_null(pulled.plan, &exec_columns)?;
        }
        let mut options = UnnestOptions::new()
            .with_preserve_nulls(self.is_outer || unnest.options.preserve_nulls());
        let mut own = Vec::new();
        for seen in unnest.schema.columns() {
            let made = unnest.options.recursions.iter().find(|made| made.output_column == seen);
            let column = match made {
                Some(made) => {
                    let Some(input_column) = find(&pulled.own, &made.input_column) else {
                        return Ok(None);
                    };
                    let output_column = Column::new_unqualified(self.name());
                    options = options.with_recursions(RecursionUnnestOption {
                        input_column,
                        output_column: output_column.clone(),
                        depth: made.depth,
                    });
                    output_column
                }
                None => match find(&pulled.own, &seen) {
                    Some(column) => column,
                    None => return Ok(None),
                },
            };
            own.push((seen, column));
        }
        let plan = Unnest::try_new(Arc::new(pulled.plan), exec_columns, options)?;
        Ok(Some(Pulled { plan: LogicalPlan::Unnest(plan), own }))
    }
}

fn find(own: &[(Column, Column)], column: &Column) -> Option<Column> {
    let found = own.iter().find(|(seen, _)| seen == column);
    // In its own relation a column needs no qualifier.
    let found = found.or_else(|| own.iter().find(|(seen, _)| seen.name == column.name));
    found.map(|(_, here)| here.clone())
}

/// An expression of the relation over the rows here.
fn here(expr: Expr, own: &[(Column, Column)]) -> Result<Expr> {
    expr.transform_up(|part| {
        Ok(match part {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            Expr::Column(column) => match find(own, &column) {
                Some(column) => Transformed::yes(Expr::Column(column)),
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })
    .data()
}

/// The same rows, their empty lists as NULL.
fn empty_as_null(plan: LogicalPlan, lists: &[Column]) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().map(|column| {
        if !lists.contains(&column) {
            return Expr::Column(column);
        }
        let list = Expr::Column(column.clone());
        let when = (Box::new(array_empty(list.clone())), Box::new(lit(ScalarValue::Null)));
        let case = Case::new(None, vec![when], Some(Box::new(list)));
        Expr::Case(case).alias(column.name)
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// A relation that is made of more than the row beside it.
fn joined_or_applied(
    join: Join,
    inner: &Weak<Inner>,
    number: &mut usize,
) -> Result<Transformed<LogicalPlan>> {
    match is_joined(&join.right) {
        true => Ok(Transformed::no(LogicalPlan::Join(join))),
        false => apply_join(inner, join, number),
    }
}

fn pull_join(
    join: Join,
    inner: &Weak<Inner>,
    number: &mut usize,
) -> Result<Transformed<LogicalPlan>> {
    let is_true =
        |filter: &Expr| matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    let has_condition = !join.on.is_empty() || join.filter.as_ref().is_some_and(|it| !is_true(it));
    let is_outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left if !has_condition => true,
        _ => return joined_or_applied(join, inner, number),
    };
    let mut puller = Puller { left: &join.left, is_outer, number };
    let Some(pulled) = puller.pull(&join.right)? else {
        return joined_or_applied(join, inner, number);
    };
    let mut plan = LogicalPlanBuilder::from(pulled.plan);
    let right = join.right.schema();
    let of_right = |expr: Expr| {
        expr.transform_up(|part| {
            Ok(match part {
                Expr::Column(column) if right.has_column(&column) => {
                    match find(&pulled.own, &column) {
                        Some(column) => Transformed::yes(Expr::Column(column)),
                        None => Transformed::no(Expr::Column(column)),
                    }
                }
                other => Transformed::no(other),
            })
        })
        .data()
    };
    for (of_left, other) in join.on {
        plan = plan.filter(of_left.eq(of_right(other)?))?;
    }
    if let Some(filter) = join.filter.filter(|filter| !is_true(filter)) {
        plan = plan.filter(of_right(filter)?)?;
    }
    let mut columns: Vec<Expr> =
        join.left.schema().columns().into_iter().map(Expr::Column).collect();
    for (seen, here) in pulled.own {
        columns.push(Expr::Column(here).alias_qualified(seen.relation, seen.name));
    }
    Ok(Transformed::yes(plan.project(columns)?.build()?))
}
