//! What the numbers in a file's first records are: doubles, or integers and decimals that a double
//! cannot hold exactly.

use super::narrow::SEEN_KEY;
use crate::error::{SqlError, SqlState};
use crate::values::json::{Node, Value, spanned};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::config::JsonOptions;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use object_store::{GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

/// Records that are looked at where nobody says how many: as many as DataFusion looks at.
const RECORDS: usize = 1_000;
/// Digits that a decimal has at most.
const DIGITS_MAX: usize = 38;
/// Integers up to here are doubles without loss.
const DOUBLE_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// The numbers of a column.
#[derive(Default)]
struct Numbers {
    /// One that a double does not hold.
    is_wide: bool,
    /// One that has no exact decimal of a reasonable length.
    has_exponent: bool,
    whole_digits: usize,
    fraction_digits: usize,
}

impl Numbers {
    fn note(&mut self, text: &str) {
        if text.contains(['e', 'E']) {
            self.has_exponent = true;
            return;
        }
        let digits = text.trim_start_matches('-');
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        self.whole_digits = self.whole_digits.max(whole.len());
        self.fraction_digits = self.fraction_digits.max(fraction.len());
        let is_integer = fraction.bytes().all(|digit| digit == b'0');
        let double: f64 = whole.parse().unwrap_or(f64::INFINITY);
        self.is_wide |= is_integer && double >= DOUBLE_INTEGERS && format!("{double:.0}") != whole;
        // Beyond 64 bits no integer is read as one, even where a double holds it.
        self.is_wide |= is_integer && fraction.is_empty() && double >= 9.2e18;
    }

    /// What holds all of them.
    fn kind(&self) -> Result<DataType, SqlError> {
        if !self.is_wide {
            return Ok(DataType::Float64);
        }
        if self.has_exponent || self.whole_digits + self.fraction_digits > DIGITS_MAX {
            let message = "neither double precision nor numeric holds all of its numbers exactly";
            return Err(SqlError::new(SqlState::NumericOutOfRange, message)
                .hint("declare the columns of the table, this one as double precision or text"));
        }
        Ok(DataType::Decimal128(DIGITS_MAX as u8, self.fraction_digits as i8))
    }
}

/// Puts decimals where a schema has doubles that would not hold the numbers of the first records.
pub(super) async fn exact(
    schema: SchemaRef,
    options: &JsonOptions,
    store: &Arc<dyn ObjectStore>,
    objects: &[ObjectMeta],
) -> DfResult<SchemaRef> {
    if !schema.fields().iter().any(|field| has_doubles(field.data_type())) {
        return Ok(schema);
    }
    let mut left = options.schema_infer_max_rec.unwrap_or(RECORDS);
    let compression = FileCompressionType::from(options.compression);
    let mut columns: Vec<Column> = schema.fields().iter().map(|_| Column::default()).collect();
    for object in objects {
        if left == 0 {
            break;
        }
        let found = store.get(&object.location).await?;
        let reader: Box<dyn Read + Send> = match found.payload {
            GetResultPayload::File(file, _) => compression.convert_read(file)?,
            GetResultPayload::Stream(_) => {
                let bytes = found.bytes().await?;
                compression.convert_read(std::io::Cursor::new(bytes))?
            }
        };
        left = look(BufReader::new(reader), options.newline_delimited, left, |record| {
            note_object(&schema, &mut columns, record);
        })?;
    }
    let fields: Fields = schema
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| {
            column.field(field).map_err(|mut error| {
                error.message = format!("column \"{}\": {}", field.name(), error.message);
                error
            })
        })
        .collect::<Result<_, SqlError>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn has_doubles(kind: &DataType) -> bool {
    match kind {
        DataType::Float64 => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_doubles(field.data_type())),
        DataType::List(element) => has_doubles(element.data_type()),
        _ => false,
    }
}

