//! Large statements are planned in a task of their own. Planning holds its thread until it is done; so
//! whoever waits for it can be cancelled at once, and the task ends by itself, a few seconds later at most.

use crate::error::{SqlError, SqlState};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::visit_expressions;
use std::ops::ControlFlow;
use std::pin::Pin;

/// A statement with so many expressions is large, and so is a plan with so many columns.
const LARGE: usize = 400;

/// Whether a statement takes long to be planned.
pub(super) fn is_large(statement: &DfStatement) -> bool {
    let DfStatement::Statement(statement) = statement else { return false };
    let mut count = 0;
    let walked = visit_expressions(statement.as_ref(), |_| {
        count += 1;
        if count > LARGE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    walked.is_break()
}

/// The same of a plan.
pub(super) fn is_large_plan(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply(|node| {
        found |= node.schema().fields().len() > LARGE;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_err() || found
}

/// Waits for a plan, which is made elsewhere if it is large.
pub(super) async fn planned<T: Send + 'static>(
    is_large: bool,
    planning: Pin<Box<impl Future<Output = Result<T>> + Send + 'static>>,
) -> std::result::Result<T, SqlError> {
    if !is_large {
        return Ok(planning.await?);
    }
    match tokio::spawn(planning).await {
        Ok(planned) => Ok(planned?),
        Err(error) => Err(SqlError::new(SqlState::Internal, error.to_string())),
    }
}

/// Whether a plan reads nothing but the catalog. Its tables are small: dealt out to several threads they would only
/// become more and larger batches, and their rows come in another order each time.
pub(super) fn reads_only_catalog(plan: &LogicalPlan) -> bool {
    let (mut reads, mut reads_others) = (false, false);
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let is_catalog = match scan.table_name.schema() {
                Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
                None => scan.table_name.table().starts_with("pg_"),
            };
            reads |= is_catalog;
            reads_others |= !is_catalog;
        }
        Ok(match reads_others {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    walked.is_ok() && reads && !reads_others
}
