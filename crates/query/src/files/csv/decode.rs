//! Turns lines of plain CSV into columns. First the beginnings of all fields in a piece of the file
//! are found (`marks.rs`). If each line has as many fields as it should, the columns are computed
//! one after the other (`number.rs`).

use super::marks::{Marks, Special};
use super::number::{float, integer};
use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringViewBuilder,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Schema, SchemaRef,
};
use datafusion::common::Result;
use std::sync::Arc;

/// Where the columns that are wanted stand in a line.
#[derive(Clone)]
pub(super) struct Layout {
    /// How many fields a line has.
    pub(super) fields: usize,
    /// Which of them are wanted.
    wanted: Vec<usize>,
    schema: SchemaRef,
    pub(super) special: Special,
}

impl Layout {
    /// The layout of files whose lines have these columns, of which some are wanted; nothing if one
    /// of them has a type that is not computed here.
    pub(super) fn new(
        file: &Schema,
        wanted: &[usize],
        (delimiter, quote): (u8, u8),
    ) -> Option<Self> {
        let schema = Arc::new(file.project(wanted).ok()?);
        let known = schema.fields().iter().all(|field| {
            matches!(
                field.data_type(),
                DataType::Int64 | DataType::Int32 | DataType::Float64 | DataType::Utf8View
            )
        });
        let taken = |byte: u8| matches!(byte, b'\n' | b'\r' | b'.' | b'-' | b'0'..=b'9');
        let fields = file.fields().len();
        if !known || fields == 0 || taken(delimiter) || taken(quote) || delimiter == quote {
            return None;
        }
        let special = Special { delimiter, quote };
        Some(Self { fields, wanted: wanted.to_vec(), schema, special })
    }
}

/// A column on its way.
enum Column {
    Int64(Values<i64>),
    Int32(Values<i32>),
    Float64(Values<f64>),
    Text(StringViewBuilder),
}

struct Values<T> {
    values: Vec<T>,
    /// Rows without a value.
    nulls: Vec<usize>,
}

impl<T: ArrowNativeType> Values<T> {
    fn new(rows_max: usize) -> Self {
        Self { values: Vec::with_capacity(rows_max), nulls: Vec::new() }
    }

    /// Adds the values of fields, until one is not plain; says how many.
    #[inline(always)]
    fn extend(
        &mut self,
        rows: usize,
        fields: impl Iterator<Item = (usize, usize)>,
        read: impl Fn(usize, usize) -> Option<Option<T>>,
    ) -> usize {
        let before = self.values.len();
        self.values.resize(before + rows, T::default());
        let new = self.values.get_mut(before..).unwrap_or_default();
        let mut done = 0;
        for (value, (start, end)) in new.iter_mut().zip(fields) {
            match read(start, end) {
                Some(Some(number)) => *value = number,
                Some(None) => self.nulls.push(before + done),
                None => break,
            }
            done += 1;
        }
        done
    }

    fn truncate(&mut self, rows: usize) {
        if rows < self.values.len() {
            self.values.truncate(rows);
            self.nulls.retain(|&row| row < rows);
        }
    }

    fn finish<P: ArrowPrimitiveType<Native = T>>(&mut self, rows_max: usize) -> PrimitiveArray<P> {
        let taken = std::mem::replace(self, Self::new(rows_max));
        let nulls = (!taken.nulls.is_empty()).then(|| {
            let mut valid = vec![true; taken.values.len()];
            for row in taken.nulls {
                if let Some(valid) = valid.get_mut(row) {
                    *valid = false;
                }
            }
            NullBuffer::from(valid)
        });
        PrimitiveArray::new(taken.values.into(), nulls)
    }
}

impl Column {
    /// Adds the values of fields, until one is not plain; says how many.
    fn extend(
        &mut self,
        bytes: &[u8],
        rows: usize,
        mut fields: impl Iterator<Item = (usize, usize)>,
    ) -> usize {
        match self {
            Self::Int64(values) => {
                values.extend(rows, fields, |start, end| integer(bytes, start, end))
            }
            Self::Int32(values) => values.extend(rows, fields, |start, end| {
                integer(bytes, start, end)?.map(i32::try_from).transpose().ok()
            }),
            Self::Float64(values) => {
                values.extend(rows, fields, |start, end| float(bytes, start, end))
            }
            Self::Text(values) => {
                let mut done = 0;
                while let Some((start, end)) = fields.next()
                    && let Some(Ok(text)) = bytes.get(start..end).map(std::str::from_utf8)
                {
                    match text {
                        "" => values.append_null(),
                        text => values.append_value(text),
                    }
                    done += 1;
                }
                done
            }
        }
    }
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// There are rows enough for a batch.
    Full,
    /// All complete lines are done.
    Drained,
    /// The next line is not plain.
    NotPlain,
}

