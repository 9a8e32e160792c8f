//! Records to columns.

use crate::catalog::StreamDefinition;
use crate::values::record::ColumnBuilder;
use crate::values::types::{Column, ColumnType, loose_schema_of};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use serde_json::{Map, Value};
use thalweg_machine::{StreamId, unpack_fields};
use thalweg_node::RecordBlock;

/// A column of this name has the record's ID, whatever the record says.
const ID: &str = "_id";
/// … the time in the record's ID.
const TIME: &str = "_time";
/// … the number of the record's partition.
const PARTITION: &str = "_partition";
/// A stream without columns has its fields here, as JSON.
const DATA: &str = "data";

/// The columns that a stream has for SQL.
pub(crate) fn columns_of(definition: &StreamDefinition) -> Vec<Column> {
    if !definition.columns.is_empty() {
        return definition.columns.clone();
    }
    let column = |name: &str, kind| Column::plain(name, kind, false);
    vec![
        column(ID, ColumnType::Text),
        column(TIME, ColumnType::Timestamp),
        column(PARTITION, ColumnType::Integer),
        column(DATA, ColumnType::Json),
    ]
}

/// Where a column's value comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Field,
    Id,
    Time,
    Partition,
    AllFields,
}

/// Turns records into columns. Remembers where it found the fields last: most records look like the
/// one before.
pub(crate) struct Decoder {
    columns: Vec<Column>,
    sources: Vec<From>,
    schema: SchemaRef,
    /// Columns that come from fields, in the order in which the last record had them.
    order: Vec<usize>,
}

/// A record that does not fit its stream's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) id: StreamId,
    pub(crate) reason: String,
}

impl Decoder {
    pub(crate) fn new(definition: &StreamDefinition) -> Self {
        let columns = columns_of(definition);
        let untyped = definition.columns.is_empty();
        let source = |column: &Column| match column.name.as_str() {
            ID => From::Id,
            TIME => From::Time,
            PARTITION => From::Partition,
            DATA if untyped => From::AllFields,
            _ => From::Field,
        };
        Self {
            sources: columns.iter().map(source).collect(),
            schema: loose_schema_of(&columns),
            columns,
            order: Vec::new(),
        }
    }

    /// The records as a batch; those that do not fit are left out of it and given with the reason.
    pub(crate) fn decode(
        &mut self,
        block: &RecordBlock,
        partition: u16,
    ) -> (RecordBatch, Vec<Misfit>) {
        let rows = block.len();
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|column| ColumnBuilder::new(column.kind, rows)).collect();
        let mut filled = vec![false; builders.len()];
        let mut misfits = Vec::new();
        let mut fits = Vec::new();
        for (row, (id, fields)) in block.iter().enumerate() {
            filled.fill(false);
            let reason = self.decode_fields(fields, &mut builders, &mut filled);
            let reason = self.decode_rest(id, partition, fields, &mut builders, &filled, reason);
            if let Some(reason) = reason {
                if fits.is_empty() {
                    fits = vec![true; rows];
                }
                if let Some(fit) = fits.get_mut(row) {
                    *fit = false;
                }
                misfits.push(Misfit { id, reason });
            }
        }
        let arrays: Vec<ArrayRef> = builders.into_iter().map(ColumnBuilder::finish).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays)
            .and_then(|batch| match misfits.is_empty() {
                true => Ok(batch),
                false => filter_record_batch(&batch, &BooleanArray::from(fits)),
            })
            .unwrap_or_else(|_| RecordBatch::new_empty(self.schema.clone()));
        (batch, misfits)
    }

    /// Fills the columns that the record has fields for; gives the reason if one does not fit.
    fn decode_fields(
        &mut self,
        fields: &[u8],
        builders: &mut [ColumnBuilder],
        filled: &mut [bool],
    ) -> Option<String> {
        let mut reason = None;
        let mut pieces = unpack_fields(fields);
        let mut place = 0;
        while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
            let Some(index) = self.find(name, place) else { continue };
            place += 1;
            let (Some(builder), Some(filled), Some(column)) =
                (builders.get_mut(index), filled.get_mut(index), self.columns.get(index))
            else {
                continue;
            };
            if *filled {
                continue;
            }
            *filled = true;
            if builder.append_text(value) {
                continue;
            }
            builder.append_null();
            // An empty text is no value where the type has none.
            if value.is_empty() && column.nullable {
                continue;
            }
            reason.get_or_insert_with(|| {
                let shown =
                    String::from_utf8_lossy(value.get(..60.min(value.len())).unwrap_or_default());
                format!("column \"{}\": '{shown}' is not a {}", column.name, column.kind.name())
            });
        }
        reason
    }

    /// The column that a field is for.
    fn find(&mut self, name: &[u8], place: usize) -> Option<usize> {
        if let Some(&index) = self.order.get(place)
            && self.columns.get(index).is_some_and(|column| column.name.as_bytes() == name)
        {
            return Some(index);
        }
        let index = self.columns.iter().zip(&self.sources).position(|(column, source)| {
            *source == From::Field && column.name.as_bytes() == name
        })?;
        self.order.truncate(place);
        self.order.push(index);
        Some(index)
    }

    /// Fills the columns that no field was for.
    fn decode_rest(
        &self,
        id: StreamId,
        partition: u16,
        fields: &[u8],
        builders: &mut [ColumnBuilder],
        filled: &[bool],
        mut reason: Option<String>,
    ) -> Option<String> {
        let parts = self.columns.iter().zip(&self.sources).zip(builders).zip(filled);
        for (((column, source), builder), &filled) in parts {
            if filled {
                continue;
            }
            let fits = match source {
                From::Field => false,
                From::Id => builder.append_text(&id.to_text()),
                From::Time => builder.append_text(id.ms.to_string().as_bytes()),
                From::Partition => builder.append_text(partition.to_string().as_bytes()),
                From::AllFields => builder.append_text(&fields_as_json(fields)),
            };
            if fits {
                continue;
            }
            builder.append_null();
            if !column.nullable {
                reason.get_or_insert_with(|| format!("column \"{}\" has no value", column.name));
            }
        }
        reason
    }
}

/// A record's fields as a JSON object of texts.
pub(crate) fn fields_as_json(fields: &[u8]) -> Vec<u8> {
    let mut object = Map::new();
    let mut pieces = unpack_fields(fields);
    while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        object.insert(text(name), Value::String(text(value)));
    }
    Value::Object(object).to_string().into_bytes()
}
