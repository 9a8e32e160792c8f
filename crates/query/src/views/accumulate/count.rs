//! count(*) and count(value).

use super::{Accumulator, wrong_type};
use datafusion::arrow::array::{Array, ArrayRef, Int64Array};
use datafusion::common::Result;
use std::sync::Arc;

pub(super) struct Count {
    counts: Vec<i64>,
    /// Rows without a value do not count.
    of_values: bool,
}

impl Count {
    pub(super) fn new(of_values: bool) -> Self {
        Self { counts: Vec::new(), of_values }
    }

    fn column(&self, slots: &[usize]) -> ArrayRef {
        let counts = slots.iter().map(|&slot| self.counts.get(slot).copied().unwrap_or(0));
        Arc::new(Int64Array::from_iter_values(counts))
    }
}

impl Accumulator for Count {
    fn grow(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, values: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let nulls =
            values.first().filter(|_| self.of_values).and_then(|values| values.logical_nulls());
        for (row, &slot) in slots.iter().enumerate() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
                && let Some(count) = self.counts.get_mut(slot)
            {
                *count += 1;
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let [state] = states else { return Ok(()) };
        let Some(counts) = state.as_any().downcast_ref::<Int64Array>() else {
            return wrong_type(state);
        };
        for (&slot, &more) in slots.iter().zip(counts.values()) {
            if let Some(count) = self.counts.get_mut(slot) {
                *count += more;
            }
        }
        Ok(())
    }

    fn state(&mut self, slots: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.column(slots)])
    }

    fn evaluate(&mut self, slots: &[usize]) -> Result<ArrayRef> {
        Ok(self.column(slots))
    }

    fn reset(&mut self, slot: usize) {
        if let Some(count) = self.counts.get_mut(slot) {
            *count = 0;
        }
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}
