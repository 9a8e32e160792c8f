//! ALTER TABLE, CREATE INDEX. A change of columns writes the rows anew, in the same transaction.

use super::super::Session;
use super::columns::{add_unique, column_names, column_of, ident};
use super::object_name;
use super::sequences::{nextval_of, sequence_name};
use crate::catalog::{Check, Definition, SequenceDefinition, TableDefinition, Unique};
use crate::dialect::{self, quoted};
use crate::error::{SqlError, SqlState};
use crate::table::Retired;
use crate::types::Column;
use datafusion::arrow::array::ArrayRef;
use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, CreateIndex, RenameTableNameKind,
    TableConstraint,
};
use std::sync::Arc;

/// A column of the table as it becomes: where its values come from.
enum Source {
    /// A column that was there.
    Old(String),
    /// An expression over the columns that were there.
    Computed(String),
}

impl Session {
    pub(super) async fn alter_table(&mut self, alter: &AlterTable) -> Result<String, SqlError> {
        let mut name = object_name(&alter.name)?;
        for operation in &alter.operations {
            let Some(old) = self.definition(&name) else {
                if alter.if_exists {
                    let message = format!("relation \"{name}\" does not exist, skipping");
                    self.notice("NOTICE", SqlState::UndefinedTable, message);
                    return Ok("ALTER TABLE".to_owned());
                }
                return Err(SqlError::unknown("relation", &name));
            };
            let Definition::Table(table) = old.as_ref() else {
                let message = format!("ALTER TABLE is not supported for a {}", old.kind());
                return Err(SqlError::new(SqlState::WrongObjectType, message));
            };
            let table = table.clone();
            name = self.alter_one(&name, &old, table, operation).await?;
        }
        Ok("ALTER TABLE".to_owned())
    }

    /// Does one part of ALTER TABLE; gives the table's name afterwards.
    async fn alter_one(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        operation: &AlterTableOperation,
    ) -> Result<String, SqlError> {
        match operation {
            AlterTableOperation::AddColumn { column_def, if_not_exists, .. } => {
                let (mut column, extra) = column_of(name, column_def)?;
                if table.position(&column.name).is_some() {
                    if *if_not_exists {
                        return Ok(name.to_owned());
                    }
                    let message =
                        format!("column \"{}\" of relation \"{name}\" already exists", column.name);
                    return Err(SqlError::new(SqlState::DuplicateColumn, message));
                }
                if extra.is_constrained() {
                    return Err(SqlError::unsupported("ADD COLUMN with a key is not supported")
                        .hint("add the column, then CREATE UNIQUE INDEX"));
                }
                if let Some(sequence) = extra.sequence {
                    let owner = Some((name.to_owned(), column.name.clone()));
                    let temporary = table.temporary;
                    let sequence = SequenceDefinition { owner, temporary, ..sequence };
                    let drawn_from = self.draw_from(name, &mut column);
                    self.make_sequence(&drawn_from, sequence, false)?;
                }
                for (given, condition) in extra.checks {
                    let check_name =
                        given.unwrap_or_else(|| format!("{name}_{}_check", column.name));
                    table.checks.push(Check { name: check_name, condition });
                }
                let value = match (&column.default, column.identity) {
                    (Some(default), _) => default.clone(),
                    (None, Some(_)) => nextval_of(&sequence_name(name, &column.name)),
                    (None, None) => "NULL".to_owned(),
                };
                table.columns.push(column);
                let mut sources = sources(&table, table.columns.len() - 1);
                sources.push(Source::Computed(value));
                self.rewrite_table(name, old, table, sources).await?;
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                for column in column_names {
                    let cascade = matches!(
                        drop_behavior,
                        Some(datafusion::sql::sqlparser::ast::DropBehavior::Cascade)
                    );
                    self.drop_column(name, &ident(column), *if_exists, cascade).await?;
                }
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(
                    name,
                    old,
                    table,
                    &ident(old_column_name),
                    &ident(new_column_name),
                )?;
            }
            AlterTableOperation::RenameTable { table_name } => {
                let (RenameTableNameKind::As(new) | RenameTableNameKind::To(new)) = table_name;
                let new = object_name(new)?;
                self.rename_table(name, old, table, &new)?;
                return Ok(new);
            }
            AlterTableOperation::AlterColumn { column_name, op } => {
                self.alter_column(name, old, table, &ident(column_name), op).await?;
            }
            AlterTableOperation::AddConstraint { constraint, .. } => {
                self.add_constraint(name, old, table, constraint).await?;
            }
            AlterTableOperation::DropConstraint { if_exists, name: constraint, .. } => {
                let constraint = ident(constraint);
                if let Some(at) = table.checks.iter().position(|check| check.name == constraint) {
                    table.checks.remove(at);
                    self.put(name, Some(old.clone()), Some(Definition::Table(table)))?;
                } else if let Some(at) =
                    table.uniques.iter().position(|unique| unique.name == constraint)
                {
                    self.drop_unique(name, old, at)?;
                } else if !if_exists {
                    let message = format!(
                        "constraint \"{constraint}\" of relation \"{name}\" does not exist"
                    );
                    return Err(SqlError::new(SqlState::UndefinedObject, message));
                }
            }
            AlterTableOperation::OwnerTo { .. } => {}
            other => {
                return Err(SqlError::unsupported(format!(
                    "ALTER TABLE … {other} is not supported"
                )));
            }
        }
        Ok(name.to_owned())
    }

