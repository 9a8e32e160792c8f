//! min and max of numbers and times.

use super::{
    Accumulator, Days, Decimals, Doubles, Integers, Longs, Times, for_each_value, wrong_type,
};
use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, PrimitiveBuilder,
};
use datafusion::arrow::datatypes::{ArrowNativeTypeOp, DataType};
use datafusion::common::Result;
use std::sync::Arc;

/// The accumulator for a type that it exists for; see `extreme_is_native`.
pub(super) fn create(result: DataType, is_minimum: bool) -> Box<dyn Accumulator> {
    match &result {
        DataType::Int32 => Box::new(Extreme::<Integers>::new(result, is_minimum)),
        DataType::Float64 => Box::new(Extreme::<Doubles>::new(result, is_minimum)),
        DataType::Date32 => Box::new(Extreme::<Days>::new(result, is_minimum)),
        DataType::Decimal128(..) => Box::new(Extreme::<Decimals>::new(result, is_minimum)),
        DataType::Timestamp(..) => Box::new(Extreme::<Times>::new(result, is_minimum)),
        _ => Box::new(Extreme::<Longs>::new(result, is_minimum)),
    }
}

struct Extreme<T: ArrowPrimitiveType> {
    best: Vec<Option<T::Native>>,
    result: DataType,
    is_minimum: bool,
}

impl<T: ArrowPrimitiveType> Extreme<T> {
    fn new(result: DataType, is_minimum: bool) -> Self {
        Self { best: Vec::new(), result, is_minimum }
    }

    fn take(&mut self, slot: usize, value: T::Native) {
        let is_minimum = self.is_minimum;
        if let Some(best) = self.best.get_mut(slot) {
            // Total order: NaN is above everything, as in Postgres.
            let better = best
                .is_none_or(|best| if is_minimum { value.is_lt(best) } else { value.is_gt(best) });
            if better {
                *best = Some(value);
            }
        }
    }

    fn column(&self, slots: &[usize]) -> ArrayRef {
        let mut out =
            PrimitiveBuilder::<T>::with_capacity(slots.len()).with_data_type(self.result.clone());
        for &slot in slots {
            out.append_option(self.best.get(slot).copied().flatten());
        }
        Arc::new(out.finish())
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Extreme<T> {
    fn grow(&mut self, slots: usize) {
        self.best.resize(slots, None);
    }

    fn update(&mut self, values: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let [values] = values else { return Ok(()) };
        let Some(array) = values.as_any().downcast_ref::<PrimitiveArray<T>>() else {
            return wrong_type(values);
        };
        for_each_value!(array, |row: usize, value: T::Native| {
            if let Some(&slot) = slots.get(row) {
                self.take(slot, value);
            }
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], slots: &[usize]) -> Result<()> {
        self.update(states, slots)
    }

    fn state(&mut self, slots: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.column(slots)])
    }

    fn evaluate(&mut self, slots: &[usize]) -> Result<ArrayRef> {
        Ok(self.column(slots))
    }

    fn reset(&mut self, slot: usize) {
        if let Some(best) = self.best.get_mut(slot) {
            *best = None;
        }
    }

    fn bytes(&self) -> usize {
        self.best.capacity() * size_of::<Option<T::Native>>()
    }
}
