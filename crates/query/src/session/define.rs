//! Statements that declare and drop things, that begin and end transactions, and that set and show variables.

use super::{Outcome, Session};
use crate::catalog::{Definition, ExternalDefinition, QueryDefinition, TableDefinition};
use crate::error::{SqlError, SqlState};
use crate::statement::{Statement, column, no_twins};
use crate::table::{BUCKETS, Transaction, bucket_key};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::{CreateExternalTable, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    ColumnOption, CreateTable, Expr, ObjectName, ObjectType, Set, Statement as SqlStatement,
    TableConstraint, Value,
};
use parking_lot::Mutex;
use std::sync::Arc;

/// Variables that clients of Postgres set; what they ask for is what they get anyway, or is only remembered.
const VARIABLES: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "on"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", "16.0"),
    ("server_version_num", "160000"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("transaction_isolation", "serializable"),
    ("transaction_read_only", "off"),
];

impl Session {
    /// Statements that are only ours.
    pub(super) async fn define_ours(
        &mut self,
        statement: &Statement,
        text: &str,
    ) -> Result<Outcome, SqlError> {
        self.refuse_in_transaction(text)?;
        let inner = &self.inner;
        let done = |tag: &str| Ok(Outcome::Done(tag.to_owned()));
        match statement {
            Statement::CreateStream { name, if_not_exists, definition } => {
                definition.check(name)?;
                // Others may be at the store of segments meanwhile; waiting for them takes no thread from it.
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
                Ok(Outcome::Rows(rows.0))
            }
            Statement::Drop { kind, name, if_exists } => {
                self.drop_object(kind, name, *if_exists)?;
                Ok(Outcome::Done(format!("DROP {}", kind.to_uppercase())))
            }
            Statement::Seal { name } => {
                let stream = inner.catalog.stream(name);
                let stream = stream.ok_or_else(|| SqlError::unknown("stream", name))?;
                if !inner.segments.enabled() {
                    return Err(SqlError::unsupported(
                        "this node keeps no files, so it seals nothing",
                    ));
                }
                let mut sealed = 0;
                for partition in 0..stream.partitions {
                    let seal = || inner.segments.seal(&inner.catalog, name, partition, true);
                    sealed += tokio::task::block_in_place(seal)?;
                }
                done(&format!("SEAL {sealed}"))
            }
            Statement::SetPaused { name, paused } => {
                inner.set_paused(name, *paused).await?;
                done(if *paused { "PAUSE" } else { "RESUME" })
            }
            Statement::CopyIn(_) | Statement::CopyOut(_) | Statement::Df(_) => {
                Err(SqlError::unsupported("not ours"))
            }
        }
    }

    fn refuse_in_transaction(&self, text: &str) -> Result<(), SqlError> {
        if self.transaction.is_none() {
            return Ok(());
        }
        let first = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        Err(SqlError::unsupported(format!("{first} cannot run inside a transaction block")))
    }

    /// Waits for whoever else changes the catalog, and takes no thread from him meanwhile.
    fn declare(
        &self,
        name: &str,
        definition: Definition,
        if_not_exists: bool,
    ) -> Result<bool, SqlError> {
        let catalog = &self.inner.catalog;
        tokio::task::block_in_place(|| catalog.create(name, definition, if_not_exists))
    }

    fn drop_object(&self, kind: &str, name: &str, if_exists: bool) -> Result<(), SqlError> {
        let inner = &self.inner;
        let Some(definition) = inner.catalog.get(name) else {
            return if if_exists { Ok(()) } else { Err(SqlError::unknown(kind, name)) };
        };
        let matches = definition.kind() == kind
            || (kind == "table" && matches!(*definition, Definition::External(_)));
        if !matches {
            let message = format!("\"{name}\" is a {}, not a {kind}", definition.kind());
            let hint = format!("DROP {} {name}", definition.kind().to_uppercase());
            return Err(SqlError::new(SqlState::WrongObjectType, message).hint(hint));
        }
        if let Some(user) = inner.views.user_of(name) {
            let message = format!("cannot drop \"{name}\": materialized view \"{user}\" reads it");
            return Err(SqlError::new(SqlState::DependentObjects, message)
                .hint(format!("DROP MATERIALIZED VIEW {user} first")));
        }
        match definition.as_ref() {
            // Its threads end first.
            Definition::View(_) => {
                tokio::task::block_in_place(|| inner.views.drop(name))?;
                inner.catalog.drop(name)?;
                return inner.forget_changes(name);
            }
            Definition::Table(_) => {
                inner.catalog.drop(name)?;
                for bucket in 0..BUCKETS {
                    inner.engine.call(&[b"UNLINK", &bucket_key(name, bucket)])?;
                }
                return Ok(());
            }
            Definition::Stream(stream) => {
                return tokio::task::block_in_place(|| {
                    inner.catalog.drop_after(name, || {
                        for partition in 0..stream.partitions {
                            let key = stream.key(name, partition);
                            inner.engine.call(&[b"UNLINK", key.as_bytes()])?;
                        }
                        inner.segments.drop_stream(name, stream)
                    })
                });
            }
            Definition::External(_) | Definition::Query(_) => {}
        }
        inner.catalog.drop(name)
    }

