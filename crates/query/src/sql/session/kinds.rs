//! What kind of a statement one is.

use super::*;

pub(super) async fn physical(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
    if apart::reads_only_catalog(plan) {
        let config = state.config().clone().with_target_partitions(1);
        let state = SessionStateBuilder::new_from_existing(state.clone()).with_config(config);
        let state = Box::new(state.build());
        return Ok(Box::pin(while_planning(state.create_physical_plan(plan))).await?);
    }
    if !apart::is_large_plan(plan) {
        return Ok(while_planning(state.create_physical_plan(plan)).await?);
    }
    let (state, plan) = (state.clone(), plan.clone());
    let planning = async move { state.create_physical_plan(&plan).await };
    apart::planned(true, Box::pin(while_planning(planning))).await
}

/// Whether a statement is a query, which DataFusion plans.
pub(super) fn gives_plan(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::Statement(statement) => matches!(
            statement.as_ref(),
            SqlStatement::Query(_)
                | SqlStatement::Explain { .. }
                | SqlStatement::ExplainTable { .. }
                | SqlStatement::ShowTables { .. }
                | SqlStatement::ShowColumns { .. }
        ),
        DfStatement::Explain(_) => true,
        _ => false,
    }
}

/// Whether a statement changes rows.
pub(super) fn changes_rows(statement: &DfStatement) -> bool {
    let DfStatement::Statement(statement) = statement else { return false };
    matches!(
        statement.as_ref(),
        SqlStatement::Insert(_) | SqlStatement::Update(_) | SqlStatement::Delete(_)
    )
}

pub(super) fn ends_transaction(statement: &DfStatement) -> bool {
    let DfStatement::Statement(statement) = statement else { return false };
    matches!(statement.as_ref(), SqlStatement::Commit { .. } | SqlStatement::Rollback { .. })
}

/// A statement that was parsed and, if it gives rows, planned.
#[derive(Clone)]
pub struct Prepared {
    pub(crate) statement: Statement,
    pub(crate) text: String,
    pub(crate) plan: Option<LogicalPlan>,
    pub(crate) lookup: Option<PointLookup>,
    /// The version of the catalog that the plan was made with.
    pub(crate) version: u64,
    /// The types of `$1`, `$2`, …
    pub(crate) parameters: Vec<Field>,
    /// What the client has called these types; 0 where it left that to us.
    pub(crate) type_oids: Vec<u32>,
    /// The columns of the answer, if there is one.
    pub schema: Option<SchemaRef>,
}

impl Prepared {
    pub(super) fn of(statement: Statement, text: String) -> Self {
        Self {
            statement,
            text,
            plan: None,
            lookup: None,
            version: 0,
            parameters: Vec::new(),
            type_oids: Vec::new(),
            schema: None,
        }
    }

    /// A text without a statement.
    pub(crate) fn empty() -> Self {
        Self::of(Statement::Empty, String::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.statement, Statement::Empty)
    }
}
