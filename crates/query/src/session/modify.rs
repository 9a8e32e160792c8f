//! INSERT, UPDATE and DELETE.

use super::upsert::OnConflict;
use super::{Session, TRIES, physical};
use crate::catalog::{Definition, StreamDefinition, TableDefinition};
use crate::error::{SqlError, SqlState};
use crate::statement::name_apart;
use crate::stream::Appender;
use crate::table::{Conflict, Transaction, encode_key, write_rows};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::dml::{DmlStatement, WriteOp};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col};
use datafusion::physical_plan::collect;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use parking_lot::Mutex;
use std::sync::Arc;

impl Session {
    /// Plans a statement; what DataFusion does not know of it is given beside the plan.
    pub(super) async fn plan_statement(
        &self,
        statement: &DfStatement,
    ) -> Result<(LogicalPlan, Option<OnConflict>), SqlError> {
        let mut statement = statement.clone();
        let mut conflict = None;
        if let DfStatement::Statement(inner) = &mut statement {
            name_apart(inner);
            if let SqlStatement::Insert(insert) = inner.as_mut() {
                conflict = OnConflict::take(insert)?;
                if insert.returning.is_some() {
                    return Err(SqlError::unsupported("RETURNING is not supported"));
                }
            }
        }
        let state = self.state(self.transaction.as_ref())?;
        Ok((state.statement_to_plan(statement).await?, conflict))
    }

    /// The parameters that only ON CONFLICT has, or has too.
    pub(super) fn conflict_parameters(
        &self,
        plan: &LogicalPlan,
        conflict: Option<&OnConflict>,
    ) -> Result<Vec<(String, Option<DataType>)>, SqlError> {
        let (LogicalPlan::Dml(dml), Some(OnConflict::Update(update))) = (plan, conflict) else {
            return Ok(Vec::new());
        };
        let name = dml.table_name.table();
        let definition = self.inner.catalog.get(name);
        let Some(Definition::Table(table)) = definition.as_deref() else { return Ok(Vec::new()) };
        update.parameters(&self.state(self.transaction.as_ref())?, name, table)
    }

    /// Changes rows; says how many.
    pub(super) async fn modify(
        &mut self,
        dml: DmlStatement,
        conflict: Option<OnConflict>,
    ) -> Result<String, SqlError> {
        let name = dml.table_name.table().to_owned();
        let definition = self.inner.catalog.get(&name);
        let (word, changed) = match (definition.as_deref(), &dml.op) {
            (Some(Definition::Stream(stream)), WriteOp::Insert(_)) => {
                ("INSERT 0", self.append(&name, stream, &dml).await?)
            }
            (Some(Definition::Stream(_)), _) => {
                return Err(SqlError::new(
                    SqlState::WrongObjectType,
                    format!("\"{name}\" is a stream: its records are never changed"),
                ));
            }
            (Some(Definition::Table(table)), op) => {
                let word = match op {
                    WriteOp::Insert(_) => "INSERT 0",
                    WriteOp::Update => "UPDATE",
                    WriteOp::Delete => "DELETE",
                    other => {
                        return Err(SqlError::unsupported(format!("{other} is not supported")));
                    }
                };
                (word, self.modify_table(&name, table, &dml, conflict).await?)
            }
            (Some(other), _) => {
                let message = format!("\"{name}\" is a {} and cannot be written to", other.kind());
                return Err(SqlError::new(SqlState::WrongObjectType, message));
            }
            (None, _) => return Err(SqlError::unknown("relation", &name)),
        };
        Ok(format!("{word} {changed}"))
    }

    /// The rows that a plan gives, within a transaction.
    async fn rows(
        &self,
        transaction: &Arc<Mutex<Transaction>>,
        plan: &LogicalPlan,
    ) -> Result<Vec<RecordBatch>, SqlError> {
        let state = self.state(Some(transaction))?;
        let physical = physical(&state, plan).await?;
        Ok(collect(physical, state.task_ctx()).await?)
    }

    async fn append(
        &mut self,
        name: &str,
        stream: &StreamDefinition,
        dml: &DmlStatement,
    ) -> Result<u64, SqlError> {
        let transaction = match &self.transaction {
            Some(transaction) => transaction.clone(),
            None => Arc::new(Mutex::new(Transaction::new(&self.inner.engine))),
        };
        let batches = self.rows(&transaction, &dml.input).await?;
        let mut appender = Appender::new(&self.inner.engine, name, stream);
        let mut count = 0;
        for batch in batches {
            let (commands, appended) = appender.commands_of_batch(&batch)?;
            count += appended.appended + appended.dead;
            transaction.lock().append(commands)?;
        }
        self.finish(transaction)?;
        Ok(count)
    }

