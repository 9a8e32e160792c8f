//! What CREATE TABLE declares: columns, keys, defaults, conditions.

use super::super::Session;
use super::super::control::folded;
use crate::catalog::{Check, SequenceDefinition, TableDefinition, Unique};
use crate::error::{SqlError, SqlState};
use crate::sql::statement::no_twins;
use crate::values::pg_type;
use crate::values::types::{Column, ColumnType, Identity};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, CreateTableOptions, DataType as SqlType, GeneratedAs,
    Ident, IndexColumn, ObjectName, TableConstraint,
};

fn unsupported<T>(what: impl Into<String>) -> Result<T, SqlError> {
    Err(SqlError::unsupported(what))
}

/// Refuses what is written behind a table's columns and would be ignored.
pub(super) fn refuse_options(create: &CreateTable) -> Result<(), SqlError> {
    if create.or_replace {
        return unsupported("CREATE OR REPLACE TABLE is not supported");
    }
    if create.like.is_some() || create.clone.is_some() {
        return unsupported("CREATE TABLE … LIKE is not supported");
    }
    if create.inherits.is_some() {
        return unsupported("INHERITS is not supported");
    }
    if create.partition_by.is_some() || create.partition_of.is_some() {
        return unsupported("tables in partitions are not supported: a table is spread by its key");
    }
    if !matches!(create.table_options, CreateTableOptions::None | CreateTableOptions::With(_)) {
        return unsupported(format!("CREATE TABLE {} … is not supported", create.table_options));
    }
    if let Some(on_commit) = &create.on_commit
        && !matches!(on_commit, datafusion::sql::sqlparser::ast::OnCommit::PreserveRows)
    {
        return unsupported("ON COMMIT DELETE ROWS and DROP are not supported");
    }
    Ok(())
}

/// A table from its declaration, and the sequences that its columns draw from.
pub(super) fn table_definition(
    session: &Session,
    name: &str,
    create: &CreateTable,
) -> Result<(TableDefinition, Vec<(String, SequenceDefinition)>), SqlError> {
    let mut declared = Declared {
        session,
        table: name,
        definition: TableDefinition::default(),
        sequences: Vec::new(),
        key: Vec::new(),
        uniques: Vec::new(),
    };
    for column in &create.columns {
        declared.column(column)?;
    }
    no_twins(&declared.definition.columns)?;
    for constraint in &create.constraints {
        declared.constraint(constraint)?;
    }
    declared.finish()
}

struct Declared<'a> {
    session: &'a Session,
    table: &'a str,
    definition: TableDefinition,
    sequences: Vec<(String, SequenceDefinition)>,
    key: Vec<String>,
    uniques: Vec<(Option<String>, Vec<String>)>,
}

fn refuse_reference(table: &ObjectName) -> SqlError {
    SqlError::unsupported(format!(
        "REFERENCES {table} is not supported: foreign keys would not be checked"
    ))
}

pub(super) fn column_names(columns: &[IndexColumn]) -> Vec<String> {
    let name = |column: &IndexColumn| {
        let text = column.column.expr.to_string();
        match text.strip_prefix('"') {
            Some(quoted) => quoted.trim_end_matches('"').to_owned(),
            None => text.to_lowercase(),
        }
    };
    columns.iter().map(name).collect()
}

fn is_serial(kind: &SqlType) -> bool {
    matches!(kind, SqlType::Custom(name, _)
        if name.to_string().to_ascii_lowercase().contains("serial"))
}

