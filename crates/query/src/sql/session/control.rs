//! What begins and ends transactions, and what a session is told about itself.

use super::{Block, Outcome, Session};
use crate::error::{SqlError, SqlState};
use crate::tables::{Temporary, Transaction};
use datafusion::common::ScalarValue;
use datafusion::sql::parser::{ResetStatement, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    DiscardObject, Expr, Reset, Statement as SqlStatement, TransactionMode,
};
use parking_lot::Mutex;
use std::sync::Arc;

impl Session {
    /// Runs a statement about the session; `None` if it is another one.
    pub(super) async fn control(
        &mut self,
        statement: &DfStatement,
    ) -> Result<Option<Outcome>, SqlError> {
        let statement = match statement {
            DfStatement::Statement(statement) => statement.as_ref(),
            DfStatement::Reset(ResetStatement::Variable(name)) => {
                let name = name.to_string();
                let all = name.eq_ignore_ascii_case("all");
                let name = (!all).then_some(name.trim_matches('"'));
                self.variables.lock().reset(name)?;
                return Ok(Some(Outcome::Done("RESET".to_owned())));
            }
            _ => return Ok(None),
        };
        if let Some(tag) = self.control_transaction(statement)? {
            return Ok(Some(Outcome::Done(tag.to_owned())));
        }
        let tag = match statement {
            SqlStatement::Set(set) => {
                self.set(set)?;
                "SET"
            }
            SqlStatement::Reset(reset) => self.reset(&reset.reset)?,
            SqlStatement::Discard { object_type } => self.discard(object_type)?,
            SqlStatement::Prepare { name, data_types, statement } => {
                self.prepare_by_name(&folded(name), data_types, statement).await?;
                "PREPARE"
            }
            SqlStatement::Execute { name, parameters, .. } => {
                let name = name.as_ref().map(ToString::to_string).unwrap_or_default();
                return self.execute_by_name(&name, parameters).await.map(Some);
            }
            SqlStatement::Deallocate { name, .. } => self.deallocate(&folded(name))?,
            SqlStatement::Declare { .. }
            | SqlStatement::Fetch { .. }
            | SqlStatement::Close { .. } => {
                return self.cursor(statement).await.map(Some);
            }
            // Nobody else writes to what is only a lock's name; what is read is checked at COMMIT.
            SqlStatement::Lock(_) => "LOCK TABLE",
            SqlStatement::LISTEN { .. } | SqlStatement::NOTIFY { .. } => {
                let message = "LISTEN and NOTIFY are not supported";
                return Err(SqlError::unsupported(message)
                    .hint("SUBSCRIBE and PUBLISH of the Redis door are, and streams"));
            }
            SqlStatement::UNLISTEN { .. } => "UNLISTEN",
            SqlStatement::Vacuum(_) => "VACUUM",
            SqlStatement::Analyze(_) => "ANALYZE",
            _ => return Ok(None),
        };
        Ok(Some(Outcome::Done(tag.to_owned())))
    }

