//! Arrays.

use super::{
    Asked, Budget, Call, Function, check_value, no_function, returns, returns_integer, returns_text,
};
use crate::error::SqlError;
use crate::values::encode::{self, Style};
use crate::values::pg_type;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, ListBuilder, StringViewBuilder, UInt64Array,
    new_empty_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::common::DataFusionError;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("element_of", returns_element, element_of),
        Function::new("array_length", returns_integer, |call| lengths(call, false)),
        Function::new("array_upper", returns_integer, upper),
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

/// The number of a list's first element.
fn first_of(call: &Call<'_>) -> Result<i32, SqlError> {
    Ok(i32::from(!pg_type::is_vector(call.arg(0)?.data_type())))
}

fn upper(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (first, lengths) = (first_of(call)?, lengths(call, false)?);
    let lengths = lengths.as_primitive::<Int32Type>();
    Ok(Arc::new(lengths.unary::<_, Int32Type>(|length| length + first - 1)))
}

fn lengths(call: &Call<'_>, lower: bool) -> Result<ArrayRef, SqlError> {
    if call.arg(0)?.data_type().is_null() {
        return Ok(datafusion::arrow::array::new_null_array(&DataType::Int32, call.rows));
    }
    let first = first_of(call)?;
    let (lists, numbers) = (lists(call)?, if call.has(1) { Some(call.integers(1)?) } else { None });
    let length = |row: usize| {
        let number = numbers
            .as_ref()
            .map_or(Some(1), |numbers| numbers.is_valid(row).then(|| numbers.value(row)))?;
        let length = lists.is_valid(row).then(|| dimension(&lists.value(row), number)).flatten()?;
        Some(if lower { first } else { length })
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

/// Lists become texts: their elements with a separator between them.
struct Joining<'a> {
    separator: &'a str,
    /// What stands for nulls; without it they are left out.
    null: Option<&'a str>,
    style: &'a Style,
    budget: &'a mut Budget,
}

impl Joining<'_> {
    fn put(&mut self, out: &mut Vec<u8>, values: &ArrayRef) -> Result<(), SqlError> {
        for row in 0..values.len() {
            if let DataType::List(_) = values.data_type() {
                self.put(out, &values.as_list::<i32>().value(row))?;
                continue;
            }
            let before = out.len();
            out.extend_from_slice(self.separator.as_bytes());
            if !encode::put_text(out, values.as_ref(), row, self.style)? {
                match self.null {
                    Some(null) => out.extend_from_slice(null.as_bytes()),
                    None => out.truncate(before),
                }
            }
            self.budget.take(out.len() - before)?;
            check_value(out.len())?;
        }
        Ok(())
    }
}

fn to_string(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (lists, separators) = (lists(call)?, call.texts(1)?);
    let nulls = if call.has(2) { Some(call.texts(2)?) } else { None };
    let moment = call.moment();
    let style = Style { long_booleans: false, zone: moment.zone, formats: moment.formats };
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if lists.is_null(row) || separators.is_null(row) {
            out.append_null();
            continue;
        }
        let null = nulls.as_ref().and_then(|nulls| nulls.is_valid(row).then(|| nulls.value(row)));
        let separator = separators.value(row);
        let mut joining = Joining { separator, null, style: &style, budget: &mut budget };
        let mut text = Vec::new();
        joining.put(&mut text, &lists.value(row))?;
        let text = String::from_utf8_lossy(&text);
        // Every element was written with a separator before it.
        out.append_value(text.strip_prefix(separator).unwrap_or_default());
    }
    Ok(Arc::new(out.finish()))
}

/// The parts of a text: its letters where there is no delimiter.
fn parts<'a>(text: &'a str, delimiter: Option<&'a str>) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    match delimiter {
        _ if text.is_empty() => Box::new(std::iter::empty()),
        None => Box::new(super::text::letters(text)),
        Some("") => Box::new(std::iter::once(text)),
        Some(delimiter) => Box::new(text.split(delimiter)),
    }
}

fn of_string(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (texts, delimiters) = (call.texts(0)?, call.texts(1)?);
    let nulls = if call.has(2) { Some(call.texts(2)?) } else { None };
    let mut budget = Budget::default();
    let mut out = ListBuilder::new(StringViewBuilder::new());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            out.append(false);
            continue;
        };
        let delimiter = delimiters.is_valid(row).then(|| delimiters.value(row));
        let null = nulls.as_ref().and_then(|nulls| nulls.is_valid(row).then(|| nulls.value(row)));
        for part in parts(text, delimiter) {
            budget.take_part()?;
            out.values().append_option((null != Some(part)).then_some(part));
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}
