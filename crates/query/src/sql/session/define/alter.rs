//! ALTER TABLE, CREATE INDEX. A change of columns writes the rows anew, in the same transaction.

mod columns_of;

use super::super::Session;
use super::columns::{add_unique, column_names, column_of, ident};
use super::object_name;
use super::sequences::{nextval_of, sequence_name};
use crate::catalog::{Check, Definition, SequenceDefinition, TableDefinition, Unique};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect::{self, quoted};
use crate::tables::Retired;
use crate::values::types::Column;
use datafusion::arrow::array::ArrayRef;
use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, CreateIndex, DropBehavior,
    RenameTableNameKind, TableConstraint,
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
        table: TableDefinition,
        operation: &AlterTableOperation,
    ) -> Result<String, SqlError> {
        match operation {
            AlterTableOperation::AddColumn { column_def, if_not_exists, .. } => {
                self.add_column(name, old, table, column_def, *if_not_exists).await?;
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                for column in column_names {
                    self.drop_column(name, &ident(column), *if_exists, cascade).await?;
                }
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                let (from, to) = (ident(old_column_name), ident(new_column_name));
                self.rename_column(name, old, table, &from, &to)?;
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
                self.drop_constraint(name, old, table, &ident(constraint), *if_exists)?;
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

    /// Adds a column; the rows that are there get its default.
    async fn add_column(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        declared: &ColumnDef,
        if_not_exists: bool,
    ) -> Result<(), SqlError> {
        let (mut column, extra) = column_of(name, declared)?;
        if table.position(&column.name).is_some() {
            if if_not_exists {
                return Ok(());
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
            let check_name = given.unwrap_or_else(|| format!("{name}_{}_check", column.name));
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
        self.rewrite_table(name, old, table, sources).await
    }

    /// Drops a condition or a unique constraint by its name.
    fn drop_constraint(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        constraint: &str,
        if_exists: bool,
    ) -> Result<(), SqlError> {
        if let Some(at) = table.checks.iter().position(|check| check.name == constraint) {
            table.checks.remove(at);
            return self.put(name, Some(old.clone()), Some(Definition::Table(table)));
        }
        if let Some(at) = table.uniques.iter().position(|unique| unique.name == constraint) {
            return self.drop_unique(name, old, at);
        }
        if if_exists {
            return Ok(());
        }
        let message = format!("constraint \"{constraint}\" of relation \"{name}\" does not exist");
        Err(SqlError::new(SqlState::UndefinedObject, message))
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

    /// Takes a unique constraint away. Its number tells what belongs to it, so the others are
    /// written anew.
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
}

/// The first columns of a table, from where they were.
fn sources(table: &TableDefinition, count: usize) -> Vec<Source> {
    table.columns.iter().take(count).map(|column| Source::Old(column.name.clone())).collect()
}
