//! Sets as lists: `generate_series`, subscripts and numbers of rows outside FROM.

use super::*;
use crate::values::pg_type;

pub(super) fn returns_list(
    asked: &super::super::Asked<'_>,
) -> std::result::Result<FieldRef, SqlError> {
    let kinds: Vec<DataType> = asked.fields.iter().map(|field| field.data_type().clone()).collect();
    let element = match kinds.first() {
        Some(DataType::Timestamp(_, zone)) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        Some(DataType::Date32) => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ if kinds.iter().any(|kind| kind.is_decimal() || kind.is_floating()) => {
            DataType::Decimal128(38, decimal_scale(&kinds))
        }
        _ if kinds.contains(&DataType::Int64) => DataType::Int64,
        _ => DataType::Int32,
    };
    super::super::returns(DataType::new_list(element, true))
}

/// A series for each row, as a list that is unnested.
pub(super) fn list(call: &super::super::Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
    let DataType::List(element) = call.returns.data_type() else {
        return Err(wrong("a series is a list"));
    };
    let (mut arrays, mut lengths) = (Vec::new(), Vec::with_capacity(call.rows));
    let mut all = 0;
    for row in 0..call.rows {
        let args = call
            .args
            .iter()
            .map(|array| ScalarValue::try_from_array(array, row))
            .collect::<Result<Vec<_>>>()?;
        let mut series = Series::new(&args, false)?;
        let values = series
            .next(LIST_MAX)
            .unwrap_or_else(|| datafusion::arrow::array::new_empty_array(element.data_type()));
        all += values.len();
        if series.next(1).is_some() || all > 4 * LIST_MAX {
            let message = format!("a series of more than {LIST_MAX} values for one row");
            return Err(SqlError::new(SqlState::LimitExceeded, message)
                .hint("FROM generate_series(…) makes any number"));
        }
        lengths.push(values.len());
        arrays.push(cast_array(&values, element, &call.moment())?);
    }
    let parts: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    let values = match parts.is_empty() {
        true => datafusion::arrow::array::new_empty_array(element.data_type()),
        false => datafusion::arrow::compute::concat(&parts)
            .map_err(datafusion::common::DataFusionError::from)?,
    };
    Ok(Arc::new(ListArray::new(element.clone(), OffsetBuffer::from_lengths(lengths), values, None)))
}

/// The subscripts of an array's elements; those of a vector begin with 0.
pub(super) fn subscripts(call: &super::super::Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
    let array = call.arg(0)?;
    let first = i32::from(!pg_type::is_vector(array.data_type()));
    count_from(first, &lengths_of(array, call)?)
}

/// Numbers from 1 for the elements of arrays that stand side by side.
pub(super) fn ordinals(call: &super::super::Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
    let mut longest = vec![0; call.rows];
    for array in call.args {
        for (most, length) in longest.iter_mut().zip(lengths_of(array, call)?) {
            *most = length.max(*most);
        }
    }
    count_from(1, &longest)
}

fn lengths_of(
    array: &ArrayRef,
    call: &super::super::Call<'_>,
) -> std::result::Result<Vec<usize>, SqlError> {
    let lists = array
        .as_list_opt::<i32>()
        .ok_or_else(|| super::super::no_function("generate_subscripts", call.fields))?;
    let length = |row| if lists.is_valid(row) { lists.value(row).len() } else { 0 };
    Ok((0..lists.len()).map(length).collect())
}

fn count_from(first: i32, lengths: &[usize]) -> std::result::Result<ArrayRef, SqlError> {
    let numbers = |&length: &usize| first..first + length as i32;
    let values = Int32Array::from_iter_values(lengths.iter().flat_map(numbers));
    let element = Arc::new(Field::new_list_field(DataType::Int32, true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(ListArray::new(element, offsets, Arc::new(values), None)))
}

pub(super) fn returns_numbered(
    asked: &super::super::Asked<'_>,
) -> std::result::Result<FieldRef, SqlError> {
    let DataType::List(element) = asked.kind(0) else {
        return Err(super::super::no_function("_pg_expandarray", asked.fields));
    };
    let value = element.as_ref().clone().with_name("x").with_nullable(true);
    let fields = vec![value, Field::new("n", DataType::Int32, true)];
    super::super::returns(DataType::new_list(DataType::Struct(fields.into()), true))
}

/// The elements of an array, each with its number.
pub(super) fn numbered(call: &super::super::Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
    let lists = call.arg(0)?.as_list_opt::<i32>();
    let lists = lists.ok_or_else(|| super::super::no_function("_pg_expandarray", call.fields))?;
    let DataType::List(element) = call.returns.data_type() else {
        return Err(super::super::no_function("_pg_expandarray", call.fields));
    };
    let DataType::Struct(fields) = element.data_type() else {
        return Err(super::super::no_function("_pg_expandarray", call.fields));
    };
    let offsets = lists.offsets();
    let start = offsets.first().map_or(0, |start| *start as usize);
    let length = offsets.last().map_or(0, |end| *end as usize) - start;
    let values = lists.values().slice(start, length);
    let numbers = offsets.lengths().flat_map(|length| 1..=length as i32);
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(numbers));
    let rows = StructArray::try_new(fields.clone(), vec![values, numbers], None)
        .map_err(datafusion::common::DataFusionError::from)?;
    let lengths = OffsetBuffer::from_lengths(offsets.lengths());
    let lists =
        ListArray::try_new(element.clone(), lengths, Arc::new(rows), lists.nulls().cloned());
    Ok(Arc::new(lists.map_err(datafusion::common::DataFusionError::from)?))
}
