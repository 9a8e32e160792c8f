//! INSERT, UPDATE and DELETE. Each becomes a query and a step. The query gives the rows to be
//! written, with their keys if they are in the table already. The step writes them into a
//! transaction.

mod assign;
mod returning;
mod source;
mod update;

use super::control::folded;
use super::upsert::OnConflict;
use super::{Outcome, Rows, RowsTag, Session, TRIES, physical};
use crate::catalog::{Definition, StreamDefinition, TableDefinition};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect::{self, quoted};
use crate::sql::statement::{Statement, parse};
use crate::streams::Appender;
use crate::tables::{Conflict, KEY, Transaction, WITH_KEYS, Writer, collect_writes};
use crate::values::types::{Column, Identity, loose_schema_of, schema_of};
use assign::{
    always, assign, change_text, check_width, default_of, internal, is_default, keys_of,
    never_changed, not_written, returned, sized_columns,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ParamValues, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr as SqlExpr, FromTable, Insert, ObjectName,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement as SqlStatement, TableFactor,
    TableObject, TableWithJoins, Update, UpdateTableFromKind, Value,
};
use parking_lot::Mutex;
pub(crate) use source::insert_rows;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A change, ready to be planned.
struct Change {
    name: String,
    definition: Arc<Definition>,
    kind: Kind,
    /// The query that gives the rows.
    query: DfStatement,
    /// How many columns of the query are RETURNING's, at its end.
    returned: usize,
}

enum Kind {
    Insert {
        targets: Vec<usize>,
        conflict: Option<OnConflict>,
        returning: Option<Vec<SelectItem>>,
        alias: String,
    },
    Update,
    Delete,
}

impl Kind {
    fn tag(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "INSERT 0",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

fn syntax(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::SyntaxError, message)
}

fn no_column(table: &str, name: &str) -> SqlError {
    let message = format!("column \"{name}\" of relation \"{table}\" does not exist");
    SqlError::new(SqlState::UndefinedColumn, message)
}

/// A query from its text.
fn query_of(text: &str) -> Result<DfStatement, SqlError> {
    match parse(text)?.pop() {
        Some(Statement::Df(statement)) => Ok(*statement),
        _ => Err(SqlError::new(SqlState::Internal, "a change did not become a query")),
    }
}

/// The columns that something written to has.
fn columns_of(definition: &Definition) -> &[Column] {
    match definition {
        Definition::Table(table) => &table.columns,
        Definition::Stream(stream) => &stream.columns,
        _ => &[],
    }
}

/// A table's condition by its name.
type Condition = (String, Arc<dyn PhysicalExpr>);

impl Session {
    /// Changes rows.
    pub(super) async fn change(
        &mut self,
        statement: &DfStatement,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, SqlError> {
        let change = self.change_of(statement)?;
        self.refuse_if_read_only(change.kind.tag().split(' ').next().unwrap_or_default())?;
        let count = dialect::count_parameters(statement)?;
        let types = self.infer(&change.query, vec![None; count]).await?;
        let types: Vec<Field> = types
            .into_iter()
            .zip(parameters.iter().map(Some).chain(std::iter::repeat(None)))
            .map(|(known, value)| match value {
                // A value that was bound has its type.
                Some(value)
                    if !value.data_type().is_null() && *known.data_type() != value.data_type() =>
                {
                    Field::new("", value.data_type(), true)
                }
                _ => known,
            })
            .collect();
        let (changed, rows) = self.change_with_tries(&change, &types, &parameters).await?;
        let tag = change.kind.tag();
        Ok(match rows {
            Some(batch) => Outcome::Rows(Rows::of_batch(batch, RowsTag::Counted(tag))),
            None => Outcome::Done(format!("{tag} {changed}")),
        })
    }

    async fn change_with_tries(
        &mut self,
        change: &Change,
        types: &[Field],
        values: &[ScalarValue],
    ) -> Result<(u64, Option<RecordBatch>), SqlError> {
        if let Some(open) = self.transaction.clone() {
            return self.change_in(&open, change, types, values).await;
        }
        // A statement on its own is tried again when somebody else was faster.
        for attempt in 1.. {
            let transaction = self.new_transaction();
            let changed = self.change_in(&transaction, change, types, values).await?;
            match self.finish(transaction) {
                Err(error) if error.state == SqlState::SerializationFailure && attempt < TRIES => {
                    tokio::time::sleep(std::time::Duration::from_micros(200 << attempt.min(8)))
                        .await;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(changed),
            }
        }
        Err(SqlError::new(SqlState::SerializationFailure, "could not serialize access"))
    }

    /// Commits a statement's own transaction.
    fn finish(&self, transaction: Arc<Mutex<Transaction>>) -> Result<(), SqlError> {
        let transaction = Arc::into_inner(transaction)
            .ok_or_else(|| SqlError::new(SqlState::Internal, "the statement still runs"))?;
        // Waiting for the disk must not keep other sessions waiting.
        tokio::task::block_in_place(|| transaction.into_inner().commit(&self.inner))
    }

    /// Does work in the open transaction, or in one of its own.
    pub(crate) fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction, &thalweg_node::Engine) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let engine = &self.inner.engine;
        if let Some(open) = &self.transaction {
            return work(&mut open.lock(), engine);
        }
        let mut transaction = Transaction::new(engine, self.temporary.clone());
        let outcome = work(&mut transaction, engine)?;
        tokio::task::block_in_place(|| transaction.commit(&self.inner))?;
        Ok(outcome)
    }

