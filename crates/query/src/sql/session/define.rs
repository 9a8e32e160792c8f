//! Statements that declare and drop things.

use super::insert_rows;
use super::{Block, Outcome, Rows, Session};
use crate::catalog::{
    Definition, ExternalDefinition, QueryDefinition, SequenceDefinition, TableDefinition,
};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect;
use crate::sql::statement::Statement;
use crate::tables::Retired;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::{CreateExternalTable, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    CreateTable, CreateView, ObjectName, Statement as SqlStatement, Truncate,
    TruncateIdentityOption, Value,
};
use std::sync::Arc;

mod alter;
mod columns;
mod comment;
mod drop;
mod sequences;
mod tables;

pub(crate) use sequences::{nextval_of, sequence_name};

impl Session {
    /// Statements that are only ours.
    pub(super) async fn define_ours(
        &mut self,
        statement: &Statement,
        text: &str,
    ) -> Result<Outcome, SqlError> {
        if let Statement::Move { name, direction } = statement {
            return self.move_cursor(name, direction).await;
        }
        self.refuse_if_read_only(text.split_whitespace().next().unwrap_or_default())?;
        self.refuse_in_transaction(text)?;
        let inner = &self.inner;
        let done = |tag: &str| Ok(Outcome::Done(tag.to_owned()));
        match statement {
            Statement::CreateStream { name, if_not_exists, definition } => {
                definition.check(name)?;
                // Others may be at the store of segments meanwhile; waiting for them takes no
                // thread from it.
                tokio::task::block_in_place(|| {
                    inner.create_stream(name, definition.clone(), *if_not_exists)
                })?;
                done("CREATE STREAM")
            }
            Statement::CreateView(view) => {
                inner.create_view(view).await?;
                done("CREATE MATERIALIZED VIEW")
            }
            Statement::ExplainView(view) => {
                let lines = inner.explain_view(view).await?;
                let rows = text_rows("plan", lines.into_iter().map(Some).collect())?;
                Ok(Outcome::Rows(Rows::select(rows.0)))
            }
            Statement::Drop { kind, name, if_exists } => {
                self.drop_one(kind, name, *if_exists, false)?;
                Ok(Outcome::Done(format!("DROP {}", kind.to_uppercase())))
            }
            Statement::Seal { name } => {
                let sealed = self.seal_stream(name)?;
                done(&format!("SEAL {sealed}"))
            }
            Statement::SetPaused { name, paused } => {
                inner.set_paused(name, *paused).await?;
                done(if *paused { "PAUSE" } else { "RESUME" })
            }
            Statement::Move { .. }
            | Statement::Empty
            | Statement::CopyIn(_)
            | Statement::CopyOut(_)
            | Statement::Df(_) => Err(SqlError::unsupported("not ours")),
        }
    }

    /// Puts all records of a stream into segments; gives how many there were.
    fn seal_stream(&self, name: &str) -> Result<u64, SqlError> {
        let inner = &self.inner;
        let stream = inner.catalog.stream(name);
        let stream = stream.ok_or_else(|| SqlError::unknown("stream", name))?;
        if !inner.segments.enabled() {
            return Err(SqlError::unsupported(
                "this node keeps nothing on disk, so it cannot seal",
            ));
        }
        let mut sealed = 0;
        for partition in 0..stream.partitions {
            let seal = || inner.segments.seal(&inner.catalog, name, partition, true);
            sealed += tokio::task::block_in_place(seal)?;
        }
        Ok(sealed)
    }

    /// What cannot be taken back is refused where it may have to be: after BEGIN, and behind
    /// changes that came with it.
    fn refuse_in_transaction(&self, text: &str) -> Result<(), SqlError> {
        let Some(transaction) = &self.transaction else { return Ok(()) };
        if self.block == Block::Implicit && transaction.lock().is_unchanged() {
            return Ok(());
        }
        let first = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        Err(SqlError::new(
            SqlState::ActiveTransaction,
            format!("{first} cannot run inside a transaction block"),
        ))
    }

