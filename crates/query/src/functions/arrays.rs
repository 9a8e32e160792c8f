//! Arrays.

use super::{Asked, Call, Function, no_function, returns, returns_integer, returns_text};
use crate::encode::{self, Style};
use crate::error::SqlError;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, ListBuilder, StringViewBuilder, UInt64Array,
    new_empty_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DataFusionError;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("element_of", returns_element, element_of),
        Function::new("array_length", returns_integer, |call| lengths(call, false)),
        Function::new("array_upper", returns_integer, |call| lengths(call, false)),
        Function::new("array_lower", returns_integer, |call| lengths(call, true)),
        Function::new("array_or_empty", super::returns_same, or_empty),
        Function::new("cardinality", returns_integer, cardinality),
        Function::new("array_to_string", returns_text, to_string),
        Function::new(
            "string_to_array",
            |_| returns(DataType::new_list(DataType::Utf8View, true)),
            of_string,
        )
        .alias("string_to_table_list"),
    ]
}

fn returns_element(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    match asked.kind(0) {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => {
            Ok(Arc::new(element.as_ref().clone().with_nullable(true)))
        }
        _ => Err(no_function("subscript", asked.fields)),
    }
}

fn lists(call: &Call<'_>) -> Result<datafusion::arrow::array::ListArray, SqlError> {
    let array = call.arg(0)?;
    let element = match array.data_type() {
        DataType::List(_) => return Ok(array.as_list::<i32>().clone()),
        DataType::LargeList(element) | DataType::FixedSizeList(element, _) => element.clone(),
        _ => return Err(no_function("array", call.fields)),
    };
    let cast = datafusion::arrow::compute::cast(array, &DataType::List(element))
        .map_err(datafusion::common::DataFusionError::from)?;
    Ok(cast.as_list::<i32>().clone())
}

/// What stands for no array is an empty one.
fn or_empty(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let lists = lists(call)?;
    if lists.null_count() == 0 {
        return Ok(Arc::new(lists));
    }
    let DataType::List(element) = lists.data_type().clone() else {
        return Err(no_function("array", call.fields));
    };
    let length = |row: usize| if lists.is_valid(row) { lists.value(row).len() } else { 0 };
    let offsets = OffsetBuffer::from_lengths((0..lists.len()).map(length));
    let values = lists.iter().flatten().collect::<Vec<ArrayRef>>();
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    let values = match values.is_empty() {
        true => new_empty_array(element.data_type()),
        false => concat(&values).map_err(DataFusionError::from)?,
    };
    let lists = ListArray::try_new(element, offsets, values, None);
    Ok(Arc::new(lists.map_err(DataFusionError::from)?))
}

/// Places count from 1; there is nothing at others.
fn element_of(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (lists, places) = (lists(call)?, call.integers(1)?);
    let place = |row: usize| {
        let (true, true) = (lists.is_valid(row), places.is_valid(row)) else { return None };
        let offsets = lists.value_offsets();
        let (start, end) = (*offsets.get(row)? as i64, *offsets.get(row + 1)? as i64);
        let at = places.value(row);
        (at >= 1 && at <= end - start).then(|| (start + at - 1) as u64)
    };
    let places: UInt64Array = (0..call.rows).map(place).collect();
    Ok(take(lists.values(), &places, None).map_err(datafusion::common::DataFusionError::from)?)
}

/// The length of a dimension; nothing where there is none.
fn dimension(values: &ArrayRef, number: i64) -> Option<i32> {
    if values.is_empty() || number < 1 {
        return None;
    }
    if number == 1 {
        return Some(values.len() as i32);
    }
    match values.data_type() {
        DataType::List(_) => dimension(&values.as_list::<i32>().value(0), number - 1),
        _ => None,
    }
}

fn lengths(call: &Call<'_>, lower: bool) -> Result<ArrayRef, SqlError> {
    if call.arg(0)?.data_type().is_null() {
        return Ok(datafusion::arrow::array::new_null_array(&DataType::Int32, call.rows));
    }
    let (lists, numbers) = (lists(call)?, if call.has(1) { Some(call.integers(1)?) } else { None });
    let length = |row: usize| {
        let number = numbers
            .as_ref()
            .map_or(Some(1), |numbers| numbers.is_valid(row).then(|| numbers.value(row)))?;
        let length = lists.is_valid(row).then(|| dimension(&lists.value(row), number)).flatten()?;
        Some(if lower { 1 } else { length })
    };
    Ok(Arc::new((0..call.rows).map(length).collect::<Int32Array>()))
}

fn elements(values: &ArrayRef) -> i32 {
    match values.data_type() {
        DataType::List(_) => {
            (0..values.len()).map(|row| elements(&values.as_list::<i32>().value(row))).sum()
        }
        _ => values.len() as i32,
    }
}

fn cardinality(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let lists = lists(call)?;
    let count = |row: usize| lists.is_valid(row).then(|| elements(&lists.value(row)));
    Ok(Arc::new((0..call.rows).map(count).collect::<Int32Array>()))
}

fn flat(values: &ArrayRef, style: &Style, out: &mut Vec<Option<String>>) -> Result<(), SqlError> {
    for row in 0..values.len() {
        if let DataType::List(_) = values.data_type() {
            flat(&values.as_list::<i32>().value(row), style, out)?;
            continue;
        }
        let mut text = Vec::new();
        let known = encode::put_text(&mut text, values.as_ref(), row, style)?;
        out.push(known.then(|| String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(())
}

fn to_string(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (lists, separators) = (lists(call)?, call.texts(1)?);
    let nulls = if call.has(2) { Some(call.texts(2)?) } else { None };
    let moment = call.moment();
    let style = Style { long_booleans: false, zone: moment.zone, formats: moment.formats };
    let mut budget = super::Budget::default();
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if lists.is_null(row) || separators.is_null(row) {
            out.append_null();
            continue;
        }
        let null = nulls.as_ref().and_then(|nulls| nulls.is_valid(row).then(|| nulls.value(row)));
        let mut values = Vec::new();
        flat(&lists.value(row), &style, &mut values)?;
        let parts: Vec<&str> =
            values.iter().filter_map(|value| value.as_deref().or(null)).collect();
        let separator = separators.value(row);
        budget.take(parts.iter().map(|part| part.len() + separator.len()).sum())?;
        out.append_value(parts.join(separator));
    }
    Ok(Arc::new(out.finish()))
}

fn of_string(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, delimiters) = (call.texts(0)?, call.texts(1)?);
    let nulls = if call.has(2) { Some(call.texts(2)?) } else { None };
    let mut out = ListBuilder::new(StringViewBuilder::new());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            out.append(false);
            continue;
        };
        let parts: Vec<String> = match delimiters.is_valid(row).then(|| delimiters.value(row)) {
            _ if text.is_empty() => Vec::new(),
            None => text.chars().map(String::from).collect(),
            Some("") => vec![text.to_owned()],
            Some(delimiter) => text.split(delimiter).map(str::to_owned).collect(),
        };
        for part in parts {
            let is_null =
                nulls.as_ref().is_some_and(|nulls| nulls.is_valid(row) && nulls.value(row) == part);
            out.values().append_option((!is_null).then_some(part));
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}
