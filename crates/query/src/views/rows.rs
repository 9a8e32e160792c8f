//! What a view does with each record before it is grouped: filters, projections, event time.

use super::accumulate::{Kind, kept};
use super::groups::Arguments;
use crate::sql::window::{WindowKind, floor_us, times_us};
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use datafusion::arrow::compute::{filter, filter_record_batch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// A step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Rows that do not meet it go.
    Filter(Arc<dyn PhysicalExpr>),
    /// These are the columns now.
    Project { exprs: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
    /// The event time is this, and `window_start` and `window_end` are columns.
    Window { kind: WindowKind, time: Arc<dyn PhysicalExpr>, schema: SchemaRef },
}

/// Rows under way.
pub(crate) struct Flow {
    pub(crate) batch: RecordBatch,
    /// Event times in microseconds, once there is a window.
    pub(crate) times: Option<Int64Array>,
    /// For each row, which row it was at the beginning; all of them in order where nothing was
    /// filtered out.
    pub(crate) origins: Option<UInt32Array>,
    /// Rows without an event time, which no window can hold.
    pub(crate) timeless: u64,
}

impl Flow {
    pub(crate) fn new(batch: RecordBatch) -> Self {
        Self { batch, times: None, origins: None, timeless: 0 }
    }

    /// Keeps some rows.
    pub(crate) fn keep(&mut self, mask: &BooleanArray) -> Result<()> {
        let mask = super::accumulate::kept(mask);
        if mask.true_count() == mask.len() {
            return Ok(());
        }
        self.batch = filter_record_batch(&self.batch, &mask)?;
        if let Some(times) = &self.times {
            let kept = filter(times, &mask)?;
            self.times = kept.as_any().downcast_ref::<Int64Array>().cloned();
        }
        self.origins = Some(match &self.origins {
            Some(origins) => {
                let kept = filter(origins, &mask)?;
                kept.as_any()
                    .downcast_ref::<UInt32Array>()
                    .cloned()
                    .unwrap_or_else(|| UInt32Array::from(Vec::<u32>::new()))
            }
            None => (0..mask.len() as u32).filter(|&row| mask.value(row as usize)).collect(),
        });
        Ok(())
    }

    /// The row at the beginning that a row was.
    pub(crate) fn origin(&self, row: usize) -> usize {
        self.origins.as_ref().map_or(row, |origins| origins.value(row) as usize)
    }
}

fn column(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    expr.evaluate(batch)?.into_array(batch.num_rows())
}

impl Step {
    /// Takes rows one step on.
    pub(crate) fn run(&self, flow: &mut Flow) -> Result<()> {
        match self {
            Self::Filter(predicate) => {
                let mask = column(predicate, &flow.batch)?;
                match mask.as_any().downcast_ref::<BooleanArray>() {
                    Some(mask) => flow.keep(mask),
                    // A condition that is always null keeps nothing.
                    None => flow.keep(&BooleanArray::from(vec![false; mask.len()])),
                }
            }
            Self::Project { exprs, schema } => {
                let columns = exprs.iter().map(|expr| column(expr, &flow.batch));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                flow.batch = make(schema, columns, flow.batch.num_rows())?;
                Ok(())
            }
            Self::Window { kind, time, schema } => {
                let times = times_us(&column(time, &flow.batch)?)?;
                let zoned = times.data_type().clone();
                flow.times = Some(Int64Array::new(times.values().clone(), times.nulls().cloned()));
                if times.null_count() > 0 {
                    flow.timeless += times.null_count() as u64;
                    let mask = datafusion::arrow::compute::is_not_null(&times)?;
                    flow.keep(&mask)?;
                }
                let mut columns = flow.batch.columns().to_vec();
                let rows = flow.batch.num_rows();
                match (*kind, &flow.times) {
                    (WindowKind::Tumble { size_us }, Some(times)) => {
                        let bound = |plus: i64| {
                            let starts = times
                                .unary::<_, datafusion::arrow::datatypes::TimestampMicrosecondType>(
                                |us| floor_us(us, size_us) + plus,
                            );
                            Arc::new(TimestampMicrosecondArray::with_data_type(
                                starts,
                                zoned.clone(),
                            )) as ArrayRef
                        };
                        columns.push(bound(0));
                        columns.push(bound(size_us));
                    }
                    // A row is in several windows, or in one that is not known yet: nothing may ask
                    // (`compile.rs` sees to it).
                    _ => {
                        columns.push(new_null_array(&zoned, rows));
                        columns.push(new_null_array(&zoned, rows));
                    }
                }
                flow.batch = make(schema, columns, rows)?;
                Ok(())
            }
        }
    }
}

fn make(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The arguments of an aggregate for some rows.
pub(crate) fn arguments(
    plan: &super::accumulate::AggregatePlan,
    batch: &RecordBatch,
) -> Result<Arguments> {
    let filter = match &plan.filter {
        Some(filter) => column(filter, batch)?.as_any().downcast_ref::<BooleanArray>().cloned(),
        None => None,
    };
    let value = |expr: &Arc<dyn PhysicalExpr>| match &filter {
        // What is computed may fail for rows that the filter leaves out.
        Some(filter) if !expr.children().is_empty() => {
            expr.evaluate_selection(batch, &kept(filter))?.into_array(batch.num_rows())
        }
        _ => column(expr, batch),
    };
    let values = match plan.kind {
        Kind::CountRows => Vec::new(),
        _ => plan.function.expressions().iter().map(value).collect::<Result<_>>()?,
    };
    Ok(Arguments { values, filter })
}

/// Columns of some rows.
pub(crate) fn columns(
    exprs: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|expr| column(expr, batch)).collect()
}
