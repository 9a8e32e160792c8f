//! Accumulators: one aggregate of a view, for all groups at once. A group is a slot; slots come and
//! go.
//!
//! Unlike DataFusion's, they can be read without being emptied, and their answers do not depend on
//! the order of the rows or on how these were cut into batches: integers are summed in 128 bits,
//! and sums of doubles carry their rounding error. Aggregates that have no accumulator of their own
//! here are DataFusion's, one accumulator for each group (`generic.rs`).

mod count;
mod extreme;
mod generic;
mod sum;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use std::sync::Arc;

/// One aggregate, for all groups.
pub(crate) trait Accumulator: Send {
    /// Makes room for so many slots.
    fn grow(&mut self, slots: usize);

    /// Takes in a value for each row, into the row's slot; rows that a filter leaves out are not
    /// there any more.
    fn update(&mut self, values: &[ArrayRef], slots: &[usize]) -> Result<()>;

    /// Takes in states that [`Accumulator::state`] gave, one for each slot named.
    fn merge(&mut self, states: &[ArrayRef], slots: &[usize]) -> Result<()>;

    /// The states of some slots, as columns.
    fn state(&mut self, slots: &[usize]) -> Result<Vec<ArrayRef>>;

    /// The results of some slots.
    fn evaluate(&mut self, slots: &[usize]) -> Result<ArrayRef>;

    /// Makes a slot as new.
    fn reset(&mut self, slot: usize);

    /// Memory used, about.
    fn bytes(&self) -> usize;
}

/// How an aggregate of a view is accumulated.
#[derive(Clone, Debug)]
pub(crate) struct AggregatePlan {
    pub(crate) function: Arc<AggregateFunctionExpr>,
    pub(crate) filter: Option<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
    pub(crate) kind: Kind,
}

/// Which accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CountRows,
    CountValues,
    SumInteger,
    SumDouble,
    SumDecimal,
    AverageDouble,
    Minimum,
    Maximum,
    Generic,
}

impl AggregatePlan {
    pub(crate) fn new(
        function: Arc<AggregateFunctionExpr>,
        filter: Option<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
        input: &datafusion::arrow::datatypes::Schema,
    ) -> Result<Self> {
        let arguments = function.expressions();
        let kind = match arguments.as_slice() {
            _ if function.is_distinct() || !function.order_bys().is_empty() => Kind::Generic,
            [argument] => {
                let constant = argument.downcast_ref::<Literal>();
                let of = argument.data_type(input)?;
                match (function.fun().name(), &of) {
                    ("count", _) if constant.is_some_and(|value| !value.value().is_null()) => {
                        Kind::CountRows
                    }
                    ("count", _) => Kind::CountValues,
                    ("sum", DataType::Int64) => Kind::SumInteger,
                    ("sum", DataType::Float64) => Kind::SumDouble,
                    ("sum", DataType::Decimal128(..)) => Kind::SumDecimal,
                    ("avg", DataType::Float64) => Kind::AverageDouble,
                    ("min", kind) if extreme_is_native(kind) => Kind::Minimum,
                    ("max", kind) if extreme_is_native(kind) => Kind::Maximum,
                    _ => Kind::Generic,
                }
            }
            _ => Kind::Generic,
        };
        if kind == Kind::Generic {
            // Arguments that it does not take are better refused now than when the first record
            // comes.
            function.create_accumulator()?;
        }
        Ok(Self { function, filter, kind })
    }

    /// An accumulator without slots.
    pub(crate) fn create(&self) -> Box<dyn Accumulator> {
        let result = self.function.field().data_type().clone();
        match self.kind {
            Kind::CountRows => Box::new(count::Count::new(false)),
            Kind::CountValues => Box::new(count::Count::new(true)),
            Kind::SumInteger | Kind::SumDecimal => Box::new(sum::ExactSum::new(result)),
            Kind::SumDouble => Box::new(sum::DoubleSum::new(false)),
            Kind::AverageDouble => Box::new(sum::DoubleSum::new(true)),
            Kind::Minimum => extreme::create(result, true),
            Kind::Maximum => extreme::create(result, false),
            Kind::Generic => Box::new(generic::Generic::new(self.function.clone())),
        }
    }

    /// The columns of a state.
    pub(crate) fn state_fields(&self) -> Result<Vec<FieldRef>> {
        let mut empty = self.create();
        match self.kind {
            Kind::Generic => self.function.state_fields(),
            _ => Ok(empty
                .state(&[])?
                .iter()
                .enumerate()
                .map(|(index, column)| {
                    let name = format!("s{index}");
                    Arc::new(datafusion::arrow::datatypes::Field::new(
                        name,
                        column.data_type().clone(),
                        true,
                    ))
                })
                .collect()),
        }
    }

    /// What a reader is told about it.
    pub(crate) fn describe(&self) -> String {
        let how = match self.kind {
            Kind::Generic => "one accumulator for each group",
            _ => "all groups at once",
        };
        format!("{} ({how})", self.function.name())
    }
}

fn extreme_is_native(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Int32
            | DataType::Int64
            | DataType::Float64
            | DataType::Date32
            | DataType::Decimal128(..)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// Calls `$visit(row, value)` for each row that has a value.
macro_rules! for_each_value {
    ($array:expr, $visit:expr) => {{
        let array = $array;
        let mut visit = $visit;
        if array.null_count() == 0 {
            for (row, value) in array.values().iter().enumerate() {
                visit(row, *value);
            }
        } else {
            for row in 0..array.len() {
                if array.is_valid(row) {
                    visit(row, array.value(row));
                }
            }
        }
    }};
}
use for_each_value;

/// The rows that a filter keeps.
pub(crate) fn kept(filter: &BooleanArray) -> BooleanArray {
    match filter.null_count() {
        0 => filter.clone(),
        _ => datafusion::arrow::compute::prep_null_mask_filter(filter),
    }
}

/// The types that [`extreme`] is made for, by name.
pub(crate) type Times = TimestampMicrosecondType;
pub(crate) type Days = Date32Type;
pub(crate) type Decimals = Decimal128Type;
pub(crate) type Doubles = Float64Type;
pub(crate) type Longs = Int64Type;
pub(crate) type Integers = Int32Type;

fn wrong_type<T>(array: &ArrayRef) -> Result<T> {
    let message = format!("an accumulator was given {}", array.data_type());
    Err(datafusion::common::DataFusionError::Internal(message))
}

#[cfg(test)]
mod tests;
