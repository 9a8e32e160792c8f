//! `generate_series` where a table stands: rows are made as they are asked for, however many there are.

use crate::dialect::cast_array;
use crate::error::{SqlError, SqlState};
use crate::moment;
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
use std::sync::Arc;

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
                let step = match step {
                    None => 1,
                    Some(ScalarValue::Int64(Some(step))) => step,
                    Some(_) => return Ok(Self::Empty(DataType::Int32)),
                };
                if step == 0 {
                    return Err(wrong("step size cannot equal zero"));
                }
                let fits = |value: i64| i32::try_from(value).is_ok();
                Ok(Self::Whole {
                    start,
                    stop,
                    step,
                    narrow: !wide && fits(start) && fits(stop) && fits(step),
                })
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

    /// The next values, at most so many; nothing where there are no more. The series goes on behind them.
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

/// The function, where a table stands.
#[derive(Debug)]
struct SeriesTable;

impl TableFunctionImpl for SeriesTable {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let state = args.session();
        let wide = args.exprs().iter().any(is_wide);
        let is_parameter = |expr: &Expr| Ok(matches!(expr, Expr::Placeholder(_)));
        if args.exprs().iter().any(|expr| expr.exists(is_parameter).unwrap_or(false)) {
            let nothing = DFSchema::empty();
            let kinds = args.exprs().iter().map(|expr| expr.get_type(&nothing));
            let kinds: Vec<DataType> = kinds.collect::<Result<_>>()?;
            return Ok(Arc::new(Made { series: Series::Unbound(kind_of(&kinds, wide)) }));
        }
        let values =
            args.exprs().iter().map(|expr| constant(expr, state)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Made { series: Series::new(&values, wide)? }))
    }
}

/// Whether it is declared to be of 64 bits, and not only written without a type.
fn is_wide(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(cast) if cast.field.data_type() == &DataType::Int64)
}

/// What a series of such values is of.
fn kind_of(kinds: &[DataType], wide: bool) -> DataType {
    match kinds.iter().find(|kind| matches!(kind, DataType::Timestamp(..) | DataType::Date32)) {
        Some(DataType::Timestamp(_, Some(_))) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        Some(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        None if kinds.iter().any(|kind| kind.is_decimal() || kind.is_floating()) => {
            DataType::Decimal128(38, decimal_scale(kinds))
        }
        None if wide => DataType::Int64,
        None => DataType::Int32,
    }
}

/// The value of an argument; casts and arithmetic are computed.
fn constant(expr: &Expr, session: &dyn Session) -> Result<ScalarValue> {
    if let Expr::Literal(value, _) = expr {
        return Ok(value.clone());
    }
    let schema = DFSchema::empty();
    let planned = crate::dialect::constant_expr(expr.clone(), session)?;
    let physical = session.create_physical_expr(planned, &schema)?;
    let batch = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let array = physical.evaluate(&batch)?.into_array(1)?;
    ScalarValue::try_from_array(&array, 0)
}

#[derive(Debug)]
struct Made {
    series: Series,
}

impl Made {
    fn made_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("generate_series", self.series.kind(), true)]))
    }
}

#[async_trait]
impl TableProvider for Made {
    fn schema(&self) -> SchemaRef {
        self.made_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Series::Unbound(_) = self.series {
            let message = "generate_series was planned without its values";
            return Err(SqlError::new(SqlState::Internal, message).into());
        }
        let schema = self.made_schema();
        let part: Arc<dyn PartitionStream> =
            Arc::new(Part { schema: schema.clone(), series: self.series.clone() });
        let exec =
            StreamingTableExec::try_new(schema, vec![part], projection, Vec::new(), false, limit)?;
        Ok(Arc::new(exec))
    }
}

#[derive(Debug)]
struct Part {
    schema: SchemaRef,
    series: Series,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let batches = futures_util::stream::unfold(self.series.clone(), move |mut series| {
            let schema = schema.clone();
            async move {
                // Others get their turn between two batches.
                tokio::task::yield_now().await;
                let array = series.next(BATCH_ROWS)?;
                let batch = RecordBatch::try_new(schema, vec![array]).map_err(Into::into);
                Some((batch, series))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

fn returns_list(asked: &super::Asked<'_>) -> std::result::Result<FieldRef, SqlError> {
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
    super::returns(DataType::new_list(element, true))
}

/// A series for each row, as a list that is unnested.
fn list(call: &super::Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
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

fn subscripts(call: &super::Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
    let array = call.arg(0)?;
    let lists = array
        .as_list_opt::<i32>()
        .ok_or_else(|| super::no_function("generate_subscripts", call.fields))?;
    let lengths: Vec<usize> = (0..lists.len())
        .map(|row| if lists.is_valid(row) { lists.value(row).len() } else { 0 })
        .collect();
    let values = Int32Array::from_iter_values(lengths.iter().flat_map(|&length| 1..=length as i32));
    let element = Arc::new(Field::new_list_field(DataType::Int32, true));
    Ok(Arc::new(ListArray::new(
        element,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        None,
    )))
}

fn returns_numbered(asked: &super::Asked<'_>) -> std::result::Result<FieldRef, SqlError> {
    let DataType::List(element) = asked.kind(0) else {
        return Err(super::no_function("_pg_expandarray", asked.fields));
    };
    let value = element.as_ref().clone().with_name("x").with_nullable(true);
    let fields = vec![value, Field::new("n", DataType::Int32, true)];
    super::returns(DataType::new_list(DataType::Struct(fields.into()), true))
}

/// The elements of an array, each with its number.
fn numbered(call: &super::Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
    let lists = call.arg(0)?.as_list_opt::<i32>();
    let lists = lists.ok_or_else(|| super::no_function("_pg_expandarray", call.fields))?;
    let DataType::List(element) = call.returns.data_type() else {
        return Err(super::no_function("_pg_expandarray", call.fields));
    };
    let DataType::Struct(fields) = element.data_type() else {
        return Err(super::no_function("_pg_expandarray", call.fields));
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