/// Looks at the first records; gives how many more may be looked at.
fn look(
    mut reader: impl BufRead,
    in_lines: bool,
    mut left: usize,
    mut note: impl FnMut((&str, &Node)),
) -> DfResult<usize> {
    if !in_lines {
        // An array is one value; whoever reads it reads all of it.
        let mut text = String::new();
        reader.read_to_string(&mut text).map_err(DataFusionError::IoError)?;
        if let Ok(Node { value: Value::Array(records), .. }) = spanned(&text) {
            records.iter().take(left).for_each(|record| note((&text, record)));
        }
        return Ok(0);
    }
    let mut line = String::new();
    while left > 0 {
        line.clear();
        if reader.read_line(&mut line).map_err(DataFusionError::IoError)? == 0 {
            break;
        }
        // What is no JSON was reported before, or will be by whoever reads it.
        if let Ok(record) = spanned(line.trim_start_matches('\u{feff}').trim()) {
            note((line.trim_start_matches('\u{feff}').trim(), &record));
            left -= 1;
        }
    }
    Ok(left)
}

/// What was seen of a column, or of a part of one.
#[derive(Default)]
struct Column {
    numbers: Numbers,
    parts: Vec<Column>,
}

impl Column {
    fn note_part(&mut self, index: usize, kind: &DataType, text: &str, node: &Node) {
        if self.parts.len() <= index {
            self.parts.resize_with(index + 1, Self::default);
        }
        if let Some(part) = self.parts.get_mut(index) {
            part.note(kind, text, node);
        }
    }

    fn note(&mut self, kind: &DataType, text: &str, node: &Node) {
        match (kind, &node.value) {
            (DataType::Float64, Value::Number) => self.numbers.note(node.raw(text)),
            (DataType::List(element), Value::Array(values)) => {
                for value in values {
                    self.note_part(0, element.data_type(), text, value);
                }
            }
            (DataType::Struct(fields), Value::Object(_)) => {
                for (index, field) in fields.iter().enumerate() {
                    if let Some(value) = node.field(field.name()) {
                        self.note_part(index, field.data_type(), text, value);
                    }
                }
            }
            // A list may stand for its only element.
            (DataType::List(element), _) => self.note_part(0, element.data_type(), text, node),
            _ => {}
        }
    }

    fn field(&self, field: &Field) -> Result<Field, SqlError> {
        let part = |index: usize, field: &Field| match self.parts.get(index) {
            Some(part) => part.field(field),
            None => Ok(field.clone()),
        };
        let kind = match field.data_type() {
            DataType::Float64 => self.numbers.kind()?,
            DataType::List(element) => DataType::List(Arc::new(part(0, element)?)),
            DataType::Struct(fields) => {
                let numbered = fields.iter().enumerate();
                let parts = numbered.map(|(index, field)| part(index, field));
                DataType::Struct(parts.collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        };
        let is_seen = kind.is_decimal();
        let mut field = field.clone().with_data_type(kind);
        if is_seen {
            field.metadata_mut().insert(SEEN_KEY.to_owned(), String::new());
        }
        Ok(field)
    }
}

fn note_object(schema: &Schema, columns: &mut [Column], (text, record): (&str, &Node)) {
    for (field, column) in schema.fields().iter().zip(columns) {
        if let Some(value) = record.field(field.name()) {
            column.note(field.data_type(), text, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(texts: &[&str]) -> Option<DataType> {
        let mut numbers = Numbers::default();
        texts.iter().for_each(|text| numbers.note(text));
        numbers.kind().ok()
    }

    #[test]
    fn doubles_stay_where_they_hold_everything() {
        assert_eq!(kind_of(&["1", "2.5", "-0.1", "1e300"]), Some(DataType::Float64));
        assert_eq!(kind_of(&["9007199254740992", "1.5"]), Some(DataType::Float64));
        // More than decimals have.
        assert_eq!(kind_of(&["123456789012345678901234567890123456789"]), None);
    }

    #[test]
    fn what_a_double_does_not_hold_is_a_decimal() {
        assert_eq!(kind_of(&["1", "18446744073709551615"]), Some(DataType::Decimal128(38, 0)));
        assert_eq!(kind_of(&["18446744073709551616"]), Some(DataType::Decimal128(38, 0)));
        assert_eq!(kind_of(&["-9007199254740993", "1.25"]), Some(DataType::Decimal128(38, 2)));
    }
}
