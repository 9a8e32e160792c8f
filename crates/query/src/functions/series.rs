//! Functions that give rows: the list of their names, and `generate_series`, whose rows are made as
//! they are asked for, however many there are. All others are functions `<name>_list` that give a
//! list, which `sql/dialect/rewrite/series.rs` unnests.

mod lists;
mod table;

use crate::error::{SqlError, SqlState};
use crate::sql::dialect::cast_array;
use crate::values::moment;
use async_trait::async_trait;
use chrono::Months;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, ListArray, PrimitiveArray,
    RecordBatch, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::*;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, ExprSchemable, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionContext;
use lists::{list, numbered, ordinals, returns_list, returns_numbered, subscripts};
use std::sync::Arc;
use table::SeriesTable;

/// Rows that are made at once.
const BATCH_ROWS: usize = 8_192;
/// Elements of a series that is a list.
const LIST_MAX: usize = 1 << 20;

/// Functions that give rows.
pub(crate) fn is_set_returning(name: &str) -> bool {
    matches!(
        name,
        "generate_series"
            | "unnest"
            | "json_array_elements"
            | "jsonb_array_elements"
            | "json_array_elements_text"
            | "jsonb_array_elements_text"
            | "json_object_keys"
            | "jsonb_object_keys"
            | "json_each"
            | "jsonb_each"
            | "json_each_text"
            | "jsonb_each_text"
            | "regexp_matches"
            | "regexp_split_to_table"
            | "string_to_table"
            | "generate_subscripts"
            | "_pg_expandarray"
    )
}

pub(super) fn register(context: &SessionContext) {
    context.register_udtf("generate_series", Arc::new(SeriesTable));
    let list = super::Function::new("generate_series_list", returns_list, list);
    context.register_udf(list.udf().as_ref().clone());
    let places = super::Function::new(
        "generate_subscripts_list",
        |_| super::returns(DataType::new_list(DataType::Int32, true)),
        subscripts,
    );
    context.register_udf(places.udf().as_ref().clone());
    let ordinals = super::Function::new(
        "ordinals_list",
        |_| super::returns(DataType::new_list(DataType::Int32, true)),
        ordinals,
    );
    context.register_udf(ordinals.udf().as_ref().clone());
    let numbered = super::Function::new("_pg_expandarray_list", returns_numbered, numbered);
    context.register_udf(numbered.udf().as_ref().clone());
}

/// A series of values.
#[derive(Clone, Debug)]
enum Series {
    /// Whole numbers; of 32 bits where all of them were written so.
    Whole {
        start: i64,
        stop: i64,
        step: i64,
        narrow: bool,
    },
    Decimal {
        start: i128,
        stop: i128,
        step: i128,
        scale: i8,
    },
    Time {
        start_us: i64,
        stop_us: i64,
        step: IntervalMonthDayNano,
        kind: DataType,
    },
    Empty(DataType),
    /// Of values that are not known yet: planned, but not run.
    Unbound(DataType),
}

fn wrong(message: &str) -> SqlError {
    SqlError::new(SqlState::InvalidParameter, message)
}

impl Series {
    /// `wide`: whether one of them was declared to be of 64 bits.
    fn new(args: &[ScalarValue], wide: bool) -> std::result::Result<Self, SqlError> {
        let (Some(start), Some(stop)) = (args.first(), args.get(1)) else {
            return Err(SqlError::new(
                SqlState::UndefinedFunction,
                "generate_series takes a start, an end and a step",
            ));
        };
        let kinds: Vec<DataType> = args.iter().map(ScalarValue::data_type).collect();
        let temporal =
            kinds.iter().find(|kind| matches!(kind, DataType::Timestamp(..) | DataType::Date32));
        if let Some(kind) = temporal {
            return Self::of_times(start, stop, args.get(2), kind);
        }
        let is_decimal = kinds.iter().any(|kind| kind.is_decimal() || kind.is_floating());
        let kind = if is_decimal {
            DataType::Decimal128(38, decimal_scale(&kinds))
        } else {
            DataType::Int64
        };
        let field = Field::new("", kind.clone(), true);
        let convert = |value: &ScalarValue| -> std::result::Result<ScalarValue, SqlError> {
            let array = cast_array(&value.to_array()?, &field, &Default::default())?;
            Ok(ScalarValue::try_from_array(&array, 0)?)
        };
        let (start, stop) = (convert(start)?, convert(stop)?);
        let step = args.get(2).map(convert).transpose()?;
        match (start, stop, step) {
            (ScalarValue::Int64(Some(start)), ScalarValue::Int64(Some(stop)), step) => {
                Self::of_whole(start, stop, step, wide)
            }
            (
                ScalarValue::Decimal128(Some(start), _, scale),
                ScalarValue::Decimal128(Some(stop), ..),
                step,
            ) => {
                let step = match step {
                    None => 10i128.pow(scale.max(0) as u32),
                    Some(ScalarValue::Decimal128(Some(step), ..)) => step,
                    Some(_) => return Ok(Self::Empty(kind)),
                };
                if step == 0 {
                    return Err(wrong("step size cannot equal zero"));
                }
                Ok(Self::Decimal { start, stop, step, scale })
            }
            _ => Ok(Self::Empty(kind)),
        }
    }

