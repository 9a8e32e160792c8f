//! Rows as values, and functions that make one value of many rows or elements: `json_agg`,
//! `json_object_agg`, `array_fill`.
//!
//! The aggregates collect with `array_agg`; the functions here make JSON of the lists.

use super::json::put_json;
use super::{Asked, Budget, Call, Function, no_function, returns};
use crate::error::{SqlError, SqlState};
use crate::values::encode::{self, Style};
use crate::values::json;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, StringViewBuilder, StructArray, UInt32Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{is_not_null, or, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::common::DataFusionError;
use std::sync::Arc;

/// `whole_row(is_optional, name, value, …)` is a relation's row.
pub(crate) const WHOLE_ROW: &str = "whole_row";

/// Functions over lists that `array_agg` collects, by the aggregates that they stand for.
pub(crate) const COLLECTORS: [(&str, &str); 4] = [
    ("json_agg", "json_agg\u{2}of"),
    ("jsonb_agg", "jsonb_agg\u{2}of"),
    ("json_object_agg", "json_object_agg\u{2}of"),
    ("jsonb_object_agg", "jsonb_object_agg\u{2}of"),
];

/// The most elements that `array_fill` makes.
const FILLED_MAX: usize = 8 << 20;

pub(super) fn functions() -> Vec<Function> {
    let [(_, json_list), (_, jsonb_list), (_, json_object), (_, jsonb_object)] = COLLECTORS;
    vec![
        Function::new(WHOLE_ROW, returns_row, whole_row),
        Function::new(json_list, super::json::returns_json, |call| list(call, false)),
        Function::new(jsonb_list, super::json::returns_jsonb, |call| list(call, true)),
        Function::new(json_object, super::json::returns_json, |call| object(call, false)),
        Function::new(jsonb_object, super::json::returns_jsonb, |call| object(call, true)),
        Function::new("array_fill", returns_filled, array_fill),
    ]
}

/// The fields of a row, under the names that stand before their values.
fn fields_of(fields: &[FieldRef], name_of: impl Fn(usize) -> Option<String>) -> Vec<FieldRef> {
    let values = (2..fields.len()).step_by(2);
    let field = |at: usize| {
        let name = name_of(at - 1).unwrap_or_default();
        let field = fields.get(at)?.as_ref().clone();
        Some(Arc::new(field.with_name(name).with_nullable(true)))
    };
    values.filter_map(field).collect()
}

fn returns_row(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let name = |at: usize| asked.constant(at)?.try_as_str()?.map(str::to_owned);
    returns(DataType::Struct(fields_of(asked.fields, name).into()))
}

fn whole_row(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let DataType::Struct(fields) = call.returns.data_type() else {
        return Err(no_function(WHOLE_ROW, call.fields));
    };
    let columns: Vec<ArrayRef> = call.args.iter().skip(2).step_by(2).cloned().collect();
    let is_optional = call.booleans(0)?.iter().next().flatten().unwrap_or(false);
    let mut nulls = None;
    if is_optional {
        let mut known = columns.iter().map(|column| is_not_null(column));
        let any =
            known.next().map(|first| known.try_fold(first?, |any, column| or(&any, &column?)));
        if let Some(any) = any.transpose().map_err(DataFusionError::from)? {
            nulls = Some(NullBuffer::new(any.values().clone()));
        }
    }
    let row = StructArray::try_new_with_length(fields.clone(), columns, nulls, call.rows);
    Ok(Arc::new(row.map_err(DataFusionError::from)?))
}

fn list_of<'a>(call: &'a Call<'_>, index: usize) -> Result<(&'a ListArray, &'a Field), SqlError> {
    let list = call.arg(index)?.as_list_opt::<i32>();
    match (list, call.fields.get(index).map(|field| field.data_type())) {
        (Some(list), Some(DataType::List(element))) => Ok((list, element)),
        _ => Err(no_function("json_agg", call.fields)),
    }
}

/// `json_agg` begins a line for each row of a relation, and for each list.
fn list(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef, SqlError> {
    let (lists, element) = list_of(call, 0)?;
    let is_nested = matches!(element.data_type(), DataType::Struct(_) | DataType::List(_));
    let between = if is_nested && !jsonb { ", \n " } else { ", " };
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for row in 0..lists.len() {
        if lists.is_null(row) {
            out.append_null();
            continue;
        }
        let values = lists.value(row);
        let mut text = String::from("[");
        for index in 0..values.len() {
            if index > 0 {
                text.push_str(between);
            }
            put_json(&mut text, values.as_ref(), index, element, jsonb)?;
        }
        text.push(']');
        budget.take(text.len())?;
        out.append_value(text);
    }
    Ok(Arc::new(out.finish()))
}

fn object(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef, SqlError> {
    let ((keys, _), (values, element)) = (list_of(call, 0)?, list_of(call, 1)?);
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for row in 0..keys.len() {
        if keys.is_null(row) {
            out.append_null();
            continue;
        }
        let (keys, values) = (keys.value(row), values.value(row));
        let mut text = String::from("{ ");
        for index in 0..keys.len().min(values.len()) {
            if index > 0 {
                text.push_str(", ");
            }
            let mut key = Vec::new();
            if !encode::put_text(&mut key, keys.as_ref(), index, &Style::cast("UTC"))? {
                let message = "field name must not be null";
                return Err(SqlError::new(SqlState::InvalidParameter, message));
            }
            json::put_quoted(&mut text, &String::from_utf8_lossy(&key));
            text.push_str(" : ");
            put_json(&mut text, values.as_ref(), index, element, jsonb)?;
        }
        text.push_str(" }");
        let text = if jsonb { json::parse(&text)?.to_text()? } else { text };
        budget.take(text.len())?;
        out.append_value(text);
    }
    Ok(Arc::new(out.finish()))
}

fn returns_filled(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let element = asked.fields.first().ok_or_else(|| no_function("array_fill", asked.fields))?;
    let element = element.as_ref().clone().with_name("item").with_nullable(true);
    returns(DataType::List(Arc::new(element)))
}

/// One dimension of a value.
fn array_fill(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let DataType::List(element) = call.returns.data_type() else {
        return Err(no_function("array_fill", call.fields));
    };
    let (values, lengths) =
        (call.arg(0)?, call.as_kind(1, &DataType::new_list(DataType::Int32, true))?);
    let (mut places, mut counts) = (Vec::new(), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let dimensions = lengths.as_list::<i32>().value(row);
        if lengths.is_null(row) || dimensions.null_count() > 0 {
            let message = "dimension array or low bound array cannot be null";
            return Err(SqlError::new(SqlState::NullValueNotAllowed, message));
        }
        let count = match dimensions.as_primitive::<Int32Type>().values().as_ref() {
            [] => 0,
            [count] => usize::try_from(*count).unwrap_or(0),
            _ => return Err(SqlError::unsupported("array_fill makes arrays of one dimension")),
        };
        if count > FILLED_MAX || places.len() + count > FILLED_MAX {
            let message = format!("array size exceeds the maximum allowed ({FILLED_MAX})");
            return Err(SqlError::new(SqlState::LimitExceeded, message));
        }
        places.extend(std::iter::repeat_n(row as u32, count));
        counts.push(count);
    }
    let values = take(values, &UInt32Array::from(places), None).map_err(DataFusionError::from)?;
    let filled =
        ListArray::try_new(element.clone(), OffsetBuffer::from_lengths(counts), values, None);
    Ok(Arc::new(filled.map_err(DataFusionError::from)?))
}
