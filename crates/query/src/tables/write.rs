//! INSERT, UPDATE and DELETE: rows into a transaction.

use super::Transaction;
use super::row::{RowDecoder, damaged, encode_key, encode_row, encode_unique};
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlState};
use crate::values::encode::{self, Style};
use crate::values::types::schema_of;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Unique constraints that a table may have.
pub(crate) const UNIQUES_MAX: usize = 16;

/// What an INSERT does about a row whose key is there already.
#[derive(Debug)]
pub(crate) enum Conflict {
    /// It fails.
    Error,
    /// The new row is left out; where a target is named, only for a conflict there.
    Nothing(Option<Target>),
    /// Columns of the row that is there get new values.
    Update(Target, Assignments),
}

/// What a conflict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    PrimaryKey,
    Unique(usize),
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

/// A key that no other row has, for tables that declare none: the time, and a number.
pub(crate) fn new_key(now_ms: u64) -> Vec<u8> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut key = now_ms.to_be_bytes().to_vec();
    key.extend(count.to_be_bytes());
    // Two processes at the same millisecond have different pasts.
    key.extend((std::process::id() ^ (now_ms as u32)).to_be_bytes());
    key
}

/// Where a unique constraint keeps who has which values.
pub(super) fn unique_storage(storage: &str, number: usize) -> String {
    format!("{storage}:unique:{number}")
}

