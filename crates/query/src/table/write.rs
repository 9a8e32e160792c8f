//! INSERT, UPDATE and DELETE: rows into a transaction.

use super::Transaction;
use super::row::{RowDecoder, damaged, encode_key, encode_row};
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// What an INSERT does about a row whose key is there already.
#[derive(Debug)]
pub(crate) enum Conflict {
    /// It fails.
    Error,
    /// The new row is left out.
    Nothing,
    /// Columns of the row that is there get new values.
    Update(Assignments),
    /// The new row takes the place of the old one: an UPDATE of rows that exist.
    Replace,
}

/// What columns of a row get, computed from that row and the new one behind it.
#[derive(Debug)]
pub(crate) struct Assignments {
    pub(crate) values: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    /// The row stays as it is where this is not true.
    pub(crate) condition: Option<Arc<dyn PhysicalExpr>>,
    /// Of both rows.
    pub(crate) schema: SchemaRef,
}

/// The batch's columns as the table has them.
fn columns_of(
    definition: &TableDefinition,
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>, SqlError> {
    let pairs = definition.columns.iter().zip(batch.columns());
    pairs
        .map(|(column, array)| {
            let array = cast(array, &column.kind.arrow()).map_err(|error| {
                SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!("column \"{}\": {error}", column.name),
                )
            })?;
            Ok(array)
        })
        .collect()
}

/// Puts rows into a table; gives how many rows changed.
pub(crate) fn write_rows(
    transaction: &mut Transaction,
    table: &str,
    definition: &TableDefinition,
    batch: &RecordBatch,
    conflict: &Conflict,
) -> Result<u64, SqlError> {
    let columns = columns_of(definition, batch)?;
    let mut changed = 0;
    for row in 0..batch.num_rows() {
        let key = encode_key(definition, &columns, row)?;
        let new = encode_row(definition, &columns, row)?;
        if matches!(conflict, Conflict::Replace) {
            transaction.write(table, key, Some(new))?;
            changed += 1;
            continue;
        }
        let old = transaction.read(table, &key)?;
        match (old, conflict) {
            (None, _) => transaction.write(table, key, Some(new))?,
            (Some(_), Conflict::Nothing) => continue,
            (Some(old), Conflict::Update(assignments)) => {
                match merge(table, definition, &old, &columns, row, assignments)? {
                    Some(merged) => transaction.write(table, key, Some(merged))?,
                    None => continue,
                }
            }
            (Some(_), _) => return Err(duplicate(table, definition, &columns, row)),
        }
        changed += 1;
    }
    Ok(changed)
}

/// The old row with what is assigned to it; nothing where the condition leaves it alone.
fn merge(
    table: &str,
    definition: &TableDefinition,
    old: &[u8],
    new: &[ArrayRef],
    row: usize,
    assignments: &Assignments,
) -> Result<Option<Vec<u8>>, SqlError> {
    let mut decoder = RowDecoder::new(definition, 1);
    decoder.push(old).ok_or_else(|| damaged(table))?;
    let mut merged = decoder.finish();
    let both = merged.iter().cloned().chain(new.iter().map(|column| column.slice(row, 1)));
    let both = RecordBatch::try_new(assignments.schema.clone(), both.collect())
        .map_err(|error| SqlError::new(SqlState::DatatypeMismatch, error.to_string()))?;
    if let Some(condition) = &assignments.condition {
        let holds = condition.evaluate(&both)?.into_array(1)?;
        let holds = holds.as_boolean_opt().is_some_and(|holds| holds.is_valid(0) && holds.value(0));
        if !holds {
            return Ok(None);
        }
    }
    for (target, value) in &assignments.values {
        let value = value.evaluate(&both)?.into_array(1)?;
        if let Some(slot) = merged.get_mut(*target) {
            *slot = value;
        }
    }
    encode_row(definition, &merged, 0).map(Some)
}

fn duplicate(
    table: &str,
    definition: &TableDefinition,
    columns: &[ArrayRef],
    row: usize,
) -> SqlError {
    let shown = |array: &ArrayRef| {
        datafusion::arrow::util::display::array_value_to_string(array, row).unwrap_or_default()
    };
    let keys = definition.primary_key.iter();
    let names: Vec<&str> =
        keys.clone().filter_map(|&key| Some(definition.columns.get(key)?.name.as_str())).collect();
    let values: Vec<String> = keys.filter_map(|&key| columns.get(key).map(shown)).collect();
    SqlError::new(
        SqlState::UniqueViolation,
        format!(
            "duplicate key value violates the primary key of \"{table}\": ({})=({}) already exists",
            names.join(", "),
            values.join(", ")
        ),
    )
    .hint("ON CONFLICT DO NOTHING or DO UPDATE says what to do then")
}
