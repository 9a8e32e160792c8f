//! Rows of an answer as messages.

use crate::error::{SqlError, SqlState};
use crate::values::encode::{Style, put_binary, put_text};
use crate::values::pg_type::{self, Typed};
use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use pgwire::messages::data::{FieldDescription, RowDescription};

/// The largest value that an answer may hold.
const VALUE_MAX_BYTES: usize = 1 << 30;

/// How the columns of an answer are written.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    style: Style,
    buffer: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    typed: Typed,
    is_binary: bool,
}

impl Columns {
    /// `formats` as the client asked: none for text, one for all columns, or one for each.
    pub(super) fn new(schema: &SchemaRef, formats: &[i16], style: Style) -> Result<Self, SqlError> {
        let fields = schema.fields();
        if formats.len() > 1 && formats.len() != fields.len() {
            let message = format!(
                "bind message has {} result formats but query has {} columns",
                formats.len(),
                fields.len()
            );
            return Err(SqlError::new(SqlState::ProtocolViolation, message));
        }
        let format = |index: usize| match formats {
            [] => 0,
            [all] => *all,
            each => each.get(index).copied().unwrap_or(0),
        };
        let columns = fields.iter().enumerate().map(|(index, field)| Column {
            name: field.name().clone(),
            typed: pg_type::of_field(field),
            is_binary: format(index) == 1,
        });
        Ok(Self { columns: columns.collect(), style, buffer: Vec::new() })
    }

    /// What the client is told about the columns.
    pub(super) fn describe(&self) -> RowDescription {
        let fields = self.columns.iter().map(|column| {
            FieldDescription::new(
                column.name.clone(),
                0,
                0,
                column.typed.oid(),
                column.typed.size(),
                column.typed.modifier,
                i16::from(column.is_binary),
            )
        });
        RowDescription::new(fields.collect())
    }

    /// Writes one row.
    pub(super) fn put(
        &mut self,
        out: &mut BytesMut,
        batch: &RecordBatch,
        row: usize,
    ) -> Result<(), SqlError> {
        let start = out.len();
        out.put_u8(b'D');
        out.put_u32(0);
        out.put_i16(self.columns.len() as i16);
        let written = self.put_values(out, batch, row);
        if let Err(error) = written {
            // Nothing of a row that failed is sent.
            out.truncate(start);
            return Err(error);
        }
        let length = (out.len() - start - 1) as u32;
        if let Some(place) = out.get_mut(start + 1..start + 5) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    fn put_values(
        &mut self,
        out: &mut BytesMut,
        batch: &RecordBatch,
        row: usize,
    ) -> Result<(), SqlError> {
        for (column, array) in self.columns.iter().zip(batch.columns()) {
            self.buffer.clear();
            let known = if column.is_binary {
                put_binary(&mut self.buffer, array.as_ref(), row, column.typed)?
            } else {
                put_text(&mut self.buffer, array.as_ref(), row, &self.style)?
            };
            if !known {
                out.put_i32(-1);
                continue;
            }
            if self.buffer.len() > VALUE_MAX_BYTES || out.len() > VALUE_MAX_BYTES {
                let message = "a row of the answer is too large to be sent";
                return Err(SqlError::new(SqlState::LimitExceeded, message));
            }
            if column.typed.element.name == "bpchar" && !column.typed.is_array {
                pad(&mut self.buffer, column.typed.modifier - 4);
            }
            out.put_u32(self.buffer.len() as u32);
            out.put_slice(&self.buffer);
        }
        // A large value's buffer is given back.
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

/// `char(n)` is as long as it is declared, wherever it is shown.
fn pad(text: &mut Vec<u8>, length: i32) {
    let letters = String::from_utf8_lossy(text).chars().count();
    let missing = usize::try_from(length).unwrap_or(0).saturating_sub(letters);
    text.extend(std::iter::repeat_n(b' ', missing));
}
