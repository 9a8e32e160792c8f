//! A session: what one connection remembers between statements, and how a statement is run.

mod apart;
mod control;
mod cursor;
mod define;
pub(crate) use define::{sequence_name, text_rows};
mod modify;
pub(crate) use modify::insert_rows;
mod kinds;
mod outcome;
mod overlay;
mod point;
pub(crate) use point::Points;
mod prepare;
mod set;
mod upsert;
mod variables;
pub(crate) use variables::{Variables, variables};

use crate::catalog::Overlay;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::functions::while_planning;
use crate::sql::statement::{Statement, parse};
use crate::tables::{OpenTransaction, PointLookup, Temporary, Transaction, TransactionHandle};
use crate::values::moment::{Formats, Moment};
use cursor::Cursor;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::{
    FunctionRegistry, SendableRecordBatchStream, SessionState, SessionStateBuilder,
};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures_util::TryStreamExt;
pub use kinds::Prepared;
use kinds::{changes_rows, ends_transaction, gives_plan, physical};
use outcome::Watch;
pub use outcome::{Outcome, Rows, RowsTag};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How often a statement is tried again when others have changed what it read.
const TRIES: usize = 32;
/// Tells sessions apart: the names of their temporary tables' data.
static NUMBER: AtomicU64 = AtomicU64::new(1);

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

/// Who began the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    /// Several statements that came together: it ends with them.
    Implicit,
    /// BEGIN: it ends with COMMIT or ROLLBACK.
    Explicit,
}

/// What one connection remembers.
pub struct Session {
    pub(crate) inner: Arc<Inner>,
    pub(crate) transaction: Option<Arc<Mutex<Transaction>>>,
    block: Block,
    failed: bool,
    /// What SET has set.
    pub(crate) variables: Arc<Mutex<Variables>>,
    /// Prepared statements, by name.
    pub(crate) statements: HashMap<String, Arc<Prepared>>,
    cursors: BTreeMap<String, Cursor>,
    /// Tables that nobody else sees and that end with the session.
    temporary: Temporary,
    sequences: Arc<Mutex<crate::tables::sequence::Drawn>>,
    number: u64,
    notices: Vec<(&'static str, SqlError)>,
}

impl Session {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self::numbered(inner, Self::next_number())
    }

    /// A number for a session, which no other session of this process gets.
    pub(crate) fn next_number() -> u64 {
        NUMBER.fetch_add(1, Ordering::Relaxed)
    }

    /// The session of a connection that has been numbered before.
    pub(crate) fn numbered(inner: Arc<Inner>, number: u64) -> Self {
        Self {
            inner,
            transaction: None,
            block: Block::None,
            failed: false,
            variables: Arc::default(),
            statements: HashMap::new(),
            cursors: BTreeMap::new(),
            temporary: BTreeMap::new(),
            sequences: Arc::default(),
            number,
            notices: Vec::new(),
        }
    }

    /// What tells it from all others of this node.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A statement is over: where nobody began a transaction, it was one by itself.
    pub(crate) fn end_statement(&self) {
        if self.block == Block::None {
            self.inner.locks.end_transaction(self.number);
        }
    }

    /// Where the session is between BEGIN and COMMIT.
    pub fn transaction_status(&self) -> TransactionStatus {
        match (self.block, self.failed) {
            (_, true) => TransactionStatus::Failed,
            (Block::Explicit, false) => TransactionStatus::Active,
            (Block::None | Block::Implicit, false) => TransactionStatus::Idle,
        }
    }

    /// Whether statements that came together are a transaction just now.
    pub(crate) fn is_implicit(&self) -> bool {
        self.block == Block::Implicit
    }

    /// What follows is one transaction, until it is ended, unless there is one already.
    pub(crate) fn begin_implicit(&mut self) {
        if self.block == Block::None {
            self.transaction = Some(self.new_transaction());
            self.block = Block::Implicit;
        }
    }

    /// Commits what came together.
    pub(crate) fn end_implicit(&mut self) -> Result<(), SqlError> {
        if self.block == Block::Implicit { self.commit() } else { Ok(()) }
    }

    /// A statement failed: what came together is taken back, what BEGIN began waits for its
    /// ROLLBACK.
    pub(crate) fn fail(&mut self) {
        match self.block {
            Block::None => {}
            Block::Implicit => self.roll_back(),
            Block::Explicit => self.failed = true,
        }
    }