    async fn drop_column(
        &mut self,
        name: &str,
        column: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), SqlError> {
        let Some(old) = self.definition(name) else { return Ok(()) };
        let Definition::Table(table) = old.as_ref() else { return Ok(()) };
        let mut table = table.clone();
        let Some(at) = table.position(column) else {
            if if_exists {
                return Ok(());
            }
            let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
            return Err(SqlError::new(SqlState::UndefinedColumn, message));
        };
        if table.primary_key.contains(&at) {
            let message =
                format!("column \"{column}\" is part of the primary key and cannot be dropped");
            return Err(SqlError::unsupported(message));
        }
        let user =
            self.objects().into_iter().find(|(view, definition)| match definition.as_ref() {
                Definition::Query(query) => {
                    view != name
                        && dialect::reads(&query.query, name)
                        && query.query.contains(column)
                }
                _ => false,
            });
        if let Some((view, _)) = user.filter(|_| !cascade) {
            let message = format!(
                "cannot drop column {column} of table {name} because view {view} depends on it"
            );
            return Err(SqlError::new(SqlState::DependentObjects, message));
        }
        table.uniques.retain(|unique| !unique.columns.contains(&at));
        table.checks.retain(|check| !dialect::mentions(&check.condition, column));
        table.columns.remove(at);
        let moved = |index: &mut usize| *index -= usize::from(*index > at);
        table.primary_key.iter_mut().for_each(moved);
        table.uniques.iter_mut().flat_map(|unique| &mut unique.columns).for_each(moved);
        let sources = sources(&table, table.columns.len());
        self.rewrite_table(name, &old, table, sources).await?;
        self.drop_sequences(name, Some(column))
    }

