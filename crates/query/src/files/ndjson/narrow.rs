//! Numbers as they were read, wide, and as their columns hold them.

use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, Fields, Schema, SchemaRef, i256,
};
use datafusion::common::DataFusionError;
use std::sync::Arc;

/// What integers are read as: all of 64 bits, and enough of a fraction to see that there is one.
const WIDE_INTEGER: DataType = DataType::Decimal128(38, FRACTION_DIGITS);
const FRACTION_DIGITS: i8 = 18;
/// What decimals are read as, so that they are rounded and not cut off.
const WIDE_DECIMAL: DataType = DataType::Decimal256(76, 38);

/// The columns as they are read.
pub(super) fn wide_schema(wanted: &Schema) -> SchemaRef {
    Arc::new(Schema::new(wide_fields(wanted.fields())))
}

fn wide_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| wide_field(field)).collect()
}

fn wide_field(field: &Field) -> Field {
    let wide = match field.data_type() {
        kind if kind.is_integer() => WIDE_INTEGER,
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if *scale <= 38 => {
            WIDE_DECIMAL
        }
        DataType::Struct(fields) => DataType::Struct(wide_fields(fields)),
        DataType::List(element) => DataType::List(Arc::new(wide_field(element))),
        other => other.clone(),
    };
    field.clone().with_data_type(wide)
}

/// Rows as their columns hold them.
pub(super) fn batch(wide: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let columns = wide.columns().iter().zip(wanted.fields());
    let columns = columns.map(|(column, field)| {
        narrow(column, field).map_err(|mut error| {
            error.message = format!("column \"{}\": {}", field.name(), error.message);
            error
        })
    });
    let columns = columns.collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(wide.num_rows()));
    RecordBatch::try_new_with_options(wanted.clone(), columns, &options).map_err(arrow)
}

fn arrow(error: datafusion::arrow::error::ArrowError) -> SqlError {
    SqlError::from(DataFusionError::from(error))
}

/// The key in a field's metadata that says that its digits were not declared but seen in the first
/// records: what has more of them is refused and not rounded.
pub(super) const SEEN_KEY: &str = "thalweg.seen";

fn narrow(wide: &ArrayRef, field: &Field) -> Result<ArrayRef, SqlError> {
    let kind = field.data_type();
    if wide.data_type() == kind {
        return Ok(wide.clone());
    }
    match (wide.data_type(), kind) {
        (DataType::Decimal128(..), kind) if kind.is_integer() => integers(wide, kind),
        (DataType::Decimal256(..), kind) => {
            decimals(wide, kind, field.metadata().contains_key(SEEN_KEY))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let structs = wide.as_struct();
            let columns = structs.columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| narrow(column, field));
            let columns = columns.collect::<Result<_, _>>()?;
            let nulls = structs.nulls().cloned();
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, nulls).map_err(arrow)?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let lists = wide.as_list::<i32>();
            let values = narrow(lists.values(), element)?;
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            let lists = ListArray::try_new(element.clone(), offsets, values, nulls);
            Ok(Arc::new(lists.map_err(arrow)?))
        }
        _ => Err(SqlError::new(
            SqlState::Internal,
            format!("{} was read for {kind}", wide.data_type()),
        )),
    }
}

fn integers(wide: &ArrayRef, kind: &DataType) -> Result<ArrayRef, SqlError> {
    const ONE: i128 = 10i128.pow(FRACTION_DIGITS as u32);
    for value in wide.as_primitive::<Decimal128Type>().iter().flatten() {
        if value % ONE != 0 {
            let shown = value as f64 / ONE as f64;
            return Err(SqlError::new(SqlState::InvalidText, format!("{shown} is not an integer"))
                .hint(
                    "declare the columns of the table, this one as numeric or double precision",
                ));
        }
    }
    strict_cast(wide, kind).map_err(|_| {
        SqlError::new(SqlState::NumericOutOfRange, "a number is out of range for an integer")
            .hint("declare the columns of the table, this one as numeric")
    })
}

fn decimals(wide: &ArrayRef, kind: &DataType, exact: bool) -> Result<ArrayRef, SqlError> {
    // Arrow's cast of wide decimals keeps the low bits of what does not fit 128 bits.
    if let DataType::Decimal128(_, scale) = kind {
        let excess = i256::from_i128(10i128.pow((38 - scale) as u32));
        for value in wide.as_primitive::<Decimal256Type>().iter().flatten() {
            if exact && value.wrapping_rem(excess) != i256::ZERO {
                return Err(SqlError::new(
                    SqlState::InvalidText,
                    "a number has more digits after the point than those of the first records",
                )
                .hint(
                    "declare the columns of the table, this one as numeric or double precision",
                ));
            }
            let scaled = value.wrapping_div(excess);
            if scaled.to_i128().is_none() {
                return Err(too_wide());
            }
        }
    }
    strict_cast(wide, kind).map_err(|_| too_wide())
}

fn too_wide() -> SqlError {
    SqlError::new(SqlState::NumericOutOfRange, "a number has more digits than its column")
}

fn strict_cast(array: &ArrayRef, kind: &DataType) -> Result<ArrayRef, SqlError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, kind, &options).map_err(arrow)
}
