//! Large statements are planned on threads of their own. Planning cannot be stopped and holds its
//! thread until it is done. A client that waits for it can be cancelled at once, and the work ends
//! by itself a few seconds later at most. Two large plans are made at a time and others wait, so
//! the threads that answer everybody else stay free.

use crate::error::SqlError;
use crate::sql::stop;
use crate::sql::walk::Walk;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Expr, Visitor};
use std::ops::ControlFlow;
use std::pin::Pin;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// A statement with so many expressions is large, and so is a plan with so many columns or steps.
const LARGE: usize = 400;

/// Each level of a deep expression is looked at from all levels above it.
const DEEP: usize = 40;

/// Turns of large plans. One that nobody waits for any more keeps its turn until it is made.
static LARGE_PLANS: Semaphore = Semaphore::const_new(2);

/// Whether a statement takes long to be planned.
pub(super) fn is_large(statement: &DfStatement) -> bool {
    let DfStatement::Statement(statement) = statement else { return false };
    statement.walk(&mut Extent::default()).is_break()
}

/// How many expressions a statement has, and how deep they are.
#[derive(Default)]
struct Extent {
    count: usize,
    depth: usize,
}

impl Visitor for Extent {
    type Break = ();

    fn pre_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
        self.count += 1;
        self.depth += 1;
        match self.count > LARGE || self.depth > DEEP {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// The same of a plan.
pub(super) fn is_large_plan(plan: &LogicalPlan) -> bool {
    let (mut found, mut steps) = (false, 0);
    let walked = plan.apply(|node| {
        steps += 1;
        // One step may hold ten thousand conditions.
        node.apply_expressions(|expr| {
            expr.apply(|_| {
                steps += 1;
                Ok(match steps > LARGE {
                    true => TreeNodeRecursion::Stop,
                    false => TreeNodeRecursion::Continue,
                })
            })
        })?;
        found |= node.schema().fields().len() > LARGE || steps > LARGE;
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
    let turn = LARGE_PLANS.acquire().await.map_err(|_| SqlError::internal())?;
    let runtime = Handle::current();
    let stop = stop::current().unwrap_or_default();
    let work = move || {
        let _turn = turn;
        runtime.block_on(stop::within(stop, planning))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(planned) => Ok(planned?),
        Err(_panicked) => Err(SqlError::internal()),
    }
}

/// Whether a plan reads nothing but the catalog. Its tables are small: dealt out to several threads
/// they would only become more and larger batches, and their rows come in another order each time.
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