    /// Statements of SQL that declare things; `None` if this is not one.
    pub(super) async fn define(
        &mut self,
        statement: &DfStatement,
        text: &str,
    ) -> Result<Option<String>, SqlError> {
        if let DfStatement::CreateExternalTable(create) = statement {
            self.refuse_in_transaction(text)?;
            let name = object_name(&create.name)?;
            let definition = ExternalDefinition { statement: spell(create) };
            self.inner.external(&definition).await?;
            let if_not_exists = create.if_not_exists;
            self.declare(&name, Definition::External(definition), if_not_exists)?;
            return Ok(Some("CREATE EXTERNAL TABLE".to_owned()));
        }
        let DfStatement::Statement(statement) = statement else { return Ok(None) };
        match statement.as_ref() {
            SqlStatement::CreateTable(create) => {
                self.refuse_in_transaction(text)?;
                let name = object_name(&create.name)?;
                let definition = Definition::Table(table_definition(&name, create)?);
                self.declare(&name, definition, create.if_not_exists)?;
                Ok(Some("CREATE TABLE".to_owned()))
            }
            SqlStatement::CreateView(create) => {
                self.refuse_in_transaction(text)?;
                let name = object_name(&create.name)?;
                let query = create.query.to_string();
                // Refuses what cannot be planned.
                self.inner.plan(&query).await?;
                let definition = Definition::Query(QueryDefinition { query });
                match self.inner.catalog.get(&name) {
                    Some(old) if create.or_replace && matches!(*old, Definition::Query(_)) => {
                        self.inner.catalog.replace(&name, &old, definition)?;
                    }
                    _ => {
                        self.declare(&name, definition, create.if_not_exists)?;
                    }
                }
                Ok(Some("CREATE VIEW".to_owned()))
            }
            SqlStatement::Drop { object_type, if_exists, names, .. } => {
                self.refuse_in_transaction(text)?;
                let kind = match object_type {
                    ObjectType::Table => "table",
                    ObjectType::View => "view",
                    ObjectType::MaterializedView => "materialized view",
                    ObjectType::Stream => "stream",
                    other => {
                        return Err(SqlError::unsupported(format!(
                            "DROP {other} is not supported"
                        )));
                    }
                };
                for name in names {
                    self.drop_object(kind, &object_name(name)?, *if_exists)?;
                }
                Ok(Some(format!("DROP {}", kind.to_uppercase())))
            }
            _ => Ok(None),
        }
    }

    /// Transactions and variables; `None` if the statement is about neither.
    pub(super) fn control(&mut self, statement: &DfStatement) -> Result<Option<String>, SqlError> {
        let statement = match statement {
            DfStatement::Statement(statement) => statement.as_ref(),
            DfStatement::Reset(_) => {
                self.variables.clear();
                return Ok(Some("RESET".to_owned()));
            }
            _ => return Ok(None),
        };
        let tag = match statement {
            SqlStatement::StartTransaction { .. } => {
                if self.transaction.is_none() {
                    let transaction = Transaction::new(&self.inner.engine);
                    self.transaction = Some(Arc::new(Mutex::new(transaction)));
                }
                "BEGIN"
            }
            SqlStatement::Commit { .. } => {
                let failed = std::mem::take(&mut self.failed);
                let Some(transaction) = self.transaction.take() else {
                    return Ok(Some("COMMIT".into()));
                };
                if failed {
                    return Ok(Some("ROLLBACK".to_owned()));
                }
                let transaction = Arc::into_inner(transaction).ok_or_else(|| {
                    SqlError::new(SqlState::Internal, "a query of this transaction still runs")
                })?;
                tokio::task::block_in_place(|| transaction.into_inner().commit())?;
                "COMMIT"
            }
            SqlStatement::Rollback { savepoint: None, .. } => {
                self.failed = false;
                self.transaction = None;
                "ROLLBACK"
            }
            SqlStatement::Set(set) => {
                self.set(set)?;
                "SET"
            }
            SqlStatement::Discard { .. } => {
                self.variables.clear();
                "DISCARD ALL"
            }
            SqlStatement::Deallocate { .. } => "DEALLOCATE",
            SqlStatement::Savepoint { name } => {
                self.open_transaction()?.lock().save(&name.value)?;
                "SAVEPOINT"
            }
            SqlStatement::ReleaseSavepoint { name } => {
                self.open_transaction()?.lock().release(&name.value)?;
                "RELEASE"
            }
            SqlStatement::Rollback { savepoint: Some(name), .. } => {
                self.open_transaction()?.lock().go_back(&name.value)?;
                self.failed = false;
                "ROLLBACK"
            }
            _ => return Ok(None),
        };
        Ok(Some(tag.to_owned()))
    }

