//! Lines of plain CSV to columns: each byte is looked at once.

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
    /// One for each field of a line.
    fields: Vec<Field>,
    schema: SchemaRef,
    delimiter: u8,
    quote: u8,
}

#[derive(Clone, Copy)]
enum Field {
    Skip,
    /// Its values go into this column.
    Int64(usize),
    Int32(usize),
    Float64(usize),
    Text(usize),
}

impl Layout {
    /// The layout of files whose lines have these columns, of which some are wanted; nothing if one of them has a type that
    /// is not computed here, or is wanted twice.
    pub(super) fn new(
        file: &Schema,
        wanted: &[usize],
        (delimiter, quote): (u8, u8),
    ) -> Option<Self> {
        let mut fields = vec![Field::Skip; file.fields().len()];
        for (column, &index) in wanted.iter().enumerate() {
            let slot = fields.get_mut(index)?;
            if !matches!(slot, Field::Skip) {
                return None;
            }
            *slot = match file.field(index).data_type() {
                DataType::Int64 => Field::Int64(column),
                DataType::Int32 => Field::Int32(column),
                DataType::Float64 => Field::Float64(column),
                DataType::Utf8View => Field::Text(column),
                _ => return None,
            };
        }
        let special = |byte: u8| matches!(byte, b'\n' | b'\r' | b'.' | b'-' | b'0'..=b'9');
        if fields.is_empty() || special(delimiter) || special(quote) {
            return None;
        }
        let schema = Arc::new(file.project(wanted).ok()?);
        Some(Self { fields, schema, delimiter, quote })
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

    #[inline]
    fn push(&mut self, value: Option<T>) {
        if value.is_none() {
            self.nulls.push(self.values.len());
        }
        self.values.push(value.unwrap_or_default());
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.retain(|&row| row < rows);
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

/// Collects rows.
pub(super) struct Decoder {
    layout: Layout,
    columns: Vec<Column>,
    rows: usize,
    rows_max: usize,
}

impl Decoder {
    pub(super) fn new(layout: &Layout, rows_max: usize) -> Self {
        let columns = layout.schema.fields().iter().map(|field| match field.data_type() {
            DataType::Int64 => Column::Int64(Values::new(rows_max)),
            DataType::Int32 => Column::Int32(Values::new(rows_max)),
            DataType::Float64 => Column::Float64(Values::new(rows_max)),
            _ => Column::Text(StringViewBuilder::new()),
        });
        Self { layout: layout.clone(), columns: columns.collect(), rows: 0, rows_max }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes in complete lines; says how many bytes they were.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') else {
            return (0, Stop::Drained);
        };
        let bytes = bytes.get(..=last).unwrap_or_default();
        let mut at = 0;
        while at < bytes.len() {
            if self.rows == self.rows_max {
                return (at, Stop::Full);
            }
            match self.line(bytes, at) {
                Some(next) => at = next,
                None => {
                    self.forget_half_a_line();
                    return (at, Stop::NotPlain);
                }
            }
        }
        (at, Stop::Drained)
    }

    /// Takes in the line that begins here; says where the next one does. Nothing: it is not plain.
    #[inline]
    fn line(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        // Readers of CSV skip empty lines.
        match bytes.get(at)? {
            b'\n' => return Some(at + 1),
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => return Some(at + 2),
            _ => {}
        }
        let Self { layout, columns, .. } = self;
        let mut left = layout.fields.len();
        for field in &layout.fields {
            at = match *field {
                Field::Skip => skip(bytes, at, layout.delimiter, layout.quote)?,
                Field::Int64(column) => {
                    let Column::Int64(values) = columns.get_mut(column)? else { return None };
                    let (value, end) = integer(bytes, at)?;
                    values.push(value);
                    end
                }
                Field::Int32(column) => {
                    let Column::Int32(values) = columns.get_mut(column)? else { return None };
                    let (value, end) = integer(bytes, at)?;
                    values.push(value.map(i32::try_from).transpose().ok()?);
                    end
                }
                Field::Float64(column) => {
                    let Column::Float64(values) = columns.get_mut(column)? else { return None };
                    let (value, end) = float(bytes, at)?;
                    values.push(value);
                    end
                }
                Field::Text(column) => {
                    let Column::Text(values) = columns.get_mut(column)? else { return None };
                    let end = skip(bytes, at, layout.delimiter, layout.quote)?;
                    match std::str::from_utf8(bytes.get(at..end)?).ok()? {
                        "" => values.append_null(),
                        text => values.append_value(text),
                    }
                    end
                }
            };
            left -= 1;
            if left > 0 {
                if *bytes.get(at)? != layout.delimiter {
                    return None;
                }
                at += 1;
            }
        }
        if bytes.get(at) == Some(&b'\r') {
            at += 1;
        }
        if bytes.get(at) != Some(&b'\n') {
            return None;
        }
        self.rows += 1;
        Some(at + 1)
    }

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

/// Where the field that begins here ends; nothing where a quote is in it.
#[inline]
fn skip(bytes: &[u8], mut at: usize, delimiter: u8, quote: u8) -> Option<usize> {
    let ends = |byte: u8| byte == delimiter || byte == b'\n' || byte == b'\r' || byte == quote;
    // Eight bytes at a time, as long as there are so many.
    while let Some(word) = word_at(bytes, at) {
        let found = zeros(word ^ each(delimiter))
            | zeros(word ^ each(b'\n'))
            | zeros(word ^ each(b'\r'))
            | zeros(word ^ each(quote));
        if found != 0 {
            at += (found.trailing_zeros() / 8) as usize;
            return (*bytes.get(at)? != quote).then_some(at);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|&byte| ends(byte))?;
    (*rest.get(length)? != quote).then_some(at + length)
}

/// Eight bytes as a word, the first one lowest.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}

/// A byte eight times over.
#[inline]
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of each byte that is zero; above the lowest of them, bits of others may be set, too.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & each(0x80)
}

/// The digits that a word begins with, at most eight: how many, and the number that they are.
#[inline(always)]
fn leading_digits(word: u64) -> (usize, u64) {
    let value = word ^ each(b'0');
    // The high bit of each byte above 9. It is right up to the lowest of them; from there on a carry may have come.
    let others = (value.wrapping_add(each(0x76)) | value) & each(0x80);
    let count = others.trailing_zeros() / 8;
    // The digits go to the end of the word; in front of them are zeros.
    let value = value.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = value.wrapping_mul(10).wrapping_add(value >> 8);
    const PAIRS: u64 = 0x0000_00FF_0000_00FF;
    let high = (pairs & PAIRS).wrapping_mul(0x000F_4240_0000_0064);
    let low = ((pairs >> 16) & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    (count as usize, high.wrapping_add(low) >> 32)
}

/// By how much digits are raised by so many others behind them.
const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Digits that always fit.
const DIGITS_MAX: usize = 18;

/// The digits from here on as a number, and where they end; the number is as it is only up to [`DIGITS_MAX`] of them.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    while let Some(word) = word_at(bytes, at) {
        let (count, number) = leading_digits(word);
        let raised = TENS.get(count).copied().unwrap_or(1);
        value = value.wrapping_mul(raised).wrapping_add(number);
        at += count;
        if count < 8 {
            return (value, at);
        }
    }
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0'))
        && digit < 10
    {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (value, at)
}

/// Whether a field is empty that ends at a byte.
fn is_end(byte: u8) -> bool {
    !matches!(byte, b'0'..=b'9' | b'-' | b'.' | b'+')
}

#[inline(always)]
fn integer(bytes: &[u8], at: usize) -> Option<(Option<i64>, usize)> {
    let first = *bytes.get(at)?;
    let negative = first == b'-';
    let start = at + usize::from(negative);
    let (value, end) = digits(bytes, start, 0);
    match end - start {
        // What follows is looked at by the caller: it is no delimiter if this is not empty.
        0 if !negative && is_end(first) => Some((None, end)),
        1..=DIGITS_MAX => {
            let value = value as i64;
            Some((Some(if negative { -value } else { value }), end))
        }
        0 => None,
        _ => {
            let text = std::str::from_utf8(bytes.get(at..end)?).ok()?;
            Some((Some(text.parse().ok()?), end))
        }
    }
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

#[inline(always)]
fn float(bytes: &[u8], at: usize) -> Option<(Option<f64>, usize)> {
    let first = *bytes.get(at)?;
    let negative = first == b'-';
    let start = at + usize::from(negative);
    let (mut mantissa, mut end) = digits(bytes, start, 0);
    let mut count = end - start;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        let point = end;
        (mantissa, end) = digits(bytes, point + 1, mantissa);
        fraction = end - point - 1;
        count += fraction;
        if fraction == 0 {
            return None;
        }
    }
    if count == 0 {
        return (!negative && is_end(first)).then_some((None, end));
    }
    let power = POWERS.get(fraction);
    let value = match power {
        // Both are exact, so the quotient is rounded once, which is what parsing asks for.
        Some(power) if count <= DIGITS_MAX && mantissa < 1 << 53 => {
            let value = mantissa as f64 / power;
            if negative { -value } else { value }
        }
        _ => std::str::from_utf8(bytes.get(at..end)?).ok()?.parse().ok()?,
    };
    Some((Some(value), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_at_once_are_those_one_by_one() {
        for text in ["00000000", "12345678", "99999999", "90000001"] {
            let word = word_at(text.as_bytes(), 0).expect("eight bytes");
            assert_eq!(leading_digits(word), (8, text.parse().expect("a number")));
        }
        // Every byte that is no digit, at every place, and whatever follows.
        for place in 0..8 {
            for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
                for next in [b'0', b'9', b',', 0xFF] {
                    let mut text = *b"90123459";
                    text[place] = byte;
                    if let Some(after) = text.get_mut(place + 1) {
                        *after = next;
                    }
                    let before = std::str::from_utf8(&text[..place]).expect("digits");
                    let expected = (place, before.parse().unwrap_or(0));
                    assert_eq!(leading_digits(u64::from_le_bytes(text)), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_end_of_a_field_is_found() {
        for length in 0..40 {
            for end in [b',', b'\n', b'\r', b'"'] {
                let mut bytes = vec![b'-'; length];
                bytes.extend([end, b',', b'\n', b'"']);
                let expected = (end != b'"').then_some(length);
                assert_eq!(skip(&bytes, 0, b',', b'"'), expected, "{length} {end}");
            }
        }
        assert_eq!(skip(b"no end", 0, b',', b'"'), None);
    }
}