/// Writes rows of one table into a transaction.
pub(crate) struct Writer<'a> {
    pub(crate) transaction: &'a mut Transaction,
    name: &'a str,
    storage: String,
    definition: &'a TableDefinition,
    checks: &'a [(String, Arc<dyn PhysicalExpr>)],
    now_ms: u64,
    /// Rows as they were written, for RETURNING; nothing where nobody asks.
    pub(crate) written: Option<Vec<Vec<u8>>>,
    /// Keys that this statement has written: ON CONFLICT must not meet its own rows.
    own: HashSet<Vec<u8>>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        transaction: &'a mut Transaction,
        name: &'a str,
        definition: &'a TableDefinition,
        checks: &'a [(String, Arc<dyn PhysicalExpr>)],
        now_ms: u64,
    ) -> Self {
        let storage = definition.storage(name).into_owned();
        let own = HashSet::new();
        Self { transaction, name, storage, definition, checks, now_ms, written: None, own }
    }

    /// Puts new rows, whose columns are the table's; gives how many rows changed.
    pub(crate) fn insert(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        conflict: &Conflict,
    ) -> Result<u64, SqlError> {
        self.check(columns)?;
        let mut changed = 0;
        for row in 0..rows {
            let key = self.key_of(columns, row)?;
            let new = encode_row(self.definition, columns, row)?;
            changed += u64::from(self.insert_one(columns, row, key, new, conflict)?);
        }
        Ok(changed)
    }

    fn key_of(&self, columns: &[ArrayRef], row: usize) -> Result<Vec<u8>, SqlError> {
        if self.definition.primary_key.is_empty() {
            return Ok(new_key(self.now_ms));
        }
        encode_key(self.definition, columns, row)
    }

    fn insert_one(
        &mut self,
        columns: &[ArrayRef],
        row: usize,
        key: Vec<u8>,
        new: Vec<u8>,
        conflict: &Conflict,
    ) -> Result<bool, SqlError> {
        let Some((target, old_key)) = self.find_conflict(columns, row, &key)? else {
            self.put(columns, row, key.clone(), new)?;
            if matches!(conflict, Conflict::Update(..)) {
                self.own.insert(key);
            }
            return Ok(true);
        };
        match conflict {
            Conflict::Nothing(None) => Ok(false),
            Conflict::Nothing(Some(wanted)) if *wanted == target => Ok(false),
            Conflict::Update(wanted, assignments) if *wanted == target => {
                if self.own.contains(&old_key) {
                    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                    return Err(SqlError::new(SqlState::CardinalityViolation, message));
                }
                self.own.insert(old_key.clone());
                let old = self.transaction.read(&self.storage, &old_key)?;
                let old = old.ok_or_else(|| damaged(self.name))?;
                let merged = merge(self.name, self.definition, &old, columns, row, assignments)?;
                let Some(merged) = merged else { return Ok(false) };
                self.check(&merged)?;
                self.remove(&old_key)?;
                let key = if self.definition.primary_key.is_empty() {
                    old_key
                } else {
                    encode_key(self.definition, &merged, 0)?
                };
                self.own.insert(key.clone());
                let bytes = encode_row(self.definition, &merged, 0)?;
                self.refuse_conflict(&merged, 0, &key)?;
                self.put(&merged, 0, key, bytes)?;
                Ok(true)
            }
            _ => Err(self.duplicate(columns, row, target)),
        }
    }

    /// A row that has the same key, or the same values where no two rows may share them.
    fn find_conflict(
        &mut self,
        columns: &[ArrayRef],
        row: usize,
        key: &[u8],
    ) -> Result<Option<(Target, Vec<u8>)>, SqlError> {
        if !self.definition.primary_key.is_empty()
            && self.transaction.read(&self.storage, key)?.is_some()
        {
            return Ok(Some((Target::PrimaryKey, key.to_vec())));
        }
        for (number, unique) in self.definition.uniques.iter().enumerate() {
            let Some(values) = encode_unique(self.definition, &unique.columns, columns, row)?
            else {
                continue;
            };
            let storage = unique_storage(&self.storage, number);
            if let Some(other) = self.transaction.read(&storage, &values)? {
                return Ok(Some((Target::Unique(number), other)));
            }
        }
        Ok(None)
    }

    fn refuse_conflict(
        &mut self,
        columns: &[ArrayRef],
        row: usize,
        key: &[u8],
    ) -> Result<(), SqlError> {
        match self.find_conflict(columns, row, key)? {
            Some((target, _)) => Err(self.duplicate(columns, row, target)),
            None => Ok(()),
        }
    }

    fn put(
        &mut self,
        columns: &[ArrayRef],
        row: usize,
        key: Vec<u8>,
        bytes: Vec<u8>,
    ) -> Result<(), SqlError> {
        for (number, unique) in self.definition.uniques.iter().enumerate() {
            if let Some(values) = encode_unique(self.definition, &unique.columns, columns, row)? {
                let storage = unique_storage(&self.storage, number);
                self.transaction.write(&storage, values, Some(key.clone()))?;
            }
        }
        if let Some(written) = &mut self.written {
            written.push(bytes.clone());
        }
        self.transaction.write(&self.storage, key, Some(bytes))
    }

    /// Takes a row away; false where it is gone already.
    fn remove(&mut self, key: &[u8]) -> Result<bool, SqlError> {
        if !self.definition.uniques.is_empty() {
            let Some(old) = self.transaction.read(&self.storage, key)? else { return Ok(false) };
            let mut decoder = RowDecoder::new(self.definition, 1);
            decoder.push(&old).ok_or_else(|| damaged(self.name))?;
            let columns = decoder.finish();
            for (number, unique) in self.definition.uniques.iter().enumerate() {
                if let Some(values) = encode_unique(self.definition, &unique.columns, &columns, 0)?
                {
                    let storage = unique_storage(&self.storage, number);
                    self.transaction.write(&storage, values, None)?;
                }
            }
        }
        self.transaction.write(&self.storage, key.to_vec(), None)?;
        Ok(true)
    }

    /// Puts rows in the place of those that had these keys; `columns` are what they are then.
    pub(crate) fn update(
        &mut self,
        keys: &[Vec<u8>],
        columns: &[ArrayRef],
    ) -> Result<u64, SqlError> {
        self.check(columns)?;
        // All go before any comes: a key may pass from one row to another.
        let mut seen = HashSet::new();
        let mut chosen = Vec::new();
        for (row, key) in keys.iter().enumerate() {
            // A row that a join gives several times is changed once.
            if seen.insert(key) {
                self.remove(key)?;
                chosen.push(row);
            }
        }
        for &row in &chosen {
            let key = match (self.definition.primary_key.is_empty(), keys.get(row)) {
                (true, Some(key)) => key.clone(),
                _ => encode_key(self.definition, columns, row)?,
            };
            let bytes = encode_row(self.definition, columns, row)?;
            self.refuse_conflict(columns, row, &key)?;
            self.put(columns, row, key, bytes)?;
        }
        Ok(chosen.len() as u64)
    }

    /// Deletes the rows with these keys.
    pub(crate) fn delete(&mut self, keys: &[Vec<u8>]) -> Result<u64, SqlError> {
        let mut seen = HashSet::new();
        let mut changed = 0;
        for key in keys {
            if seen.insert(key) && self.remove(key)? {
                changed += 1;
            }
        }
        Ok(changed)
    }

    /// Whether rows fulfil the table's conditions; where one is unknown, it holds.
    fn check(&self, columns: &[ArrayRef]) -> Result<(), SqlError> {
        if self.checks.is_empty() {
            return Ok(());
        }
        let schema = crate::values::types::loose_schema_of(&self.definition.columns);
        let batch = RecordBatch::try_new(schema, columns.to_vec())
            .map_err(|error| SqlError::new(SqlState::DatatypeMismatch, error.to_string()))?;
        for (name, check) in self.checks {
            let holds = check.evaluate(&batch)?.into_array(batch.num_rows())?;
            let fails = |row| {
                holds.as_boolean_opt().is_some_and(|holds| holds.is_valid(row) && !holds.value(row))
            };
            if (0..batch.num_rows()).any(fails) {
                return Err(SqlError::new(
                    SqlState::CheckViolation,
                    format!(
                        "new row for relation \"{}\" violates check constraint \"{name}\"",
                        self.name
                    ),
                ));
            }
        }
        Ok(())
    }

    fn duplicate(&self, columns: &[ArrayRef], row: usize, target: Target) -> SqlError {
        let (name, key) = match target {
            Target::PrimaryKey => {
                (self.definition.key_name(self.name), self.definition.primary_key.clone())
            }
            Target::Unique(number) => match self.definition.uniques.get(number) {
                Some(unique) => (unique.name.clone(), unique.columns.clone()),
                None => (String::new(), Vec::new()),
            },
        };
        let shown = |index: &usize| {
            let mut text = Vec::new();
            if let Some(array) = columns.get(*index) {
                // What has no text is shown as nothing.
                let _shown = encode::put_text(&mut text, array.as_ref(), row, &Style::wire("UTC"));
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        let named = |index: &usize| {
            self.definition.columns.get(*index).map_or("", |column| column.name.as_str())
        };
        let names: Vec<&str> = key.iter().map(named).collect();
        let values: Vec<String> = key.iter().map(shown).collect();
        SqlError::new(
            SqlState::UniqueViolation,
            format!("duplicate key value violates unique constraint \"{name}\""),
        )
        .hint(format!(
            "Key ({})=({}) already exists.",
            names.join(", "),
            values.join(", ")
        ))
    }

    /// The rows that were written, as a batch.
    pub(crate) fn take_written(&mut self) -> Result<RecordBatch, SqlError> {
        let rows = self.written.take().unwrap_or_default();
        let mut decoder = RowDecoder::new(self.definition, rows.len());
        for row in &rows {
            decoder.push(row).ok_or_else(|| damaged(self.name))?;
        }
        RecordBatch::try_new(schema_of(&self.definition.columns), decoder.finish())
            .map_err(|_| damaged(self.name))
    }
}

/// The old row's columns with what is assigned to them; nothing where the condition leaves it
/// alone.
fn merge(
    table: &str,
    definition: &TableDefinition,
    old: &[u8],
    new: &[ArrayRef],
    row: usize,
    assignments: &Assignments,
) -> Result<Option<Vec<ArrayRef>>, SqlError> {
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
    Ok(Some(merged))
}
