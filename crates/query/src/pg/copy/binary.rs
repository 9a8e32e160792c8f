//! COPY FROM: rows in binary form.
//!
//! A head (signature of 11 bytes, flags `i32`, length of what else the head has `i32`, that), then
//! rows: the number of fields `i16`, and for each its length `i32`, -1 for NULL, and its bytes; a
//! row of -1 fields ends them. All are big-endian. Source: "Binary Format", PostgreSQL's page on
//! COPY.

use super::bad_format;
use crate::error::{SqlError, SqlState};
use crate::pg::parameters;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::Field;
use datafusion::common::{DataFusionError, ScalarValue};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags that a reader must know; there is one, and it is no longer used: rows with their numbers
/// in front.
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;
/// So many rows are held as single values.
const ROWS_AT_ONCE: usize = 4_096;

/// The columns of rows in binary form, and how many rows there are.
pub(super) fn read(data: &[u8], fields: &[Field]) -> Result<(Vec<ArrayRef>, usize), SqlError> {
    let mut rest = after_head(data)?;
    let mut columns = vec![Column::default(); fields.len()];
    let mut rows = 0;
    // Some clients leave the last row out, and Postgres takes that.
    while !rest.is_empty() {
        match i16::from_be_bytes(take(&mut rest)?) {
            -1 if rest.is_empty() => break,
            -1 => return Err(bad_format("received copy data after EOF marker")),
            count if usize::try_from(count) == Ok(fields.len()) => {}
            count => {
                let message = format!("row field count is {count}, expected {}", fields.len());
                return Err(bad_format(message));
            }
        }
        rows += 1;
        for (column, field) in columns.iter_mut().zip(fields) {
            column.values.push(value(&mut rest, field)?);
            if rows % ROWS_AT_ONCE == 0 {
                column.pack(field)?;
            }
        }
    }
    let arrays = columns.into_iter().zip(fields).map(|(column, field)| column.finish(field));
    Ok((arrays.collect::<Result<_, _>>()?, rows))
}

fn after_head(data: &[u8]) -> Result<&[u8], SqlError> {
    let mut rest = data
        .strip_prefix(SIGNATURE)
        .ok_or_else(|| bad_format("COPY file signature not recognized"))?;
    let flags = u32::from_be_bytes(take(&mut rest)?);
    if flags & CRITICAL_FLAGS != 0 {
        return Err(bad_format("unrecognized critical flags in COPY file header"));
    }
    let more = i32::from_be_bytes(take(&mut rest)?);
    let more = usize::try_from(more).ok().and_then(|more| rest.get(more..));
    more.ok_or_else(|| bad_format("invalid COPY file header (wrong length)"))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SqlError> {
    let (head, tail) =
        rest.split_first_chunk::<N>().ok_or_else(|| bad_format("unexpected EOF in COPY data"))?;
    *rest = tail;
    Ok(*head)
}

fn value(rest: &mut &[u8], field: &Field) -> Result<ScalarValue, SqlError> {
    let length = i32::from_be_bytes(take(rest)?);
    if length == -1 {
        return Ok(ScalarValue::try_from(field.data_type())?);
    }
    let length = usize::try_from(length).map_err(|_| bad_format("invalid field size"))?;
    let (bytes, tail) =
        rest.split_at_checked(length).ok_or_else(|| bad_format("unexpected EOF in COPY data"))?;
    *rest = tail;
    parameters::of_binary(field, bytes)
        .ok_or_else(|| SqlError::new(SqlState::InvalidBinary, "incorrect binary data format"))
}

/// A column's values: the last ones as they were read, those before as arrays.
#[derive(Clone, Default)]
struct Column {
    packed: Vec<ArrayRef>,
    values: Vec<ScalarValue>,
}

impl Column {
    fn pack(&mut self, field: &Field) -> Result<(), SqlError> {
        if self.values.is_empty() {
            return Ok(());
        }
        let array = ScalarValue::iter_to_array(std::mem::take(&mut self.values))?;
        let array = if array.data_type() == field.data_type() {
            array
        } else {
            cast(&array, field.data_type()).map_err(DataFusionError::from)?
        };
        self.packed.push(array);
        Ok(())
    }

    fn finish(mut self, field: &Field) -> Result<ArrayRef, SqlError> {
        self.pack(field)?;
        let packed: Vec<_> = self.packed.iter().map(AsRef::as_ref).collect();
        if packed.is_empty() {
            return Ok(datafusion::arrow::array::new_empty_array(field.data_type()));
        }
        Ok(concat(&packed).map_err(DataFusionError::from)?)
    }
}