    async fn change_in(
        &self,
        transaction: &Arc<Mutex<Transaction>>,
        change: &Change,
        types: &[Field],
        values: &[ScalarValue],
    ) -> Result<(u64, Option<RecordBatch>), SqlError> {
        let plan = self.plan_change(change, types, values, Some(transaction)).await?;
        let state = self.state(Some(transaction))?;
        let physical_plan = physical(&state, &plan).await?;
        let schema = physical_plan.schema();
        let batches = collect_writes(execute_stream(physical_plan, state.task_ctx())?).await?;
        match change.definition.as_ref() {
            Definition::Stream(stream) => {
                let rows = self.append(transaction, &change.name, stream, &batches)?;
                Ok((rows, None))
            }
            Definition::Table(table) => {
                let batch = concat_batches(&schema, &batches).map_err(internal)?;
                self.write(transaction, change, table, &batch, values).await
            }
            other => Err(not_written(&change.name, other)),
        }
    }

    fn append(
        &self,
        transaction: &Arc<Mutex<Transaction>>,
        name: &str,
        stream: &StreamDefinition,
        batches: &[RecordBatch],
    ) -> Result<u64, SqlError> {
        let mut appender = Appender::new(&self.inner.engine, name, stream);
        let mut count = 0;
        for batch in batches {
            let (writes, appended) = appender.writes_of_batch(batch)?;
            count += appended.appended + appended.dead;
            transaction.lock().append(writes)?;
        }
        Ok(count)
    }

    async fn write(
        &self,
        transaction: &Arc<Mutex<Transaction>>,
        change: &Change,
        table: &TableDefinition,
        batch: &RecordBatch,
        values: &[ScalarValue],
    ) -> Result<(u64, Option<RecordBatch>), SqlError> {
        let checks = self.checks(&change.name, table)?;
        let conflict = match &change.kind {
            Kind::Insert { conflict: Some(conflict), .. } => {
                conflict.resolve(self, &change.name, table, values)?
            }
            _ => Conflict::Error,
        };
        let kept = batch.num_columns() - change.returned;
        let own = batch.project(&(0..kept).collect::<Vec<_>>()).map_err(internal)?;
        let now_ms = self.inner.engine.now_ms();
        let (changed, written) = {
            let mut transaction = transaction.lock();
            let mut writer = Writer::new(&mut transaction, &change.name, table, &checks, now_ms);
            match &change.kind {
                Kind::Insert { returning, .. } => {
                    let columns = sized_columns(table, own.columns())?;
                    writer.written = returning.is_some().then(Vec::new);
                    let changed = writer.insert(&columns, own.num_rows(), &conflict)?;
                    (changed, returning.is_some().then(|| writer.take_written()).transpose()?)
                }
                Kind::Update => {
                    let keys = keys_of(&own)?;
                    let columns = sized_columns(table, own.columns().get(1..).unwrap_or_default())?;
                    let changed = writer.update(&keys, &columns)?;
                    return Ok((changed, returned(batch, kept, &keys)?));
                }
                Kind::Delete => {
                    let keys = keys_of(&own)?;
                    let changed = writer.delete(&keys)?;
                    return Ok((changed, returned(batch, kept, &keys)?));
                }
            }
        };
        match (&change.kind, written) {
            (Kind::Insert { returning: Some(items), alias, .. }, Some(written)) => {
                Ok((changed, Some(self.returning(items, alias, table, written).await?)))
            }
            _ => Ok((changed, None)),
        }
    }

    /// Refuses what writes in a transaction that only reads, or that can only be rolled back.
    pub(crate) fn refuse_write(&self, what: &str) -> Result<(), SqlError> {
        self.refuse_if_failed()?;
        self.refuse_if_read_only(what)
    }

    /// All columns of a table from some of them: the others have their defaults.
    pub(crate) async fn with_defaults(
        &self,
        name: &str,
        table: &TableDefinition,
        targets: &[usize],
        arrays: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<Vec<ArrayRef>, SqlError> {
        let state = self.state(None)?;
        let nothing = DFSchema::empty();
        let one = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &one);
        let empty = empty.map_err(internal)?;
        let mut all = Vec::with_capacity(table.columns.len());
        for (index, column) in table.columns.iter().enumerate() {
            let given = targets.iter().position(|&target| target == index);
            if let Some(array) = given.and_then(|given| arrays.get(given)) {
                all.push(array.clone());
                continue;
            }
            let field = dialect::assignable(column);
            let Some(default) = default_of(name, column) else {
                all.push(datafusion::arrow::array::new_null_array(field.data_type(), rows));
                continue;
            };
            let logical = dialect::cast_to(dialect::plan_expr(&state, &default, &nothing)?, &field);
            let computed = super::upsert::physical(&state, &nothing, logical)?;
            all.push(computed.evaluate(&empty)?.into_array(rows)?);
        }
        Ok(all)
    }

    /// The conditions of a table, ready to be evaluated.
    pub(crate) fn checks(
        &self,
        name: &str,
        table: &TableDefinition,
    ) -> Result<Vec<Condition>, SqlError> {
        if table.checks.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.state(None)?;
        let schema = loose_schema_of(&table.columns);
        let schema = DFSchema::try_from_qualified_schema(TableReference::bare(name), &schema)?;
        let checks = table.checks.iter().map(|check| {
            let logical = dialect::plan_expr(&state, &check.condition, &schema)?;
            Ok((check.name.clone(), super::upsert::physical(&state, &schema, logical)?))
        });
        checks.collect()
    }
}