    /// Declares an object in the open transaction, or at once; false if it is there already and
    /// that is no error.
    fn declare(
        &mut self,
        name: &str,
        definition: Definition,
        if_not_exists: bool,
    ) -> Result<bool, SqlError> {
        crate::catalog::check_name(name)?;
        let is_temporary = match &definition {
            Definition::Table(table) => table.temporary,
            Definition::Sequence(sequence) => sequence.temporary,
            _ => false,
        };
        let other = match is_temporary {
            true => self.temporary.get(name).cloned(),
            false => self.definition(name).filter(|_| !self.temporary.contains_key(name)),
        };
        if let Some(other) = other {
            if if_not_exists {
                let message = format!("relation \"{name}\" already exists, skipping");
                self.notice("NOTICE", SqlState::DuplicateTable, message);
                return Ok(false);
            }
            let message = format!("relation \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateTable, message)
                .hint(format!("it is a {}", other.kind())));
        }
        if is_temporary {
            self.temporary.insert(name.to_owned(), Arc::new(definition));
            return Ok(true);
        }
        self.put(name, None, Some(definition))?;
        Ok(true)
    }

    /// Puts a definition in the place of another one.
    fn put(
        &mut self,
        name: &str,
        seen: Option<Arc<Definition>>,
        now: Option<Definition>,
    ) -> Result<(), SqlError> {
        if self.temporary.contains_key(name) {
            match now {
                Some(now) => self.temporary.insert(name.to_owned(), Arc::new(now)),
                None => self.temporary.remove(name),
            };
            return Ok(());
        }
        self.in_transaction(|transaction, _| {
            transaction.declare(name, seen, now);
            Ok(())
        })
    }

    /// Statements of SQL that declare things; `None` if this is not one.
    pub(super) async fn define(
        &mut self,
        statement: &DfStatement,
        text: &str,
    ) -> Result<Option<String>, SqlError> {
        if !declares(statement) {
            return Ok(None);
        }
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        let is_temporary = words.get(1).is_some_and(|word| {
            word.eq_ignore_ascii_case("temp") || word.eq_ignore_ascii_case("temporary")
        });
        if !is_temporary {
            self.refuse_if_read_only(&words.join(" ").to_uppercase())?;
        }
        match statement {
            DfStatement::CreateExternalTable(create) => {
                self.create_external(create).await.map(Some)
            }
            DfStatement::Statement(statement) => self.define_sql(statement).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Runs a statement that [`declares`] something.
    async fn define_sql(&mut self, statement: &SqlStatement) -> Result<String, SqlError> {
        match statement {
            SqlStatement::CreateTable(create) => self.create_table(create).await,
            SqlStatement::CreateView(create) => self.create_query_view(create).await,
            SqlStatement::CreateSequence {
                temporary,
                if_not_exists,
                name,
                sequence_options,
                ..
            } => self.create_sequence(name, sequence_options, *temporary, *if_not_exists),
            SqlStatement::CreateIndex(create) => self.create_index(create).await,
            SqlStatement::CreateSchema { schema_name, if_not_exists, .. } => {
                let name = schema_name.to_string();
                if *if_not_exists && name.trim_matches('"') == "public" {
                    return Ok("CREATE SCHEMA".to_owned());
                }
                Err(SqlError::unsupported(format!(
                    "schema {name}: objects are created in \"public\""
                )))
            }
            SqlStatement::AlterTable(alter) => self.alter_table(alter).await,
            SqlStatement::Truncate(truncate) => self.truncate(truncate),
            SqlStatement::Drop { object_type, if_exists, names, cascade, .. } => {
                self.drop_named(object_type, names, *if_exists, *cascade)
            }
            SqlStatement::Comment { object_type, object_name, comment, .. } => {
                self.comment(object_type, object_name, comment.as_deref())
            }
            _ => {
                Err(SqlError::unsupported("GRANT and REVOKE are not supported: there is one user"))
            }
        }
    }

    async fn create_external(&mut self, create: &CreateExternalTable) -> Result<String, SqlError> {
        let name = object_name(&create.name)?;
        let definition = ExternalDefinition { statement: spell(create) };
        self.inner.external(&definition).await?;
        self.declare(&name, Definition::External(definition), create.if_not_exists)?;
        Ok("CREATE EXTERNAL TABLE".to_owned())
    }

    async fn create_query_view(&mut self, create: &CreateView) -> Result<String, SqlError> {
        let name = object_name(&create.name)?;
        if create.temporary {
            return Err(SqlError::unsupported("temporary views are not supported"));
        }
        let mut query = create.query.to_string();
        if !create.columns.is_empty() {
            let names: Vec<String> =
                create.columns.iter().map(|column| column.name.to_string()).collect();
            query = format!("SELECT * FROM ({query}) AS {}({})", "given", names.join(", "));
        }
        // Refuses what cannot be planned.
        let statement = match crate::sql::statement::parse(&query)?.pop() {
            Some(Statement::Df(statement)) => *statement,
            _ => return Err(SqlError::new(SqlState::SyntaxError, "a view is a query")),
        };
        self.plan_query(&statement, &[], &[]).await?;
        if let Some(temporary) =
            dialect::relations(&statement).iter().find(|name| self.temporary.contains_key(*name))
        {
            return Err(SqlError::unsupported(format!(
                "a view over the temporary table \"{temporary}\""
            )));
        }
        let definition = Definition::Query(QueryDefinition { query });
        match self.definition(&name) {
            Some(old) if create.or_replace && matches!(*old, Definition::Query(_)) => {
                self.put(&name, Some(old), Some(definition))?;
            }
            _ => {
                self.declare(&name, definition, create.if_not_exists)?;
            }
        }
        Ok("CREATE VIEW".to_owned())
    }
}

/// Whether a statement declares, changes or drops an object.
fn declares(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::CreateExternalTable(_) => true,
        DfStatement::Statement(statement) => matches!(
            statement.as_ref(),
            SqlStatement::CreateTable(_)
                | SqlStatement::CreateView(_)
                | SqlStatement::CreateSequence { .. }
                | SqlStatement::CreateIndex(_)
                | SqlStatement::CreateSchema { .. }
                | SqlStatement::AlterTable(_)
                | SqlStatement::Truncate(_)
                | SqlStatement::Drop { .. }
                | SqlStatement::Comment { .. }
                | SqlStatement::Grant(_)
                | SqlStatement::Revoke(_)
        ),
        _ => false,
    }
}

/// Bytes of rows that CREATE TABLE AS may bring.
const ROWS_MAX_BYTES: usize = 64 << 20;

/// Rows of one text column.
pub(crate) fn text_rows(
    name: &str,
    rows: Vec<Option<String>>,
) -> Result<(SendableRecordBatchStream, SchemaRef), SqlError> {
    let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8View, true)]));
    let column: ArrayRef = Arc::new(StringViewArray::from_iter(rows));
    let batch = RecordBatch::try_new(schema.clone(), vec![column])
        .map_err(datafusion::common::DataFusionError::from)?;
    let rows = futures_util::stream::iter([Ok(batch)]);
    Ok((Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows)), schema))
}

