//! A session: what one connection remembers between statements, and how a statement is run.

mod define;
pub(crate) use define::text_rows;
mod modify;
mod upsert;

use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::statement::{Statement, parse};
use crate::table::{PointLookup, Transaction, TransactionHandle};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// How often a statement is tried again when others have changed what it read.
const TRIES: usize = 32;

/// What a statement gave.
pub enum Outcome {
    /// Rows.
    Rows(SendableRecordBatchStream),
    /// It is done; what, and how much, as Postgres says it: `INSERT 0 5`.
    Done(String),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "Rows({:?})", rows.schema()),
            Self::Done(tag) => write!(f, "Done({tag})"),
        }
    }
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
    /// The types of `$1`, `$2`, …, where the plan tells.
    pub parameters: Vec<Option<DataType>>,
    /// The columns of the answer, if there is one.
    pub schema: Option<SchemaRef>,
}

impl Prepared {
    /// A statement that was parsed elsewhere.
    pub(crate) fn of(statement: SqlStatement, text: &str) -> Self {
        let statement = Statement::Df(Box::new(DfStatement::Statement(Box::new(statement))));
        Self {
            statement,
            text: text.to_owned(),
            plan: None,
            lookup: None,
            version: 0,
            parameters: Vec::new(),
            schema: None,
        }
    }
}

/// Where a session is between BEGIN and COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Not in a transaction.
    Idle,
    /// In one.
    Active,
    /// In one that can only be rolled back.
    Failed,
}

