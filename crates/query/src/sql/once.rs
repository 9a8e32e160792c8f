//! Queries of WITH whose rows are different each time they are run (`random()`, `nextval`).
//! DataFusion runs such a query wherever it is named; in Postgres all see the same rows. Here it is
//! planned by itself ([`Once`]), stands in the statement as a table function of its number, and all
//! places of one plan share its rows ([`ShareOnce`]).

use crate::error::{SqlError, SqlState};
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning,
    PlanProperties, ReplaceChildrenOptions, execute_stream,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Formatter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::sync::OnceCell;

/// The table function that stands for a query.
pub(crate) const ONCE: &str = "thalweg_once";

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Queries of statements that are being planned.
static PLANNED: LazyLock<Mutex<HashMap<u64, Arc<Once>>>> = LazyLock::new(Mutex::default);

/// A query as a table.
#[derive(Debug)]
pub(crate) struct Once {
    number: u64,
    plan: LogicalPlan,
    schema: SchemaRef,
}

/// A query's number, under which it is found as long as this is kept.
#[derive(Debug)]
pub(crate) struct Numbered(pub(crate) u64);

impl Drop for Numbered {
    fn drop(&mut self) {
        PLANNED.lock().remove(&self.0);
    }
}

/// Gives a query a number.
pub(crate) fn number(plan: LogicalPlan) -> Numbered {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let schema = plan.schema().inner().clone();
    PLANNED.lock().insert(number, Arc::new(Once { number, plan, schema }));
    Numbered(number)
}

/// Finds a query by its number.
#[derive(Debug)]
pub(crate) struct FindOnce;

impl TableFunctionImpl for FindOnce {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let number = match args.exprs() {
            [Expr::Literal(ScalarValue::Int64(Some(number)), _)] => u64::try_from(*number).ok(),
            [Expr::Literal(ScalarValue::Int32(Some(number)), _)] => u64::try_from(*number).ok(),
            _ => None,
        };
        let found = number.and_then(|number| PLANNED.lock().get(&number).cloned());
        match found {
            Some(once) => Ok(once),
            None => Err(SqlError::unknown("query", ONCE).into()),
        }
    }
}

#[async_trait]
impl TableProvider for Once {
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
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = state.create_physical_plan(&self.plan).await?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(self.schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties);
        let once: Arc<dyn ExecutionPlan> =
            Arc::new(OnceExec { number: self.number, input, rows: Arc::default(), properties });
        let Some(projection) = projection else { return Ok(once) };
        let column = |&index: &usize| {
            let name = self.schema.field(index).name();
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, index));
            (column, name.clone())
        };
        let columns: Vec<_> = projection.iter().map(column).collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, once)?))
    }
}

/// The rows of a query, and the memory that they are accounted with.
#[derive(Debug)]
struct Rows {
    batches: Vec<RecordBatch>,
    _reserved: MemoryReservation,
}

/// Gives the rows of a query that is run once.
#[derive(Clone, Debug)]
struct OnceExec {
    number: u64,
    input: Arc<dyn ExecutionPlan>,
    rows: Arc<OnceCell<Rows>>,
    properties: Arc<PlanProperties>,
}

/// Runs a query to its end.
async fn run(input: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Rows> {
    let reserved = MemoryConsumer::new("a query of WITH").register(context.memory_pool());
    let mut rows = execute_stream(input, context)?;
    let mut batches = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        reserved.try_grow(batch.get_array_memory_size()).map_err(|_full| {
            let message = "the rows of a query of WITH need more memory than queries have";
            SqlError::new(SqlState::OutOfMemory, message)
        })?;
        batches.push(batch);
    }
    Ok(Rows { batches, _reserved: reserved })
}

impl DisplayAs for OnceExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "OnceExec: number={}", self.number)
    }
}

impl ExecutionPlan for OnceExec {
    fn name(&self) -> &str {
        "OnceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(Self { input, ..Self::clone(&self) }))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (rows, input) = (self.rows.clone(), self.input.clone());
        let batches = stream::once(async move {
            let rows = rows.get_or_try_init(|| run(input, context)).await?;
            Ok::<_, datafusion::common::DataFusionError>(stream::iter(
                rows.batches.clone().into_iter().map(Ok),
            ))
        });
        let batches = batches.try_flatten().boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// Lets all places of a plan that stand for one query share its rows.
#[derive(Debug)]
pub(crate) struct ShareOnce;

impl PhysicalOptimizerRule for ShareOnce {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut shared: HashMap<u64, Arc<OnceCell<Rows>>> = HashMap::new();
        plan.transform_up(|node| {
            let Some(once) = node.downcast_ref::<OnceExec>() else {
                return Ok(Transformed::no(node));
            };
            let rows = shared.entry(once.number).or_default().clone();
            Ok(Transformed::yes(Arc::new(OnceExec { rows, ..once.clone() })))
        })
        .data()
    }

    fn name(&self) -> &str {
        "share_once"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