    fn open_transaction(&self) -> Result<&Arc<Mutex<Transaction>>, SqlError> {
        self.transaction.as_ref().ok_or_else(|| {
            let message = "savepoints can only be used in transaction blocks";
            SqlError::new(SqlState::NoActiveTransaction, message)
        })
    }

    fn set(&mut self, set: &Set) -> Result<(), SqlError> {
        let (name, value) = match set {
            Set::SingleAssignment { variable, values, .. } => {
                (variable.to_string(), values.iter().map(text_of).collect::<Vec<_>>().join(", "))
            }
            Set::SetTimeZone { value, .. } => ("timezone".to_owned(), text_of(value)),
            Set::SetNames { charset_name, .. } => {
                ("client_encoding".to_owned(), charset_name.to_string())
            }
            // There is one isolation level, and it is the strictest.
            Set::SetTransaction { .. } | Set::SetSessionParam(_) => return Ok(()),
            other => return Err(SqlError::unsupported(format!("{other} is not supported"))),
        };
        let name = name.to_lowercase();
        if !VARIABLES.iter().any(|(known, _)| *known == name) {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(SqlError::new(SqlState::UndefinedObject, message));
        }
        self.variables.insert(name, value);
        Ok(())
    }

    /// SHOW: a variable's value as rows; `None` if the statement is another one.
    pub(super) fn show(
        &self,
        statement: &DfStatement,
    ) -> Result<Option<(SendableRecordBatchStream, SchemaRef)>, SqlError> {
        let DfStatement::Statement(statement) = statement else { return Ok(None) };
        let SqlStatement::ShowVariable { variable } = statement.as_ref() else { return Ok(None) };
        let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
        let name = match words.join(" ").as_str() {
            "time zone" => "timezone".to_owned(),
            "transaction isolation level" => "transaction_isolation".to_owned(),
            "streams" | "views" | "materialized views" => {
                let kind = if words == ["streams"] { "stream" } else { "materialized view" };
                let all = self.inner.catalog.list().into_iter();
                let names = all.filter(|(_, definition)| definition.kind() == kind);
                let names = names.map(|(name, _)| Some(name)).collect();
                return text_rows("name", names).map(Some);
            }
            other => other.to_owned(),
        };
        let known = VARIABLES.iter().find(|(known, _)| *known == name);
        let Some((_, default)) = known else {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(SqlError::new(SqlState::UndefinedObject, message));
        };
        let value = self.variables.get(&name).cloned().unwrap_or_else(|| (*default).to_owned());
        text_rows(&name, vec![Some(value)]).map(Some)
    }
}

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

fn text_of(expr: &Expr) -> String {
    let text = expr.to_string();
    text.trim_matches('\'').to_owned()
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

fn table_definition(name: &str, create: &CreateTable) -> Result<TableDefinition, SqlError> {
    if create.query.is_some() {
        return Err(SqlError::unsupported("CREATE TABLE … AS is not supported")
            .hint("create the table with its primary key, then INSERT INTO … SELECT"));
    }
    let columns: Vec<_> = create.columns.iter().map(column).collect::<Result<_, _>>()?;
    no_twins(&columns)?;
    let mut key: Vec<String> = Vec::new();
    for declared in &create.columns {
        if declared
            .options
            .iter()
            .any(|option| matches!(option.option, ColumnOption::PrimaryKey(_)))
        {
            key.push(column(declared)?.name);
        }
    }
    for constraint in &create.constraints {
        let TableConstraint::PrimaryKey(primary) = constraint else {
            return Err(SqlError::unsupported(format!("{constraint} is not supported")));
        };
        key.extend(primary.columns.iter().map(|column| {
            let text = column.column.expr.to_string();
            if text.starts_with('"') {
                text.trim_matches('"').to_owned()
            } else {
                text.to_lowercase()
            }
        }));
    }
    if key.is_empty() {
        let message = format!("table \"{name}\" has no primary key");
        return Err(SqlError::new(SqlState::InvalidDefinition, message)
            .hint("its rows are found by it. For rows that are only appended, CREATE STREAM"));
    }
    let mut definition = TableDefinition { columns, primary_key: Vec::new() };
    for name in key {
        let position = definition.columns.iter().position(|column| column.name == name);
        let position = position.ok_or_else(|| {
            let message = format!("column \"{name}\" named in key does not exist");
            SqlError::new(SqlState::UndefinedColumn, message)
        })?;
        if let Some(column) = definition.columns.get_mut(position) {
            column.nullable = false;
        }
        definition.primary_key.push(position);
    }
    Ok(definition)
}