/// What one connection remembers.
pub struct Session {
    pub(crate) inner: Arc<Inner>,
    pub(crate) transaction: Option<Arc<Mutex<Transaction>>>,
    failed: bool,
    /// What SET has set.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Session {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, transaction: None, failed: false, variables: BTreeMap::new() }
    }

    /// Where the session is between BEGIN and COMMIT.
    pub fn transaction_status(&self) -> TransactionStatus {
        match (&self.transaction, self.failed) {
            (_, true) => TransactionStatus::Failed,
            (Some(_), false) => TransactionStatus::Active,
            (None, false) => TransactionStatus::Idle,
        }
    }

    /// What SET has set a variable to.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Runs all statements of a text, collecting rows; gives the last one's answer.
    pub async fn run(&mut self, text: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
        let mut last = (SchemaRef::new(datafusion::arrow::datatypes::Schema::empty()), Vec::new());
        for prepared in self.parse_all(text)? {
            match self.execute(&prepared, Vec::new()).await? {
                Outcome::Rows(rows) => last = (rows.schema(), rows.try_collect().await?),
                Outcome::Done(_) => last.1.clear(),
            }
        }
        Ok(last)
    }

    /// Parses a text; statements are planned one by one when they run, for each may create what the next one uses.
    pub fn parse_all(&self, text: &str) -> Result<Vec<Prepared>, SqlError> {
        let statements = parse(text)?;
        let alone = statements.len() == 1;
        let prepared = statements.into_iter().map(|statement| Prepared {
            text: if alone { text.to_owned() } else { statement.to_string() },
            statement,
            plan: None,
            lookup: None,
            version: 0,
            parameters: Vec::new(),
            schema: None,
        });
        Ok(prepared.collect())
    }

    /// Plans a statement, to be run any number of times.
    pub(crate) async fn plan(&self, prepared: &mut Prepared) -> Result<(), SqlError> {
        let Statement::Df(statement) = &prepared.statement else { return Ok(()) };
        if let Some((_, schema)) = self.show(statement)? {
            prepared.schema = Some(schema);
            return Ok(());
        }
        if !gives_plan(statement) {
            return Ok(());
        }
        prepared.version = self.inner.catalog.version();
        let (plan, conflict) = self.plan_statement(statement).await?;
        let mut types = plan.get_parameter_types()?;
        for (name, kind) in self.conflict_parameters(&plan, conflict.as_ref())? {
            let known = types.entry(name).or_default();
            *known = known.take().or(kind);
        }
        let number = |name: &String| name.trim_start_matches('$').parse::<usize>().ok();
        let count = types.keys().filter_map(number).max().unwrap_or(0);
        prepared.parameters =
            (1..=count).map(|number| types.get(&format!("${number}")).cloned().flatten()).collect();
        if !matches!(plan, LogicalPlan::Dml(_)) {
            prepared.schema = Some(Arc::new(plan.schema().as_arrow().clone()));
            prepared.lookup = crate::table::PointLookup::of_plan(&plan, &self.inner.catalog);
        }
        prepared.plan = Some(plan);
        Ok(())
    }

    /// Runs a statement with values for its parameters.
    pub async fn execute(
        &mut self,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, SqlError> {
        let ends =
            matches!(&prepared.statement, Statement::Df(statement) if ends_transaction(statement));
        if self.failed && !ends {
            return Err(SqlError::new(
                SqlState::InFailedTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let started = Instant::now();
        let outcome = self.execute_checked(prepared, parameters).await;
        if outcome.is_err() && self.transaction.is_some() {
            self.failed = true;
        }
        let watch =
            Watch { inner: self.inner.clone(), text: prepared.text.clone(), started, rows: 0 };
        outcome.map(|outcome| match outcome {
            Outcome::Rows(rows) => Outcome::Rows(watch.over(rows)),
            done => done,
        })
    }

    async fn execute_checked(
        &mut self,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, SqlError> {
        if !parameters.is_empty() && parameters.len() < prepared.parameters.len() {
            let message = format!(
                "{} parameters given, {} wanted",
                parameters.len(),
                prepared.parameters.len()
            );
            return Err(SqlError::new(SqlState::InvalidParameter, message));
        }
        match &prepared.statement {
            Statement::Df(statement) => {
                if let Some((rows, _)) = self.show(statement)? {
                    return Ok(Outcome::Rows(rows));
                }
                if let Some(tag) = self.control(statement)? {
                    return Ok(Outcome::Done(tag));
                }
                if let Some(tag) = self.define(statement, &prepared.text).await? {
                    return Ok(Outcome::Done(tag));
                }
                if gives_plan(statement) {
                    return self.run_plan(prepared, statement, parameters).await;
                }
                Err(SqlError::unsupported(format!("this statement is not supported: {statement}")))
            }
            Statement::CopyIn(_) | Statement::CopyOut(_) => Err(SqlError::unsupported(
                "COPY with STDIN and STDOUT is for the Postgres protocol",
            )),
            ours => self.define_ours(ours, &prepared.text).await,
        }
    }

    /// The settings that a statement is planned and run with.
    fn state(
        &self,
        transaction: Option<&Arc<Mutex<Transaction>>>,
    ) -> Result<SessionState, SqlError> {
        let mut state = self.inner.context()?.state();
        if let Some(transaction) = transaction {
            let handle = Arc::new(TransactionHandle(transaction.clone()));
            state.config_mut().set_extension(handle);
        }
        if let Some(zone) = self.variables.get("timezone") {
            state.config_mut().options_mut().execution.time_zone = Some(zone.clone());
        }
        Ok(state)
    }

    async fn run_plan(
        &mut self,
        prepared: &Prepared,
        statement: &DfStatement,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, SqlError> {
        let is_current = prepared.version == self.inner.catalog.version();
        if let (Some(lookup), Some(schema), None) =
            (&prepared.lookup, &prepared.schema, &self.transaction)
            && is_current
            && let Some((batch, gate)) = lookup.run(&self.inner.engine, schema, &parameters)?
        {
            self.inner.settled(gate).await?;
            let rows = futures_util::stream::iter([Ok(batch)]);
            let rows = RecordBatchStreamAdapter::new(schema.clone(), rows);
            return Ok(Outcome::Rows(Box::pin(rows)));
        }
        let (plan, conflict) = match &prepared.plan {
            Some(plan) if is_current && !matches!(plan, LogicalPlan::Dml(_)) => {
                (plan.clone(), None)
            }
            _ => self.plan_statement(statement).await?,
        };
        let conflict = conflict.map(|conflict| conflict.with_values(&parameters));
        let plan = match parameters.is_empty() {
            true => plan,
            false => plan.with_param_values(ParamValues::from(parameters))?,
        };
        match plan {
            LogicalPlan::Dml(dml) => self.modify(dml, conflict).await.map(Outcome::Done),
            LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) => {
                Err(SqlError::unsupported(format!("this statement is not supported: {statement}")))
            }
            plan => {
                let state = self.state(self.transaction.as_ref())?;
                let physical = physical(&state, &plan).await?;
                Ok(Outcome::Rows(execute_stream(physical, state.task_ctx())?))
            }
        }
    }
}

/// Notes how long a statement took, when its last row is taken or nobody wants more.
struct Watch {
    inner: Arc<Inner>,
    text: String,
    started: Instant,
    rows: u64,
}

impl Watch {
    fn over(mut self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let counted = rows.inspect_ok(move |batch| self.count(batch));
        Box::pin(RecordBatchStreamAdapter::new(schema, counted))
    }

    fn count(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let duration_us = self.started.elapsed().as_micros() as u64;
        self.inner.note_duration(&self.text, duration_us, self.rows);
    }
}

async fn physical(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
    Ok(state.create_physical_plan(plan).await?)
}

/// Whether a statement is planned by DataFusion: queries, and changes of rows.
fn gives_plan(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::Statement(statement) => matches!(
            statement.as_ref(),
            SqlStatement::Query(_)
                | SqlStatement::Insert(_)
                | SqlStatement::Update(_)
                | SqlStatement::Delete(_)
                | SqlStatement::Explain { .. }
                | SqlStatement::ExplainTable { .. }
                | SqlStatement::ShowTables { .. }
                | SqlStatement::ShowColumns { .. }
        ),
        DfStatement::Explain(_) => true,
        _ => false,
    }
}

fn ends_transaction(statement: &DfStatement) -> bool {
    let DfStatement::Statement(statement) = statement else { return false };
    matches!(statement.as_ref(), SqlStatement::Commit { .. } | SqlStatement::Rollback { .. })
}