impl Declared<'_> {
    fn column(&mut self, declared: &ColumnDef) -> Result<(), SqlError> {
        let (mut column, extra) = column_of(self.table, declared)?;
        if let Some(sequence) = extra.sequence {
            let owner = Some((self.table.to_owned(), column.name.clone()));
            let name = self.session.draw_from(self.table, &mut column);
            self.sequences.push((name, SequenceDefinition { owner, ..sequence }));
        }
        if extra.is_key {
            if !self.key.is_empty() {
                let message =
                    format!("multiple primary keys for table \"{}\" are not allowed", self.table);
                return Err(SqlError::new(SqlState::InvalidTableDefinition, message));
            }
            self.key.push(column.name.clone());
        }
        if extra.is_unique {
            self.uniques.push((None, vec![column.name.clone()]));
        }
        for (name, condition) in extra.checks {
            let name = name
                .unwrap_or_else(|| self.new_name(&format!("{}_{}_check", self.table, column.name)));
            self.definition.checks.push(Check { name, condition });
        }
        self.definition.columns.push(column);
        Ok(())
    }

    fn new_name(&self, wanted: &str) -> String {
        let taken = |name: &str| self.definition.checks.iter().any(|check| check.name == name);
        let numbered = (1..).map(|number| format!("{wanted}{number}"));
        std::iter::once(wanted.to_owned())
            .chain(numbered)
            .find(|name| !taken(name))
            .unwrap_or_default()
    }

    fn constraint(&mut self, constraint: &TableConstraint) -> Result<(), SqlError> {
        match constraint {
            TableConstraint::PrimaryKey(primary) => {
                if !self.key.is_empty() {
                    let message = format!(
                        "multiple primary keys for table \"{}\" are not allowed",
                        self.table
                    );
                    return Err(SqlError::new(SqlState::InvalidTableDefinition, message));
                }
                self.definition.key_name = primary.name.as_ref().map(folded);
                self.key = column_names(&primary.columns);
            }
            TableConstraint::Unique(unique) => {
                let name = unique.name.as_ref().map(folded);
                self.uniques.push((name, column_names(&unique.columns)));
            }
            TableConstraint::Check(check) => {
                let name = check.name.as_ref().map(folded);
                let name = name.unwrap_or_else(|| self.new_name(&format!("{}_check", self.table)));
                self.definition.checks.push(Check { name, condition: check.expr.to_string() });
            }
            TableConstraint::ForeignKey(foreign) => {
                return Err(refuse_reference(&foreign.foreign_table));
            }
            other => return unsupported(format!("{other} is not supported")),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(TableDefinition, Vec<(String, SequenceDefinition)>), SqlError> {
        for name in std::mem::take(&mut self.key) {
            let position = self.position(&name)?;
            if let Some(column) = self.definition.columns.get_mut(position) {
                column.nullable = false;
            }
            self.definition.primary_key.push(position);
        }
        for (name, columns) in std::mem::take(&mut self.uniques) {
            let name = name.unwrap_or_else(|| format!("{}_{}_key", self.table, columns.join("_")));
            let positions =
                columns.iter().map(|column| self.position(column)).collect::<Result<_, _>>()?;
            add_unique(&mut self.definition, Unique { name, columns: positions, is_index: false })?;
        }
        Ok((self.definition, self.sequences))
    }

    fn position(&self, name: &str) -> Result<usize, SqlError> {
        self.definition.position(name).ok_or_else(|| {
            let message = format!("column \"{name}\" named in key does not exist");
            SqlError::new(SqlState::UndefinedColumn, message)
        })
    }
}

/// Adds a unique constraint.
pub(super) fn add_unique(definition: &mut TableDefinition, unique: Unique) -> Result<(), SqlError> {
    if definition.uniques.len() >= crate::tables::UNIQUES_MAX {
        let message = format!("a table may have {} unique constraints", crate::tables::UNIQUES_MAX);
        return Err(SqlError::new(SqlState::LimitExceeded, message));
    }
    if definition.uniques.iter().any(|other| other.name == unique.name) {
        let message = format!("relation \"{}\" already exists", unique.name);
        return Err(SqlError::new(SqlState::DuplicateTable, message));
    }
    definition.uniques.push(unique);
    Ok(())
}

/// What a column's declaration says beside the column.
#[derive(Default)]
pub(super) struct Extra {
    is_key: bool,
    is_unique: bool,
    pub(super) checks: Vec<(Option<String>, String)>,
    pub(super) sequence: Option<SequenceDefinition>,
}

impl Extra {
    /// What ALTER TABLE … ADD COLUMN cannot add.
    pub(super) fn is_constrained(&self) -> bool {
        self.is_key || self.is_unique
    }
}

pub(super) fn column_of(table: &str, declared: &ColumnDef) -> Result<(Column, Extra), SqlError> {
    let name = folded(&declared.name);
    let mut column = Column::plain(&name, ColumnType::of_sql(&declared.data_type)?, true);
    let mut extra = Extra::default();
    if is_serial(&declared.data_type) {
        column.identity = Some(Identity::Serial);
        column.nullable = false;
        extra.sequence = Some(SequenceDefinition::default().within(column.kind));
    }
    for option in &declared.options {
        let given = option.name.as_ref().map(folded);
        match &option.option {
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Null => {}
            ColumnOption::PrimaryKey(_) => {
                column.nullable = false;
                extra.is_key = true;
            }
            ColumnOption::Unique(_) => extra.is_unique = true,
            ColumnOption::Default(expr) => column.default = Some(expr.to_string()),
            ColumnOption::Check(check) => {
                let name = given.or_else(|| check.name.as_ref().map(folded));
                extra.checks.push((name, check.expr.to_string()));
            }
            ColumnOption::ForeignKey(foreign) => {
                return Err(refuse_reference(&foreign.foreign_table));
            }
            ColumnOption::Generated {
                generated_as,
                generation_expr: None,
                sequence_options,
                ..
            } => {
                column.identity = Some(match generated_as {
                    GeneratedAs::Always | GeneratedAs::ExpStored => Identity::Always,
                    GeneratedAs::ByDefault => Identity::ByDefault,
                });
                column.nullable = false;
                let options = sequence_options.as_deref().unwrap_or_default();
                extra.sequence = Some(super::sequences::sequence_of(options)?.within(column.kind));
            }
            // Texts are compared by their bytes, whatever is asked for, if that is what "C" means.
            ColumnOption::Collation(name)
                if name.to_string().trim_matches('"').eq_ignore_ascii_case("c") => {}
            other => {
                return unsupported(format!(
                    "column \"{name}\" of \"{table}\": {other} is not supported"
                ));
            }
        }
    }
    Ok((column, extra))
}

/// A table for what a query gives.
pub(super) fn definition_of_schema(
    schema: &SchemaRef,
    names: &[String],
) -> Result<TableDefinition, SqlError> {
    if names.len() > schema.fields().len() {
        return Err(SqlError::new(SqlState::SyntaxError, "too many column names were specified"));
    }
    let mut columns = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let name = names.get(index).unwrap_or_else(|| field.name());
        let typed = pg_type::of_field(field);
        let kind = crate::sql::dialect::column_type(typed)?;
        columns.push(Column::plain(name.clone(), kind, true));
    }
    for (index, column) in columns.iter().enumerate() {
        if columns.iter().take(index).any(|other| other.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(SqlError::new(SqlState::DuplicateColumn, message));
        }
    }
    Ok(TableDefinition { columns, ..TableDefinition::default() })
}

/// An identifier as it is meant.
pub(super) fn ident(name: &Ident) -> String {
    folded(name)
}
