//! Arrays as sets: `@>`, `<@` and `&&`. Elements are looked up by hash, so the work grows with the
//! number of elements and not with its square. Nulls are equal to nothing, as in Postgres.

use super::{Call, Function, no_function, returns_boolean};
use crate::error::SqlError;
use crate::sql::stop;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{Row, RowConverter, SortField};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::binary::comparison_coercion;
use std::collections::HashSet;
use std::sync::Arc;

/// What it costs to look an element up, beside a byte.
const LOOKUP_WORK: usize = 50;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("array_has_all", returns_boolean, |call| compare(call, has_all)),
        Function::new("array_has_any", returns_boolean, |call| compare(call, has_any)),
    ]
}

/// The type of what is in an array of any number of dimensions.
fn element_of(kind: &DataType) -> Option<&DataType> {
    let mut element = None;
    let mut kind = kind;
    while let DataType::List(inner)
    | DataType::LargeList(inner)
    | DataType::FixedSizeList(inner, _) = kind
    {
        kind = inner.data_type();
        element = Some(kind);
    }
    element
}

/// The same array of other elements.
fn with_element(kind: &DataType, element: &DataType) -> DataType {
    match kind {
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            DataType::new_list(with_element(inner.data_type(), element), true)
        }
        _ => element.clone(),
    }
}

/// All elements of an array, whatever its dimensions.
fn flat(mut values: ArrayRef) -> ArrayRef {
    while let DataType::List(_) = values.data_type() {
        let lists = values.as_list::<i32>();
        let ends = lists.value_offsets().first().zip(lists.value_offsets().last());
        let (start, end) = ends.map_or((0, 0), |(start, end)| (*start as usize, *end as usize));
        values = lists.values().slice(start, end - start);
    }
    values
}

/// The elements of one array, in a form that can be looked up; nothing for those that are null.
type Elements<'a> = dyn Iterator<Item = Option<Row<'a>>> + 'a;

fn compare(
    call: &Call<'_>,
    holds: fn(HashSet<Row<'_>>, &mut Elements<'_>) -> Result<bool, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let kinds = (call.arg(0)?.data_type(), call.arg(1)?.data_type());
    let elements = (element_of(kinds.0), element_of(kinds.1));
    let common = match elements {
        (Some(a), Some(b)) if a == b => Some(a.clone()),
        (Some(a), Some(b)) => comparison_coercion(a, b),
        _ => None,
    };
    let common = common.ok_or_else(|| no_function("array", call.fields))?;
    let a = call.as_kind(0, &with_element(kinds.0, &common))?;
    let b = call.as_kind(1, &with_element(kinds.1, &common))?;
    let converter = RowConverter::new(vec![SortField::new(common)]);
    let converter = converter.map_err(DataFusionError::from)?;
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if a.is_null(row) || b.is_null(row) {
            out.push(None);
            continue;
        }
        let values = |lists: &ArrayRef| flat(lists.as_list::<i32>().value(row));
        let (a, b) = (values(&a), values(&b));
        let a_rows =
            converter.convert_columns(std::slice::from_ref(&a)).map_err(DataFusionError::from)?;
        let b_rows =
            converter.convert_columns(std::slice::from_ref(&b)).map_err(DataFusionError::from)?;
        let mut set = HashSet::with_capacity(a.len());
        for (index, row) in a_rows.iter().enumerate() {
            stop::work(LOOKUP_WORK)?;
            if a.is_valid(index) {
                set.insert(row);
            }
        }
        let mut wanted = b_rows.iter().enumerate();
        let mut wanted = std::iter::from_fn(|| {
            wanted.next().map(|(index, row)| b.is_valid(index).then_some(row))
        });
        out.push(Some(holds(set, &mut wanted)?));
    }
    Ok(Arc::new(BooleanArray::from(out)))
}

fn has_all(set: HashSet<Row<'_>>, wanted: &mut Elements<'_>) -> Result<bool, SqlError> {
    for wanted in wanted {
        stop::work(LOOKUP_WORK)?;
        if !wanted.is_some_and(|wanted| set.contains(&wanted)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_any(set: HashSet<Row<'_>>, wanted: &mut Elements<'_>) -> Result<bool, SqlError> {
    for wanted in wanted.flatten() {
        stop::work(LOOKUP_WORK)?;
        if set.contains(&wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}