    /// Does work in the open transaction, or in one of its own.
    pub(crate) fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction, &thalweg_node::Engine) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let engine = &self.inner.engine;
        if let Some(open) = &self.transaction {
            let outcome = work(&mut open.lock(), engine);
            self.failed |= outcome.is_err();
            return outcome;
        }
        let mut transaction = Transaction::new(engine);
        let outcome = work(&mut transaction, engine)?;
        tokio::task::block_in_place(|| transaction.commit())?;
        Ok(outcome)
    }

    /// Commits a statement's own transaction; one that goes on stays open.
    fn finish(&self, transaction: Arc<Mutex<Transaction>>) -> Result<(), SqlError> {
        if self.transaction.is_some() {
            return Ok(());
        }
        let transaction = Arc::into_inner(transaction)
            .ok_or_else(|| SqlError::new(SqlState::Internal, "the statement still runs"))?;
        // Waiting for the disk must not keep other sessions waiting.
        tokio::task::block_in_place(|| transaction.into_inner().commit())
    }

    async fn modify_table(
        &mut self,
        name: &str,
        table: &TableDefinition,
        dml: &DmlStatement,
        conflict: Option<OnConflict>,
    ) -> Result<u64, SqlError> {
        if let Some(open) = self.transaction.clone() {
            return self.modify_in(&open, name, table, dml, conflict.as_ref()).await;
        }
        // A statement on its own is tried again when somebody else was faster.
        for attempt in 1.. {
            let transaction = Arc::new(Mutex::new(Transaction::new(&self.inner.engine)));
            let changed = self.modify_in(&transaction, name, table, dml, conflict.as_ref()).await?;
            match self.finish(transaction) {
                Err(error) if error.state == SqlState::SerializationFailure && attempt < TRIES => {
                    tokio::time::sleep(std::time::Duration::from_micros(200 << attempt.min(8)))
                        .await;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(changed),
            }
        }
        Ok(0)
    }

    async fn modify_in(
        &self,
        transaction: &Arc<Mutex<Transaction>>,
        name: &str,
        table: &TableDefinition,
        dml: &DmlStatement,
        conflict: Option<&OnConflict>,
    ) -> Result<u64, SqlError> {
        if matches!(dml.op, WriteOp::Delete) {
            return self.delete_in(transaction, name, table, dml).await;
        }
        let conflict = match (&dml.op, conflict) {
            (WriteOp::Update, _) => Conflict::Replace,
            (_, None) => Conflict::Error,
            (_, Some(OnConflict::Nothing)) => Conflict::Nothing,
            (_, Some(OnConflict::Update(update))) => {
                let state = self.state(Some(transaction))?;
                Conflict::Update(update.resolve(&state, name, table)?)
            }
        };
        if matches!(conflict, Conflict::Replace) {
            refuse_new_keys(table, &dml.input)?;
        }
        let batches = self.rows(transaction, &dml.input).await?;
        let mut changed = 0;
        let mut transaction = transaction.lock();
        for batch in batches {
            changed += write_rows(&mut transaction, name, table, &batch, &conflict)?;
        }
        Ok(changed)
    }

    async fn delete_in(
        &self,
        transaction: &Arc<Mutex<Transaction>>,
        name: &str,
        table: &TableDefinition,
        dml: &DmlStatement,
    ) -> Result<u64, SqlError> {
        // The plan of a DELETE gives whatever columns the condition needs; the rows are wanted whole.
        let all = table
            .columns
            .iter()
            .map(|column| col(datafusion::common::Column::from_name(&column.name)));
        let plan = LogicalPlanBuilder::from(dml.input.as_ref().clone()).project(all)?.build()?;
        let batches = self.rows(transaction, &plan).await?;
        let mut changed = 0;
        let mut transaction = transaction.lock();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let key = encode_key(table, batch.columns(), row)?;
                transaction.write(name, key, None)?;
                changed += 1;
            }
        }
        Ok(changed)
    }
}

/// An UPDATE that would change a primary key is refused: the row would have to move.
fn refuse_new_keys(table: &TableDefinition, input: &LogicalPlan) -> Result<(), SqlError> {
    let LogicalPlan::Projection(projection) = input else { return Ok(()) };
    for &index in &table.primary_key {
        let (Some(expr), Some(column)) = (projection.expr.get(index), table.columns.get(index))
        else {
            continue;
        };
        let unchanged = matches!(expr.clone().unalias(),
            datafusion::logical_expr::Expr::Column(source) if source.name == column.name);
        if !unchanged {
            let message = format!(
                "column \"{}\" is part of the primary key and cannot be changed",
                column.name
            );
            return Err(SqlError::unsupported(message).hint("DELETE the row and INSERT it anew"));
        }
    }
    Ok(())
}
