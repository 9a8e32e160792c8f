//! A table's rows as bytes.
//!
//! A table is 64 hashes, `thalweg:table:<name>:<bucket>`. A row is a field: its name the primary
//! key's values in their order, as `values.rs` stores them; its value:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of this layout: 1 |
//! | (columns + 7) / 8 | one bit for each column, lowest first: it has no value |
//! | … | the values of the columns that have one, in order, as `values.rs` stores them |
//!
//! In a key, -0 is stored as 0, and every NaN as the usual one.
//!
//! The bucket is XXH3-64 of the field's name, modulo 64.

use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlState};
use crate::values::record::{ColumnBuilder, put_stored, skip_stored};
use crate::values::types::{Column, ColumnType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};

/// Hashes that a table is spread over.
pub(crate) const BUCKETS: u64 = 64;
const VERSION: u8 = 1;

/// The key of a bucket.
pub(crate) fn bucket_key(table: &str, bucket: u64) -> Vec<u8> {
    format!("thalweg:table:{table}:{bucket}").into_bytes()
}

/// The bucket of a row.
pub(crate) fn bucket_of(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key) % BUCKETS
}

/// A row's primary key as bytes. `columns` are all columns of the table.
pub(crate) fn encode_key(
    definition: &TableDefinition,
    columns: &[ArrayRef],
    row: usize,
) -> Result<Vec<u8>, SqlError> {
    let mut out = Vec::new();
    for &index in &definition.primary_key {
        if let (Some(array), Some(column)) = (columns.get(index), definition.columns.get(index)) {
            put_key(&mut out, array, row, column)?;
        }
    }
    Ok(out)
}

/// Adds a value of a primary key.
pub(crate) fn put_key(
    out: &mut Vec<u8>,
    array: &ArrayRef,
    row: usize,
    column: &Column,
) -> Result<(), SqlError> {
    if array.is_null(row) {
        return Err(no_value(&column.name));
    }
    // Numbers that are equal are the same key: both zeros, and all that are none.
    match array.data_type() {
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
            out.extend(value.to_le_bytes());
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            let value = if value.is_nan() { f32::NAN } else { value + 0.0 };
            out.extend(value.to_le_bytes());
        }
        DataType::Utf8View
            if matches!(column.kind, ColumnType::Numeric | ColumnType::NumericTo(..)) =>
        {
            let text = array.as_string_view().value(row);
            let plain = match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.'),
                false => text,
            };
            let plain: ArrayRef = std::sync::Arc::new(StringViewArray::from_iter_values([plain]));
            put(out, &plain, 0, &column.name)?;
        }
        _ => put(out, array, row, &column.name)?,
    }
    Ok(())
}

/// The values of some columns as bytes; nothing where one of them is null.
pub(crate) fn encode_unique(
    definition: &TableDefinition,
    unique: &[usize],
    columns: &[ArrayRef],
    row: usize,
) -> Result<Option<Vec<u8>>, SqlError> {
    let mut out = Vec::new();
    for &index in unique {
        if let (Some(array), Some(column)) = (columns.get(index), definition.columns.get(index)) {
            if array.is_null(row) {
                return Ok(None);
            }
            put_key(&mut out, array, row, column)?;
        }
    }
    Ok(Some(out))
}

/// A row as bytes.
pub(crate) fn encode_row(
    definition: &TableDefinition,
    columns: &[ArrayRef],
    row: usize,
) -> Result<Vec<u8>, SqlError> {
    let mut out = vec![VERSION];
    let mut bits = vec![0u8; definition.columns.len().div_ceil(8)];
    let mut values = Vec::new();
    for (index, (array, column)) in columns.iter().zip(&definition.columns).enumerate() {
        if !array.is_null(row) {
            put(&mut values, array, row, &column.name)?;
        } else if column.nullable {
            if let Some(byte) = bits.get_mut(index / 8) {
                *byte |= 1 << (index % 8);
            }
        } else {
            return Err(no_value(&column.name));
        }
    }
    out.extend(bits);
    out.extend(values);
    Ok(out)
}

fn put(out: &mut Vec<u8>, array: &ArrayRef, row: usize, name: &str) -> Result<(), SqlError> {
    if put_stored(out, array.as_ref(), row) {
        return Ok(());
    }
    let kind = array.data_type();
    Err(SqlError::new(
        SqlState::DatatypeMismatch,
        format!("column \"{name}\" cannot hold a {kind}"),
    ))
}

fn no_value(name: &str) -> SqlError {
    SqlError::new(
        SqlState::NotNullViolation,
        format!("null value in column \"{name}\" violates not-null constraint"),
    )
}

/// Fills columns from rows' bytes.
pub(crate) struct RowDecoder {
    /// One for each column of the table; those that are not wanted are not built.
    columns: Vec<(ColumnType, Option<ColumnBuilder>)>,
}

impl RowDecoder {
    /// For all columns.
    pub(crate) fn new(definition: &TableDefinition, rows: usize) -> Self {
        Self::of_some(definition, rows, |_| true)
    }

    /// For the columns that are wanted.
    pub(crate) fn of_some(
        definition: &TableDefinition,
        rows: usize,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let columns = definition.columns.iter().enumerate().map(|(index, column)| {
            (column.kind, is_wanted(index).then(|| ColumnBuilder::new(column.kind, rows)))
        });
        Self { columns: columns.collect() }
    }

    /// Takes in a row; `None` where the bytes are not one.
    pub(crate) fn push(&mut self, row: &[u8]) -> Option<()> {
        let (&version, rest) = row.split_first()?;
        if version != VERSION {
            return None;
        }
        let (bits, mut rest) = rest.split_at_checked(self.columns.len().div_ceil(8))?;
        for (index, (kind, builder)) in self.columns.iter_mut().enumerate() {
            let is_null = bits.get(index / 8)? >> (index % 8) & 1 == 1;
            match builder {
                Some(builder) if is_null => builder.append_null(),
                Some(builder) => builder.append_stored(&mut rest)?,
                None if is_null => {}
                None => skip_stored(*kind, &mut rest)?,
            }
        }
        Some(())
    }

    /// The columns that are wanted, in the table's order.
    pub(crate) fn finish(self) -> Vec<ArrayRef> {
        self.columns
            .into_iter()
            .filter_map(|(_, builder)| builder)
            .map(ColumnBuilder::finish)
            .collect()
    }
}

/// The error for stored bytes that cannot be read.
pub(crate) fn damaged(table: &str) -> SqlError {
    let message = format!("a stored row of \"{table}\" cannot be read");
    SqlError::new(SqlState::DataCorrupted, message).hint(
        "the hashes thalweg:table:… belong to the tables; other clients must not write to them",
    )
}
