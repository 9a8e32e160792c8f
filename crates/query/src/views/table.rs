//! A view as a table: its groups as they are now, and above them what the query does with them.

use super::View;
use super::compile::Compiled;
use crate::error::SqlError;
use crate::functions::while_running;
use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::datasource::{MemTable, ViewTable, provider_as_source, source_as_provider};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

const GROUPS: &str = "__groups";

/// The groups of a view, as they are when they are read.
struct GroupsTable {
    view: Arc<View>,
    schema: SchemaRef,
}

impl std::fmt::Debug for GroupsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "groups of {}", self.view.name)
    }
}

#[async_trait]
impl TableProvider for GroupsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = while_running(self.view.rows(state)).await?;
        let named = rows.into_iter().map(|batch| {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(
                self.schema.clone(),
                batch.columns().to_vec(),
                &options,
            )
        });
        let batches = named.collect::<std::result::Result<Vec<_>, _>>()?;
        MemTable::try_new(self.schema.clone(), vec![batches])?
            .scan(state, projection, filters, limit)
            .await
    }
}

/// The groups' columns under names that cannot be told apart wrongly.
fn numbered(compiled: &Compiled) -> SchemaRef {
    let fields = compiled.group_schema.fields().iter().enumerate();
    let fields = fields.map(|(index, field)| field.as_ref().clone().with_name(format!("c{index}")));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The view whose groups a plan reads.
pub(super) fn view_of(scan: &TableScan) -> Option<Arc<View>> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<GroupsTable>().map(|groups| groups.view.clone())
}

/// The view, to be queried.
pub(super) fn table(view: &Arc<View>) -> std::result::Result<Arc<dyn TableProvider>, SqlError> {
    let plan = over_groups(view)?;
    Ok(Arc::new(ViewTable::new(plan, Some(view.query.clone()))))
}

/// The query's plan, with the groups in place of their making.
fn over_groups(view: &Arc<View>) -> Result<LogicalPlan> {
    let compiled = &view.compiled;
    let plan = compiled.plan.clone().transform_down(|node| {
        let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
        let source = GroupsTable { view: view.clone(), schema: numbered(compiled) };
        let columns = aggregate.schema.iter().enumerate().map(|(index, (qualifier, field))| {
            let column = Column::new(Some(GROUPS), format!("c{index}"));
            Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
        });
        let scan = LogicalPlanBuilder::scan(GROUPS, provider_as_source(Arc::new(source)), None)?;
        let plan = scan.project(columns.collect::<Vec<_>>())?.build()?;
        Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump))
    })?;
    plan.data.recompute_schema()
}