/// What is looked through at once: so little that it and its marks stay in the processor's nearest
/// caches.
const PIECE_BYTES: usize = 8 << 10;

/// Collects rows.
pub(super) struct Decoder {
    layout: Layout,
    columns: Vec<Column>,
    rows: usize,
    rows_max: usize,
    marks: Marks,
}

impl Decoder {
    pub(super) fn new(layout: &Layout, rows_max: usize) -> Self {
        let columns = layout.schema.fields().iter().map(|field| match field.data_type() {
            DataType::Int64 => Column::Int64(Values::new(rows_max)),
            DataType::Int32 => Column::Int32(Values::new(rows_max)),
            DataType::Float64 => Column::Float64(Values::new(rows_max)),
            _ => Column::Text(StringViewBuilder::new()),
        });
        Self {
            layout: layout.clone(),
            columns: columns.collect(),
            rows: 0,
            rows_max,
            marks: Marks::default(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes in complete lines; says how many bytes they were.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut at = 0;
        let mut piece_bytes = PIECE_BYTES;
        while self.rows < self.rows_max {
            let left = bytes.get(at..).unwrap_or_default();
            let piece = left.get(..piece_bytes).unwrap_or(left);
            self.marks.find(piece, self.layout.special);
            let lines = self.marks.lines().len().min(self.rows_max - self.rows);
            let done = self.take_lines(piece, lines);
            at += self.length_of(done);
            let all = done == self.marks.lines().len();
            if done < lines || self.marks.odd && all {
                return (at, Stop::NotPlain);
            }
            if all && piece.len() == left.len() {
                return (at, Stop::Drained);
            }
            // A line may be longer.
            piece_bytes = if done == 0 { 2 * piece_bytes } else { PIECE_BYTES };
        }
        (at, Stop::Full)
    }

    /// The bytes of so many lines of the piece.
    fn length_of(&self, lines: usize) -> usize {
        let last = lines.checked_sub(1).and_then(|last| self.marks.lines().get(last));
        last.map_or(0, |&end| end as usize)
    }

    /// Takes in lines of the piece whose marks these are, until one is not plain; says how many.
    fn take_lines(&mut self, piece: &[u8], lines: usize) -> usize {
        let mut done = self.whole_lines(piece, lines);
        for (column, &field) in self.columns.iter_mut().zip(&self.layout.wanted) {
            let returns = self.marks.returns;
            let starts = self.marks.starts().windows(2).skip(field).step_by(self.layout.fields);
            let fields = starts.take(done).map(|pair| {
                let &[start, next] = pair else { return (0, 0) };
                let end = (next as usize).saturating_sub(1);
                let return_bytes = returns && piece.get(end.wrapping_sub(1)) == Some(&b'\r');
                (start as usize, end - usize::from(return_bytes))
            });
            done = column.extend(piece, done, fields);
        }
        self.rows += done;
        self.forget_half_a_line();
        done
    }

    /// How many of the first lines have as many fields as they should.
    fn whole_lines(&self, piece: &[u8], lines: usize) -> usize {
        let fields = self.layout.fields;
        let ends = self.marks.starts().iter().skip(fields).step_by(fields);
        let lines = self.marks.lines().iter().take(lines).zip(ends);
        let mut start = 0;
        let whole = lines.take_while(|&(&next, &end)| {
            let line = piece.get(start..next as usize).unwrap_or_default();
            start = next as usize;
            // Readers of CSV skip empty lines, which have one field, too.
            next == end && (fields > 1 || !matches!(line, b"\n" | b"\r\n"))
        });
        whole.count()
    }

    /// Leaves out the values of rows that are not whole.
    fn forget_half_a_line(&mut self) {
        let rows = self.rows;
        for column in &mut self.columns {
            match column {
                Column::Int64(values) => values.truncate(rows),
                Column::Int32(values) => values.truncate(rows),
                Column::Float64(values) => values.truncate(rows),
                Column::Text(values) => {
                    use datafusion::arrow::array::ArrayBuilder;
                    if values.len() > rows {
                        let all = values.finish().slice(0, rows);
                        values.append_array(&all);
                    }
                }
            }
        }
    }

    /// The rows so far.
    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let rows_max = self.rows_max;
        let columns = self.columns.iter_mut().map(|column| -> ArrayRef {
            match column {
                Column::Int64(values) => {
                    let array: Int64Array = values.finish(rows_max);
                    Arc::new(array)
                }
                Column::Int32(values) => {
                    let array: Int32Array = values.finish(rows_max);
                    Arc::new(array)
                }
                Column::Float64(values) => {
                    let array: Float64Array = values.finish(rows_max);
                    Arc::new(array)
                }
                Column::Text(values) => Arc::new(values.finish()),
            }
        });
        let columns = columns.collect();
        let rows = std::mem::take(&mut self.rows);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options)?)
    }
}
