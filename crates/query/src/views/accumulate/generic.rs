//! Any aggregate that DataFusion has: one accumulator of its own for each group.

use super::Accumulator;
use datafusion::arrow::array::{Array, ArrayRef, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator as DfAccumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use std::sync::Arc;

pub(super) struct Generic {
    function: Arc<AggregateFunctionExpr>,
    slots: Vec<Option<Box<dyn DfAccumulator>>>,
    bytes: usize,
}

impl Generic {
    pub(super) fn new(function: Arc<AggregateFunctionExpr>) -> Self {
        Self { function, slots: Vec::new(), bytes: 0 }
    }

    /// The accumulator of a slot, made where there is none, and how large it is.
    fn with<R>(
        &mut self,
        slot: usize,
        work: impl FnOnce(&mut Box<dyn DfAccumulator>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(place) = self.slots.get_mut(slot) else { return Ok(None) };
        let accumulator = match place {
            Some(accumulator) => accumulator,
            None => place.insert(self.function.create_accumulator()?),
        };
        let before = accumulator.size();
        let result = work(accumulator)?;
        self.bytes = (self.bytes + accumulator.size()).saturating_sub(before);
        Ok(Some(result))
    }

    /// A slot's state. Reading one may empty DataFusion's accumulator, so it is put back together
    /// from what it gave.
    fn state_of(&mut self, slot: usize) -> Result<Vec<ScalarValue>> {
        let function = self.function.clone();
        let state = self.with(slot, |accumulator| {
            let state = accumulator.state()?;
            let mut again = function.create_accumulator()?;
            again.merge_batch(&as_columns(&state)?)?;
            *accumulator = again;
            Ok(state)
        })?;
        Ok(state.unwrap_or_default())
    }
}

fn as_columns(state: &[ScalarValue]) -> Result<Vec<ArrayRef>> {
    state.iter().map(ScalarValue::to_array).collect()
}

/// Rows in the order of their slots, and each slot's run of them.
fn runs(slots: &[usize]) -> (UInt32Array, Vec<(usize, usize, usize)>) {
    let mut order: Vec<u32> = (0..slots.len() as u32).collect();
    order.sort_by_key(|&row| slots.get(row as usize));
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (place, &row) in order.iter().enumerate() {
        let Some(&slot) = slots.get(row as usize) else { continue };
        match runs.last_mut() {
            Some((last, _, count)) if *last == slot => *count += 1,
            _ => runs.push((slot, place, 1)),
        }
    }
    (UInt32Array::from(order), runs)
}

impl Accumulator for Generic {
    fn grow(&mut self, slots: usize) {
        self.slots.resize_with(slots, || None);
    }

    fn update(&mut self, values: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let (order, runs) = runs(slots);
        let sorted: Vec<ArrayRef> =
            values.iter().map(|values| take(values, &order, None)).collect::<Result<_, _>>()?;
        for (slot, start, count) in runs {
            let own: Vec<ArrayRef> =
                sorted.iter().map(|values| values.slice(start, count)).collect();
            self.with(slot, |accumulator| accumulator.update_batch(&own))?;
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], slots: &[usize]) -> Result<()> {
        for (row, &slot) in slots.iter().enumerate() {
            let own: Vec<ArrayRef> = states.iter().map(|state| state.slice(row, 1)).collect();
            self.with(slot, |accumulator| accumulator.merge_batch(&own))?;
        }
        Ok(())
    }

    fn state(&mut self, slots: &[usize]) -> Result<Vec<ArrayRef>> {
        let fields = self.function.state_fields()?;
        let mut columns: Vec<Vec<ScalarValue>> =
            vec![Vec::with_capacity(slots.len()); fields.len()];
        for &slot in slots {
            for (column, value) in columns.iter_mut().zip(self.state_of(slot)?) {
                column.push(value);
            }
        }
        fields
            .iter()
            .zip(columns)
            .map(|(field, values)| match values.is_empty() {
                true => Ok(datafusion::arrow::array::new_empty_array(field.data_type())),
                false => ScalarValue::iter_to_array(values),
            })
            .collect()
    }

    fn evaluate(&mut self, slots: &[usize]) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(slots.len());
        for &slot in slots {
            let mut again = self.function.create_accumulator()?;
            let state = self.state_of(slot)?;
            again.merge_batch(&as_columns(&state)?)?;
            values.push(again.evaluate()?);
        }
        match values.is_empty() {
            true => {
                Ok(datafusion::arrow::array::new_empty_array(self.function.field().data_type()))
            }
            false => ScalarValue::iter_to_array(values),
        }
    }

    fn reset(&mut self, slot: usize) {
        if let Some(gone) = self.slots.get_mut(slot).and_then(Option::take) {
            self.bytes = self.bytes.saturating_sub(gone.size());
        }
    }

    fn bytes(&self) -> usize {
        self.bytes + self.slots.capacity() * 16
    }
}