    fn rename_column(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        from: &str,
        to: &str,
    ) -> Result<(), SqlError> {
        if table.position(to).is_some() {
            let message = format!("column \"{to}\" of relation \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateColumn, message));
        }
        let at = table.position(from).ok_or_else(|| {
            SqlError::new(SqlState::UndefinedColumn, format!("column \"{from}\" does not exist"))
        })?;
        if table.checks.iter().any(|check| dialect::mentions(&check.condition, from)) {
            return Err(SqlError::unsupported("a column that a CHECK names cannot be renamed")
                .hint("drop the constraint first"));
        }
        if let Some(column) = table.columns.get_mut(at) {
            // Its sequence keeps its name.
            if column.identity.is_some() && column.default.is_none() {
                column.default = Some(nextval_of(&sequence_name(name, from)));
            }
            column.name = to.to_owned();
        }
        self.put(name, Some(old.clone()), Some(Definition::Table(table)))?;
        let renamed = |column: &str| if column == from { to } else { column }.to_owned();
        self.rename_owner(name, |column| (name.to_owned(), renamed(column)))
    }

    fn rename_table(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        new: &str,
    ) -> Result<(), SqlError> {
        crate::catalog::check_name(new)?;
        if self.definition(new).is_some() {
            let message = format!("relation \"{new}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateTable, message));
        }
        self.drop_dependents(name, false)?;
        table.storage = Some(table.storage(name).into_owned());
        table.key_name.get_or_insert_with(|| format!("{name}_pkey"));
        for column in table
            .columns
            .iter_mut()
            .filter(|column| column.identity.is_some() && column.default.is_none())
        {
            column.default = Some(nextval_of(&sequence_name(name, &column.name)));
        }
        self.rename_owner(name, |column| (new.to_owned(), column.to_owned()))?;
        if table.temporary {
            self.temporary.remove(name);
            self.temporary.insert(new.to_owned(), Arc::new(Definition::Table(table)));
            return Ok(());
        }
        self.put(name, Some(old.clone()), None)?;
        self.put(new, None, Some(Definition::Table(table)))
    }

    async fn alter_column(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        column: &str,
        operation: &AlterColumnOperation,
    ) -> Result<(), SqlError> {
        let at = table.position(column).ok_or_else(|| {
            let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
            SqlError::new(SqlState::UndefinedColumn, message)
        })?;
        let is_key = table.primary_key.contains(&at);
        let Some(slot) = table.columns.get_mut(at) else { return Ok(()) };
        match operation {
            AlterColumnOperation::SetDefault { value } => slot.default = Some(value.to_string()),
            AlterColumnOperation::DropDefault => slot.default = None,
            AlterColumnOperation::DropNotNull if is_key => {
                let message = format!("column \"{column}\" is in a primary key");
                return Err(SqlError::new(SqlState::InvalidTableDefinition, message));
            }
            AlterColumnOperation::DropNotNull => slot.nullable = true,
            AlterColumnOperation::SetNotNull => {
                slot.nullable = false;
                let sources = sources(&table, table.columns.len());
                return self.rewrite_table(name, old, table, sources).await;
            }
            AlterColumnOperation::SetDataType { data_type, using, .. } => {
                slot.kind = crate::types::ColumnType::of_sql(data_type)?;
                let mut sources = sources(&table, table.columns.len());
                if let (Some(using), Some(source)) = (using, sources.get_mut(at)) {
                    *source = Source::Computed(using.to_string());
                }
                return self.rewrite_table(name, old, table, sources).await;
            }
            other => {
                return Err(SqlError::unsupported(format!(
                    "ALTER COLUMN {other} is not supported"
                )));
            }
        }
        self.check_table(name, &table)?;
        self.put(name, Some(old.clone()), Some(Definition::Table(table)))
    }

    async fn add_constraint(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        constraint: &TableConstraint,
    ) -> Result<(), SqlError> {
        let positions = |table: &TableDefinition, columns: &[String]| {
            let position = |column: &String| {
                table.position(column).ok_or_else(|| {
                    let message = format!("column \"{column}\" named in key does not exist");
                    SqlError::new(SqlState::UndefinedColumn, message)
                })
            };
            columns.iter().map(position).collect::<Result<Vec<usize>, SqlError>>()
        };
        match constraint {
            TableConstraint::Check(check) => {
                let check_name = check.name.as_ref().map_or_else(|| format!("{name}_check"), ident);
                table.checks.push(Check { name: check_name, condition: check.expr.to_string() });
            }
            TableConstraint::Unique(unique) => {
                let columns = column_names(&unique.columns);
                let unique_name = unique
                    .name
                    .as_ref()
                    .map_or_else(|| format!("{name}_{}_key", columns.join("_")), ident);
                let columns = positions(&table, &columns)?;
                add_unique(&mut table, Unique { name: unique_name, columns, is_index: false })?;
            }
            TableConstraint::PrimaryKey(primary) => {
                if !table.primary_key.is_empty() {
                    let message =
                        format!("multiple primary keys for table \"{name}\" are not allowed");
                    return Err(SqlError::new(SqlState::InvalidTableDefinition, message));
                }
                table.primary_key = positions(&table, &column_names(&primary.columns))?;
                table.key_name = primary.name.as_ref().map(ident);
                for &at in &table.primary_key {
                    if let Some(column) = table.columns.get_mut(at) {
                        column.nullable = false;
                    }
                }
            }
            other => return Err(SqlError::unsupported(format!("ADD {other} is not supported"))),
        }
        let sources = sources(&table, table.columns.len());
        self.rewrite_table(name, old, table, sources).await
    }

    pub(super) async fn create_index(&mut self, create: &CreateIndex) -> Result<String, SqlError> {
        let name = object_name(&create.table_name)?;
        let old = self.definition(&name).ok_or_else(|| SqlError::unknown("relation", &name))?;
        let Definition::Table(table) = old.as_ref() else {
            let message = format!("\"{name}\" is a {}: it has no indexes", old.kind());
            return Err(SqlError::new(SqlState::WrongObjectType, message));
        };
        if !create.unique {
            return Err(SqlError::unsupported(
                "CREATE INDEX is not supported: rows are found by their primary key or by a scan",
            )
            .hint("CREATE UNIQUE INDEX is, as a constraint"));
        }
        if create.predicate.is_some() {
            return Err(SqlError::unsupported(
                "a unique index over part of the rows is not supported",
            ));
        }
        let columns = column_names(&create.columns);
        let mut table = table.clone();
        let positions = columns.iter().map(|column| {
            table.position(column).ok_or_else(|| {
                SqlError::unsupported(format!(
                    "a unique index over {column}: only columns are supported"
                ))
            })
        });
        let positions = positions.collect::<Result<Vec<_>, _>>()?;
        let index = match &create.name {
            Some(index) => object_name(index)?,
            None => format!("{name}_{}_idx", columns.join("_")),
        };
        if self.table_of_index(&index).is_some() {
            if create.if_not_exists {
                return Ok("CREATE INDEX".to_owned());
            }
            let message = format!("relation \"{index}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateTable, message));
        }
        add_unique(&mut table, Unique { name: index, columns: positions, is_index: true })?;
        let sources = sources(&table, table.columns.len());
        self.rewrite_table(&name, &old, table, sources).await?;
        Ok("CREATE INDEX".to_owned())
    }

    /// Takes a unique constraint away. Its number tells what belongs to it, so the others are written anew.
    pub(super) fn drop_unique(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        at: usize,
    ) -> Result<(), SqlError> {
        let Definition::Table(table) = old.as_ref() else { return Ok(()) };
        let mut table = table.clone();
        table.uniques.remove(at);
        let sources = sources(&table, table.columns.len());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(self.rewrite_table(name, old, table, sources))
        })
    }

    /// Writes all rows of a table anew, as its new definition has them.
    async fn rewrite_table(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        table: TableDefinition,
        sources: Vec<Source>,
    ) -> Result<(), SqlError> {
        self.check_table(name, &table)?;
        let alone = self.transaction.is_none();
        if alone {
            self.begin_implicit();
        }
        self.rewrite_open(name, old, table, sources).await?;
        if alone {
            tokio::task::block_in_place(|| self.end_implicit())?;
        }
        Ok(())
    }

    async fn rewrite_open(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        sources: Vec<Source>,
    ) -> Result<(), SqlError> {
        let Definition::Table(before) = old.as_ref() else { return Ok(()) };
        let item = |(source, column): (&Source, &Column)| -> Result<String, SqlError> {
            let value = match source {
                Source::Old(column) => dialect::parse_expr(&quoted(column))?,
                Source::Computed(text) => dialect::parse_expr(text)?,
            };
            let value = dialect::cast_expr(value, &dialect::assignable_sql(column))?;
            Ok(format!("{value} AS {}", quoted(&format!("new {}", column.name))))
        };
        let items = sources.iter().zip(&table.columns).map(item).collect::<Result<Vec<_>, _>>()?;
        let text = format!("SELECT {} FROM {}", items.join(", "), quoted(name));
        let rows = self.rows_of(&text).await?;
        let storage = before.storage(name).into_owned();
        table.storage = Some(self.new_storage(name, table.temporary));
        self.put(name, Some(old.clone()), Some(Definition::Table(table.clone())))?;
        for batch in rows {
            let columns: Vec<ArrayRef> = batch.columns().to_vec();
            super::insert_rows(self, name, &table, &columns)?;
        }
        self.retire(Retired::Rows(storage))
    }

    async fn rows_of(
        &self,
        text: &str,
    ) -> Result<Vec<datafusion::arrow::array::RecordBatch>, SqlError> {
        let Some(crate::statement::Statement::Df(statement)) = crate::statement::parse(text)?.pop()
        else {
            return Err(SqlError::new(SqlState::Internal, "a table's rows are no query"));
        };
        let plan = self.plan_query(&statement, &[], &[]).await?;
        let state = self.state(self.transaction.as_ref())?;
        let physical = super::super::physical(&state, &plan).await?;
        Ok(datafusion::physical_plan::collect(physical, state.task_ctx()).await?)
    }
}

/// The first columns of a table, from where they were.
fn sources(table: &TableDefinition, count: usize) -> Vec<Source> {
    table.columns.iter().take(count).map(|column| Source::Old(column.name.clone())).collect()
}