    fn of_whole(
        start: i64,
        stop: i64,
        step: Option<ScalarValue>,
        wide: bool,
    ) -> std::result::Result<Self, SqlError> {
        let step = match step {
            None => 1,
            Some(ScalarValue::Int64(Some(step))) => step,
            Some(_) => return Ok(Self::Empty(DataType::Int32)),
        };
        if step == 0 {
            return Err(wrong("step size cannot equal zero"));
        }
        let fits = |value: i64| i32::try_from(value).is_ok();
        let narrow = !wide && fits(start) && fits(stop) && fits(step);
        Ok(Self::Whole { start, stop, step, narrow })
    }

    fn of_times(
        start: &ScalarValue,
        stop: &ScalarValue,
        step: Option<&ScalarValue>,
        kind: &DataType,
    ) -> std::result::Result<Self, SqlError> {
        let kind = match kind {
            DataType::Timestamp(_, Some(_)) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            _ => DataType::Timestamp(TimeUnit::Microsecond, None),
        };
        let field = Field::new("", kind.clone(), true);
        let us = |value: &ScalarValue| -> std::result::Result<Option<i64>, SqlError> {
            let array = cast_array(&value.to_array()?, &field, &Default::default())?;
            let array = array.as_primitive::<TimestampMicrosecondType>();
            Ok(array.is_valid(0).then(|| array.value(0)))
        };
        let interval = Field::new("", DataType::Interval(IntervalUnit::MonthDayNano), true);
        let step = step.ok_or_else(|| {
            SqlError::new(SqlState::UndefinedFunction, "generate_series over times takes a step")
        })?;
        let step = cast_array(&step.to_array()?, &interval, &Default::default())?;
        let step = step.as_primitive::<IntervalMonthDayNanoType>();
        match (us(start)?, us(stop)?, step.is_valid(0)) {
            (Some(start_us), Some(stop_us), true) => {
                let step = step.value(0);
                if step.months == 0 && step.days == 0 && step.nanoseconds == 0 {
                    return Err(wrong("step size cannot equal zero"));
                }
                Ok(Self::Time { start_us, stop_us, step, kind })
            }
            _ => Ok(Self::Empty(kind)),
        }
    }

    fn kind(&self) -> DataType {
        match self {
            Self::Whole { narrow: true, .. } => DataType::Int32,
            Self::Whole { .. } => DataType::Int64,
            Self::Decimal { scale, .. } => DataType::Decimal128(38, *scale),
            Self::Time { kind, .. } => kind.clone(),
            Self::Empty(kind) | Self::Unbound(kind) => kind.clone(),
        }
    }

    /// The next values, at most so many; nothing where there are no more. The series goes on behind
    /// them.
    fn next(&mut self, most: usize) -> Option<ArrayRef> {
        match self {
            Self::Empty(_) | Self::Unbound(_) => None,
            Self::Whole { start, stop, step, narrow } => {
                let (first, by, end) = (*start, *step, *stop);
                let beyond = |value: i64| if by > 0 { value > end } else { value < end };
                if beyond(first) {
                    return None;
                }
                let left = (i128::from(end) - i128::from(first)) / i128::from(by) + 1;
                let count = usize::try_from(left).unwrap_or(most).min(most);
                let values =
                    (0..count as i64).map(|index| first.wrapping_add(by.wrapping_mul(index)));
                let array: ArrayRef = match *narrow {
                    true => {
                        Arc::new(Int32Array::from_iter_values(values.map(|value| value as i32)))
                    }
                    false => Arc::new(Int64Array::from_iter_values(values)),
                };
                match by.checked_mul(count as i64).and_then(|moved| first.checked_add(moved)) {
                    Some(next) => *start = next,
                    None => *self = Self::Empty(DataType::Int64),
                }
                Some(array)
            }
            Self::Decimal { start, stop, step, scale } => {
                let mut values = Vec::new();
                while values.len() < most
                    && (if *step > 0 { *start <= *stop } else { *start >= *stop })
                {
                    values.push(*start);
                    *start = start.checked_add(*step)?;
                }
                let array =
                    Decimal128Array::from(values).with_precision_and_scale(38, *scale).ok()?;
                (!array.is_empty()).then(|| Arc::new(array) as ArrayRef)
            }
            Self::Time { start_us, stop_us, step, kind } => {
                let down = step.months < 0 || step.days < 0 || step.nanoseconds < 0;
                let mut values = Vec::new();
                while values.len() < most
                    && (if down { *start_us >= *stop_us } else { *start_us <= *stop_us })
                {
                    values.push(*start_us);
                    *start_us = plus(*start_us, *step)?;
                }
                let array = PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(values);
                (!array.is_empty())
                    .then(|| Arc::new(array.with_data_type(kind.clone())) as ArrayRef)
            }
        }
    }
}

fn plus(us: i64, step: IntervalMonthDayNano) -> Option<i64> {
    let time = moment::naive(us)?;
    let by = Months::new(step.months.unsigned_abs());
    let time =
        if step.months < 0 { time.checked_sub_months(by)? } else { time.checked_add_months(by)? };
    time.and_utc()
        .timestamp_micros()
        .checked_add(i64::from(step.days) * moment::DAY_US)?
        .checked_add(step.nanoseconds / 1_000)
}

fn decimal_scale(kinds: &[DataType]) -> i8 {
    let scale = |kind: &DataType| match kind {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        kind if kind.is_floating() => 10,
        _ => 0,
    };
    kinds.iter().map(scale).max().unwrap_or(0)
}
