//! sum of integers, decimals and doubles, and avg of doubles.

use super::{Accumulator, for_each_value, wrong_type};
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{
    Array, ArrayRef, Decimal128Array, Decimal128Builder, Float64Array, Float64Builder, Int64Array,
    Int64Builder,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use std::sync::Arc;

/// Exact: 128 bits hold any sum of 2⁶⁴ integers of 64.
pub(super) struct ExactSum {
    sums: Vec<i128>,
    counts: Vec<i64>,
    result: DataType,
}

const STATE: DataType = DataType::Decimal128(38, 0);

impl ExactSum {
    pub(super) fn new(result: DataType) -> Self {
        Self { sums: Vec::new(), counts: Vec::new(), result }
    }

    fn add(&mut self, slot: usize, value: i128, count: i64) {
        if let (Some(sum), Some(seen)) = (self.sums.get_mut(slot), self.counts.get_mut(slot)) {
            *sum = sum.wrapping_add(value);
            *seen += count;
        }
    }

    fn get(&self, slot: usize) -> Option<i128> {
        self.counts.get(slot).filter(|&&count| count > 0).and_then(|_| self.sums.get(slot)).copied()
    }
}

fn overflow() -> datafusion::common::DataFusionError {
    SqlError::new(SqlState::NumericOutOfRange, "a sum is out of range for its type")
        .hint("cast the summed column to DECIMAL(38, 0) or DOUBLE PRECISION")
        .into()
}

impl Accumulator for ExactSum {
    fn grow(&mut self, slots: usize) {
        self.sums.resize(slots, 0);
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, values: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let [values] = values else { return Ok(()) };
        if let Some(integers) = values.as_any().downcast_ref::<Int64Array>() {
            for_each_value!(integers, |row: usize, value: i64| {
                if let Some(&slot) = slots.get(row) {
                    self.add(slot, i128::from(value), 1);
                }
            });
            return Ok(());
        }
        let Some(decimals) = values.as_any().downcast_ref::<Decimal128Array>() else {
            return wrong_type(values);
        };
        for_each_value!(decimals, |row: usize, value: i128| {
            if let Some(&slot) = slots.get(row) {
                self.add(slot, value, 1);
            }
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let [sums, counts] = states else { return Ok(()) };
        let Some(sums) = sums.as_any().downcast_ref::<Decimal128Array>() else {
            return wrong_type(sums);
        };
        let Some(counts) = counts.as_any().downcast_ref::<Int64Array>() else {
            return wrong_type(counts);
        };
        for ((&slot, &sum), &count) in slots.iter().zip(sums.values()).zip(counts.values()) {
            self.add(slot, sum, count);
        }
        Ok(())
    }

    fn state(&mut self, slots: &[usize]) -> Result<Vec<ArrayRef>> {
        let sums = slots.iter().map(|&slot| self.sums.get(slot).copied().unwrap_or(0));
        let sums = Decimal128Array::from_iter_values(sums).with_data_type(STATE);
        let counts = slots.iter().map(|&slot| self.counts.get(slot).copied().unwrap_or(0));
        Ok(vec![Arc::new(sums), Arc::new(Int64Array::from_iter_values(counts))])
    }

    fn evaluate(&mut self, slots: &[usize]) -> Result<ArrayRef> {
        let DataType::Decimal128(precision, _) = self.result else {
            let mut out = Int64Builder::with_capacity(slots.len());
            for &slot in slots {
                let sum = self.get(slot).map(i64::try_from).transpose().map_err(|_| overflow())?;
                out.append_option(sum);
            }
            return Ok(Arc::new(out.finish()));
        };
        let limit = 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        let mut out =
            Decimal128Builder::with_capacity(slots.len()).with_data_type(self.result.clone());
        for &slot in slots {
            let sum = self.get(slot);
            if sum.is_some_and(|sum| sum.unsigned_abs() >= limit.unsigned_abs()) {
                return Err(overflow());
            }
            out.append_option(sum);
        }
        Ok(Arc::new(out.finish()))
    }

    fn reset(&mut self, slot: usize) {
        if let (Some(sum), Some(count)) = (self.sums.get_mut(slot), self.counts.get_mut(slot)) {
            (*sum, *count) = (0, 0);
        }
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * 16 + self.counts.capacity() * 8
    }
}

/// A sum of doubles with what rounding took from it, so that the order of the addends does not show
/// (Neumaier).
#[derive(Clone, Copy, Default)]
struct Carried {
    sum: f64,
    lost: f64,
    count: i64,
}

impl Carried {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    fn value(self) -> f64 {
        // Infinities and NaN carry nonsense.
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

/// sum or avg of doubles.
pub(super) struct DoubleSum {
    sums: Vec<Carried>,
    is_average: bool,
}

impl DoubleSum {
    pub(super) fn new(is_average: bool) -> Self {
        Self { sums: Vec::new(), is_average }
    }
}

impl Accumulator for DoubleSum {
    fn grow(&mut self, slots: usize) {
        self.sums.resize(slots, Carried::default());
    }

    fn update(&mut self, values: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let [values] = values else { return Ok(()) };
        let Some(doubles) = values.as_any().downcast_ref::<Float64Array>() else {
            return wrong_type(values);
        };
        for_each_value!(doubles, |row: usize, value: f64| {
            if let Some(sum) = slots.get(row).and_then(|&slot| self.sums.get_mut(slot)) {
                sum.add(value);
                sum.count += 1;
            }
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], slots: &[usize]) -> Result<()> {
        let [sums, lost, counts] = states else { return Ok(()) };
        let Some(sums) = sums.as_any().downcast_ref::<Float64Array>() else {
            return wrong_type(sums);
        };
        let Some(lost) = lost.as_any().downcast_ref::<Float64Array>() else {
            return wrong_type(lost);
        };
        let Some(counts) = counts.as_any().downcast_ref::<Int64Array>() else {
            return wrong_type(counts);
        };
        for (row, &slot) in slots.iter().enumerate() {
            if let Some(sum) = self.sums.get_mut(slot) {
                sum.add(sums.value(row));
                sum.lost += lost.value(row);
                sum.count += counts.value(row);
            }
        }
        Ok(())
    }

    fn state(&mut self, slots: &[usize]) -> Result<Vec<ArrayRef>> {
        let all = || slots.iter().map(|&slot| self.sums.get(slot).copied().unwrap_or_default());
        Ok(vec![
            Arc::new(Float64Array::from_iter_values(all().map(|sum| sum.sum))),
            Arc::new(Float64Array::from_iter_values(all().map(|sum| sum.lost))),
            Arc::new(Int64Array::from_iter_values(all().map(|sum| sum.count))),
        ])
    }

    fn evaluate(&mut self, slots: &[usize]) -> Result<ArrayRef> {
        let mut out = Float64Builder::with_capacity(slots.len());
        for &slot in slots {
            let sum = self.sums.get(slot).copied().filter(|sum| sum.count > 0);
            let divisor = |sum: Carried| if self.is_average { sum.count as f64 } else { 1.0 };
            out.append_option(sum.map(|sum| sum.value() / divisor(sum)));
        }
        Ok(Arc::new(out.finish()))
    }

    fn reset(&mut self, slot: usize) {
        if let Some(sum) = self.sums.get_mut(slot) {
            *sum = Carried::default();
        }
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Carried>()
    }
}