    pub(crate) fn refuse_if_failed(&self) -> Result<(), SqlError> {
        if !self.failed {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::InFailedTransaction,
            "current transaction is aborted, commands ignored until end of transaction block",
        ))
    }

    /// The same, but for what ends the transaction.
    pub(crate) fn refuse_if_failed_for(&self, prepared: &Prepared) -> Result<(), SqlError> {
        if matches!(&prepared.statement, Statement::Df(statement) if ends_transaction(statement)) {
            return Ok(());
        }
        self.refuse_if_failed()
    }

    /// Ends the session: what it has open is taken back.
    pub(crate) fn end(&mut self) {
        self.roll_back();
        self.drop_temporary();
    }

    pub(crate) fn take_notices(&mut self) -> Vec<(&'static str, SqlError)> {
        std::mem::take(&mut self.notices)
    }

    fn notice(&mut self, severity: &'static str, state: SqlState, message: impl Into<String>) {
        self.notices.push((severity, SqlError::new(state, message)));
    }

    /// What time it is for a statement, and where.
    pub(crate) fn moment(&self) -> Moment {
        let variables = self.variables.lock();
        let zone = variables.zone().and_then(crate::values::moment::zone);
        let zone = zone.unwrap_or_else(crate::values::moment::utc);
        let now_us = Some((self.inner.engine.now_ms() as i64).saturating_mul(1_000));
        Moment { now_us, zone, formats: variables.formats() }
    }

    /// Runs all statements of a text, collecting rows; gives the last one's answer.
    pub async fn run(&mut self, text: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
        let mut last = (SchemaRef::new(datafusion::arrow::datatypes::Schema::empty()), Vec::new());
        for prepared in self.parse_all(text)? {
            match self.execute(&prepared, Vec::new()).await? {
                Outcome::Rows(rows) => last = (rows.schema, rows.stream.try_collect().await?),
                Outcome::Done(_) => last.1.clear(),
            }
        }
        Ok(last)
    }

    /// Parses a text; statements are planned one by one when they run, for each may create what the
    /// next one uses.
    pub fn parse_all(&self, text: &str) -> Result<Vec<Prepared>, SqlError> {
        let statements = parse(text)?;
        let alone = statements.len() == 1;
        let prepared = statements.into_iter().map(|statement| {
            let text = if alone { text.to_owned() } else { statement.to_string() };
            Prepared::of(statement, text)
        });
        Ok(prepared.collect())
    }

    /// Runs a statement with values for its parameters.
    pub async fn execute(
        &mut self,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, SqlError> {
        self.refuse_if_failed_for(prepared)?;
        let started = Instant::now();
        let outcome = self.execute_checked(prepared, parameters).await;
        if outcome.is_err() {
            self.fail();
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
        if parameters.len() < prepared.parameters.len() {
            let message = format!(
                "{} parameters given, {} wanted",
                parameters.len(),
                prepared.parameters.len()
            );
            return Err(SqlError::new(SqlState::ProtocolViolation, message));
        }
        match &prepared.statement {
            Statement::Empty => Ok(Outcome::Done(String::new())),
            Statement::Df(statement) => {
                if let Some(rows) = self.show(statement)? {
                    return Ok(Outcome::Rows(rows));
                }
                if let Some(outcome) = self.control(statement).await? {
                    return Ok(outcome);
                }
                if let Some(tag) = self.define(statement, &prepared.text).await? {
                    return Ok(Outcome::Done(tag));
                }
                if changes_rows(statement) {
                    return self.change(statement, parameters).await;
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
    pub(crate) fn state(
        &self,
        transaction: Option<&Arc<Mutex<Transaction>>>,
    ) -> Result<SessionState, SqlError> {
        let mut state = self.inner.context()?.state();
        if let Some(transaction) = transaction {
            let handle = Arc::new(TransactionHandle(transaction.clone()));
            let open = OpenTransaction::new(transaction);
            state.config_mut().options_mut().extensions.insert(open);
            state.config_mut().set_extension(handle);
        }
        let (zone, formats) = {
            let variables = self.variables.lock();
            (variables.zone().map(str::to_owned), variables.formats())
        };
        if let Some(zone) = zone {
            state.config_mut().options_mut().execution.time_zone = Some(zone);
        }
        if formats != Formats::default() {
            state.config_mut().options_mut().extensions.insert(formats);
        }
        for function in set::functions(&self.variables) {
            state.register_udf(function.udf())?;
        }
        let overlay = self.overlay().map(Arc::new);
        crate::tables::sequence::register(
            &mut state,
            &self.inner,
            &self.sequences,
            overlay.as_ref(),
        )?;
        if let Some(overlay) = overlay {
            state.register_catalog_list(crate::catalog::overlaid(
                &self.inner,
                Overlay::clone(&overlay),
            )?);
        }
        Ok(state)
    }

    async fn run_plan(
        &mut self,
        prepared: &Prepared,
        statement: &DfStatement,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, SqlError> {
        let is_current =
            prepared.version == self.inner.catalog.version() && self.overlay().is_none();
        if let (Some(lookup), Some(schema), None) =
            (&prepared.lookup, &prepared.schema, &self.transaction)
            && is_current
            && let Some((batch, gates)) = lookup.run(&self.inner.engine, schema, &parameters)?
        {
            self.inner.settled(gates).await?;
            return Ok(Outcome::Rows(Rows::of_batch(batch, RowsTag::Counted("SELECT"))));
        }
        let plan = match &prepared.plan {
            Some(plan) if is_current => plan.clone(),
            _ => self.plan_query(statement, &prepared.parameters, &parameters).await?,
        };
        let plan = match parameters.is_empty() {
            true => plan,
            false => plan.with_param_values(ParamValues::from(parameters))?,
        };
        let state = self.state(self.transaction.as_ref())?;
        let tag = match &plan {
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => RowsTag::Word("EXPLAIN"),
            _ => RowsTag::Counted("SELECT"),
        };
        let physical = physical(&state, &plan).await?;
        Ok(Outcome::Rows(Rows::new(execute_stream(physical, state.task_ctx())?, tag)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.drop_temporary();
        self.inner.locks.end_session(self.number);
    }
}