/// An object's name without its schema.
pub(super) fn object_name(name: &ObjectName) -> Result<String, SqlError> {
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(|ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        })
        .collect();
    match parts.as_slice() {
        [name] => Ok(name.clone()),
        [schema, name] if schema == "public" => Ok(name.clone()),
        _ => {
            Err(SqlError::unsupported(format!("{name}: objects are created in schema \"public\"")))
        }
    }
}

/// A declaration of files as text, whole: the parser's own form leaves out columns and options.
fn spell(create: &CreateExternalTable) -> String {
    let mut text = format!("CREATE EXTERNAL TABLE {}", create.name);
    let listed = |parts: Vec<String>| parts.join(", ");
    let columns = create.columns.iter().map(ToString::to_string);
    let parts: Vec<String> =
        columns.chain(create.constraints.iter().map(ToString::to_string)).collect();
    if !parts.is_empty() {
        text.push_str(&format!(" ({})", listed(parts)));
    }
    text.push_str(&format!(" STORED AS {}", create.file_type));
    if !create.table_partition_cols.is_empty() {
        text.push_str(&format!(
            " PARTITIONED BY ({})",
            listed(create.table_partition_cols.clone())
        ));
    }
    for order in &create.order_exprs {
        let order = order.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" WITH ORDER ({})", listed(order)));
    }
    let quoted = |text: &String| format!("'{}'", text.replace('\'', "''"));
    match create.locations.as_slice() {
        [location] => text.push_str(&format!(" LOCATION {}", quoted(location))),
        many => {
            let many = many.iter().map(quoted).collect();
            text.push_str(&format!(" LOCATION ({})", listed(many)));
        }
    }
    if !create.options.is_empty() {
        let option = |(name, value): &(String, Value)| format!("{} {value}", quoted(name));
        let options = create.options.iter().map(option).collect();
        text.push_str(&format!(" OPTIONS ({})", listed(options)));
    }
    text
}
