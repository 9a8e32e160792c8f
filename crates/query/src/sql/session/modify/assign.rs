//! Values as a table's columns take them.

use super::super::define::{nextval_of, sequence_name};
use super::*;

pub(super) fn internal(error: datafusion::arrow::error::ArrowError) -> SqlError {
    SqlError::from(datafusion::common::DataFusionError::from(error))
}

pub(super) fn never_changed(name: &str) -> SqlError {
    let message = format!("\"{name}\" is a stream: its records are never changed");
    SqlError::new(SqlState::WrongObjectType, message)
}

pub(super) fn not_written(name: &str, definition: &Definition) -> SqlError {
    let message = format!("\"{name}\" is a {} and cannot be written to", definition.kind());
    SqlError::new(SqlState::WrongObjectType, message)
}

pub(super) fn always(column: &Column) -> SqlError {
    let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
    SqlError::new(SqlState::GeneratedAlways, message)
        .hint("Column is an identity column defined as GENERATED ALWAYS.")
}

pub(super) fn check_width(
    width: usize,
    targets: &mut Vec<usize>,
    listed: bool,
) -> Result<(), SqlError> {
    if width > targets.len() {
        return Err(syntax("INSERT has more expressions than target columns"));
    }
    if width < targets.len() {
        if listed {
            return Err(syntax("INSERT has more target columns than expressions"));
        }
        targets.truncate(width);
    }
    Ok(())
}

pub(super) fn is_default(cell: &SqlExpr) -> bool {
    matches!(cell, SqlExpr::Identifier(word) if word.quote_style.is_none()
        && word.value.eq_ignore_ascii_case("default"))
}

/// What a column gets where nothing is given, as SQL.
pub(super) fn default_of(table: &str, column: &Column) -> Option<String> {
    match column.identity {
        Some(_) if column.default.is_none() => {
            Some(nextval_of(&sequence_name(table, &column.name)))
        }
        _ => column.default.clone(),
    }
}

pub(super) fn assign(
    name: &str,
    table: &TableDefinition,
    assignment: &Assignment,
    new: &mut [Option<SqlExpr>],
) -> Result<(), SqlError> {
    let mut put = |target: &ObjectName, value: SqlExpr| {
        let parts =
            target.0.iter().filter_map(|part| part.as_ident()).map(folded).collect::<Vec<_>>();
        let column = parts.last().cloned().unwrap_or_default();
        let index = table.position(&column).ok_or_else(|| no_column(name, &column))?;
        let value = match table.columns.get(index) {
            Some(column) if is_default(&value) => {
                dialect::parse_expr(&default_of(name, column).unwrap_or_else(|| "NULL".to_owned()))?
            }
            _ => value,
        };
        match new.get_mut(index) {
            Some(slot @ None) => *slot = Some(value),
            _ => {
                let message = format!("multiple assignments to same column \"{column}\"");
                return Err(syntax(message));
            }
        }
        Ok(())
    };
    match (&assignment.target, &assignment.value) {
        (AssignmentTarget::ColumnName(target), value) => put(target, value.clone()),
        (AssignmentTarget::Tuple(targets), SqlExpr::Tuple(values))
            if targets.len() == values.len() =>
        {
            targets.iter().zip(values).try_for_each(|(target, value)| put(target, value.clone()))
        }
        (AssignmentTarget::Tuple(targets), SqlExpr::Nested(value)) if targets.len() == 1 => {
            targets.iter().try_for_each(|target| put(target, value.as_ref().clone()))
        }
        _ => Err(SqlError::unsupported(format!("{assignment} is not supported"))
            .hint("SET column = value, …")),
    }
}

/// The query of an UPDATE or DELETE.
pub(super) fn change_text(
    items: &[String],
    name: &str,
    alias: &str,
    others: &[TableWithJoins],
    condition: Option<&SqlExpr>,
) -> String {
    let table = quoted(&format!("{WITH_KEYS}{name}"));
    let mut text = format!("SELECT {} FROM {table} AS {}", items.join(", "), quoted(alias));
    for other in others {
        text.push_str(&format!(", {other}"));
    }
    if let Some(condition) = condition {
        text.push_str(&format!(" WHERE {condition}"));
    }
    text
}

pub(super) fn keys_of(batch: &RecordBatch) -> Result<Vec<Vec<u8>>, SqlError> {
    let keys = batch.columns().first().and_then(|keys| keys.as_binary_view_opt());
    let keys = keys.ok_or_else(|| SqlError::new(SqlState::Internal, "a change without keys"))?;
    Ok(keys.iter().map(|key| key.unwrap_or_default().to_vec()).collect())
}

/// RETURNING's columns of the rows that were changed, each once.
pub(super) fn returned(
    batch: &RecordBatch,
    kept: usize,
    keys: &[Vec<u8>],
) -> Result<Option<RecordBatch>, SqlError> {
    if kept == batch.num_columns() {
        return Ok(None);
    }
    let mut seen = std::collections::HashSet::new();
    let rows = keys.iter().enumerate().filter(|(_, key)| seen.insert(*key));
    let rows: UInt64Array = rows.map(|(row, _)| row as u64).collect();
    let columns: Vec<usize> = (kept..batch.num_columns()).collect();
    let batch = batch.project(&columns).map_err(internal)?;
    Ok(Some(take_record_batch(&batch, &rows).map_err(internal)?))
}

/// The columns as the table holds them: texts no longer than declared, timestamps as exact as
/// declared.
pub(super) fn sized_columns(
    table: &TableDefinition,
    columns: &[ArrayRef],
) -> Result<Vec<ArrayRef>, SqlError> {
    let pairs = table.columns.iter().zip(columns);
    pairs.map(|(column, array)| dialect::assign_array(array, column)).collect()
}