    /// Runs a statement that begins or ends a transaction, or marks a place in it; `None` if it is
    /// another one.
    fn control_transaction(
        &mut self,
        statement: &SqlStatement,
    ) -> Result<Option<&'static str>, SqlError> {
        Ok(Some(match statement {
            SqlStatement::StartTransaction { modes, .. } => {
                self.begin(modes)?;
                if statement.to_string().to_uppercase().starts_with("START") {
                    "START TRANSACTION"
                } else {
                    "BEGIN"
                }
            }
            SqlStatement::Commit { chain, .. } => self.commit_by_name(*chain)?,
            SqlStatement::Rollback { savepoint: None, chain } => {
                if self.block != Block::Explicit {
                    self.warn_no_transaction();
                }
                self.roll_back();
                if *chain {
                    self.begin(&[])?;
                }
                "ROLLBACK"
            }
            SqlStatement::Rollback { savepoint: Some(name), .. } => {
                let open = self.open_transaction("ROLLBACK TO SAVEPOINT")?;
                let temporary = open.lock().go_back(&folded(name))?;
                self.return_temporary(temporary);
                self.failed = false;
                "ROLLBACK"
            }
            SqlStatement::Savepoint { name } => {
                let open = self.open_transaction("SAVEPOINT")?;
                open.lock().save(&folded(name), self.temporary.clone())?;
                "SAVEPOINT"
            }
            SqlStatement::ReleaseSavepoint { name } => {
                self.open_transaction("RELEASE SAVEPOINT")?.lock().release(&folded(name))?;
                "RELEASE"
            }
            _ => return Ok(None),
        }))
    }

    /// Gives variables the values that they had at the beginning.
    fn reset(&mut self, what: &Reset) -> Result<&'static str, SqlError> {
        match what {
            Reset::ALL => self.variables.lock().reset(None)?,
            Reset::ConfigurationParameter(name) => {
                let name = name.to_string();
                self.variables.lock().reset(Some(name.trim_matches('"')))?;
            }
        }
        Ok("RESET")
    }

    /// Forgets a prepared statement, or all of them.
    fn deallocate(&mut self, name: &str) -> Result<&'static str, SqlError> {
        if name == "all" {
            self.statements.clear();
            return Ok("DEALLOCATE ALL");
        }
        self.statements.remove(name).ok_or_else(|| no_statement(name))?;
        Ok("DEALLOCATE")
    }

    fn begin(&mut self, modes: &[TransactionMode]) -> Result<(), SqlError> {
        match self.block {
            Block::Explicit => {
                let message = "there is already a transaction in progress";
                self.notice("WARNING", SqlState::ActiveTransaction, message);
            }
            Block::Implicit => self.block = Block::Explicit,
            Block::None => {
                self.transaction = Some(self.new_transaction());
                self.block = Block::Explicit;
            }
        }
        self.set_modes(modes, false)
    }

    fn warn_no_transaction(&mut self) {
        let message = "there is no transaction in progress";
        self.notice("WARNING", SqlState::NoActiveTransaction, message);
    }

    fn commit_by_name(&mut self, chain: bool) -> Result<&'static str, SqlError> {
        if self.block != Block::Explicit {
            self.warn_no_transaction();
        }
        if self.failed {
            self.roll_back();
            if chain {
                self.begin(&[])?;
            }
            return Ok("ROLLBACK");
        }
        tokio::task::block_in_place(|| self.commit())?;
        if chain {
            self.begin(&[])?;
        }
        Ok("COMMIT")
    }

    /// Makes the open transaction happen. Whether it does or not, it is over.
    pub(super) fn commit(&mut self) -> Result<(), SqlError> {
        self.block = Block::None;
        let held = self.keep_held_cursors();
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        // Tasks of a query that has given its last row may end a little later. They find an empty
        // transaction then, and nobody asks for what they find.
        let empty = Transaction::new(&self.inner.engine, Temporary::new());
        let transaction = std::mem::replace(&mut *transaction.lock(), empty);
        let temporary = transaction.temporary().clone();
        let committed = held.and_then(|()| transaction.commit(&self.inner));
        if committed.is_err() {
            self.return_temporary(temporary);
        }
        self.variables.lock().end(committed.is_ok());
        self.inner.locks.end_transaction(self.number);
        committed
    }

    /// Takes the open transaction back.
    pub(super) fn roll_back(&mut self) {
        self.block = Block::None;
        self.failed = false;
        self.cursors.retain(|_, cursor| cursor.is_held());
        if let Some(transaction) = self.transaction.take() {
            let temporary = transaction.lock().temporary().clone();
            self.return_temporary(temporary);
        }
        self.variables.lock().end(false);
        self.inner.locks.end_transaction(self.number);
    }

    fn open_transaction(&self, what: &str) -> Result<&Arc<Mutex<Transaction>>, SqlError> {
        let explicit = self.transaction.as_ref().filter(|_| self.block == Block::Explicit);
        explicit.ok_or_else(|| {
            let message = format!("{what} can only be used in transaction blocks");
            SqlError::new(SqlState::NoActiveTransaction, message)
        })
    }

    /// Refuses what writes in a transaction that only reads.
    pub(super) fn refuse_if_read_only(&self, what: &str) -> Result<(), SqlError> {
        let read_only = match self.transaction {
            Some(_) => self.variables.lock().read_only,
            None => self.variables.lock().reads_only_by_default(),
        };
        if !read_only {
            return Ok(());
        }
        let message = format!("cannot execute {what} in a read-only transaction");
        Err(SqlError::new(SqlState::ReadOnlyTransaction, message))
    }

    fn discard(&mut self, what: &DiscardObject) -> Result<&'static str, SqlError> {
        match what {
            DiscardObject::ALL => {
                if self.transaction.is_some() {
                    let message = "DISCARD ALL cannot run inside a transaction block";
                    return Err(SqlError::new(SqlState::ActiveTransaction, message));
                }
                self.variables.lock().reset(None)?;
                self.statements.clear();
                self.cursors.clear();
                self.drop_temporary();
                self.inner.locks.unlock_all(self.number);
                Ok("DISCARD ALL")
            }
            DiscardObject::PLANS => Ok("DISCARD PLANS"),
            DiscardObject::SEQUENCES => {
                *self.sequences.lock() = Default::default();
                Ok("DISCARD SEQUENCES")
            }
            DiscardObject::TEMP => {
                self.drop_temporary();
                Ok("DISCARD TEMP")
            }
        }
    }

    async fn prepare_by_name(
        &mut self,
        name: &str,
        types: &[datafusion::sql::sqlparser::ast::DataType],
        statement: &SqlStatement,
    ) -> Result<(), SqlError> {
        if self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateStatement, message));
        }
        let types = types.iter().map(|kind| {
            crate::values::types::ColumnType::of_sql(kind).map(|kind| Some(kind.field("", true)))
        });
        let types = types.collect::<Result<Vec<_>, _>>()?;
        let mut prepared = self
            .parse_all(&statement.to_string())?
            .pop()
            .ok_or_else(|| SqlError::new(SqlState::SyntaxError, "PREPARE of nothing"))?;
        self.prepare_with(&mut prepared, types).await?;
        self.statements.insert(name.to_owned(), Arc::new(prepared));
        Ok(())
    }

    async fn execute_by_name(
        &mut self,
        name: &str,
        arguments: &[Expr],
    ) -> Result<Outcome, SqlError> {
        let name = name.trim_matches('"').to_owned();
        let prepared = self.statements.get(&name).cloned().ok_or_else(|| no_statement(&name))?;
        if arguments.len() != prepared.parameters.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            return Err(SqlError::new(SqlState::SyntaxError, message).hint(format!(
                "Expected {} parameters but got {}.",
                prepared.parameters.len(),
                arguments.len()
            )));
        }
        let mut values = Vec::with_capacity(arguments.len());
        for (argument, field) in arguments.iter().zip(&prepared.parameters) {
            values.push(self.constant(argument, field).await?);
        }
        // Each level is one statement that names another.
        Box::pin(self.execute(&prepared, values)).await
    }

    /// The value of an expression without columns, as a type.
    async fn constant(
        &mut self,
        expr: &Expr,
        field: &datafusion::arrow::datatypes::Field,
    ) -> Result<ScalarValue, SqlError> {
        let text = format!("SELECT {expr}");
        let mut session = self.inner_session();
        let (_, batches) = Box::pin(session.run(&text)).await?;
        let column = batches.first().map(|batch| batch.column(0).clone());
        let column = column.filter(|column| !column.is_empty());
        let column =
            column.ok_or_else(|| SqlError::new(SqlState::Internal, "a constant gave no row"))?;
        let cast = crate::sql::dialect::cast_array(&column, field, &self.moment())?;
        Ok(ScalarValue::try_from_array(&cast, 0)?)
    }

    /// A session with the same variables, outside of any transaction.
    pub(super) fn inner_session(&self) -> Session {
        let mut session = Session::new(self.inner.clone());
        session.variables = Arc::new(Mutex::new(self.variables.lock().clone()));
        session
    }
}

fn no_statement(name: &str) -> SqlError {
    let message = format!("prepared statement \"{name}\" does not exist");
    SqlError::new(SqlState::InvalidStatementName, message)
}

pub(super) fn folded(name: &datafusion::sql::sqlparser::ast::Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}
