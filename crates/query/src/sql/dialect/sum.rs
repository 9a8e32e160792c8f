//! `sum` of 64-bit numbers: exact, or refused where it does not fit.

use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array,
};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use std::sync::Arc;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BigintSum {
    signature: Signature,
}

pub(super) fn bigint_sum() -> Arc<AggregateUDF> {
    let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
    Arc::new(AggregateUDF::from(BigintSum { signature }))
}

fn state() -> DataType {
    DataType::Decimal128(38, 0)
}

fn fitting(sum: i128) -> Result<i64> {
    i64::try_from(sum).map_err(|_| {
        SqlError::new(SqlState::NumericOutOfRange, "bigint out of range: the sum does not fit")
            .hint("sum(column::numeric(38, 0)) is exact")
            .into()
    })
}

impl AggregateUDFImpl for BigintSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One::default()))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sum]", args.name), state(), true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        _: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::default()))
    }
}

/// The sum of one group. It counts its values, so that a window can take them away again.
#[derive(Debug, Default)]
struct One {
    sum: i128,
    values: i64,
}

impl One {
    fn add(&mut self, array: &ArrayRef, sign: i128) {
        let numbers = array.as_primitive::<Int64Type>();
        // In halves of 64 bits: 2^31 values of a batch cannot overflow them.
        let sum: i128 = match numbers.null_count() {
            0 => numbers.values().iter().map(|&value| i128::from(value)).sum(),
            _ => numbers.iter().flatten().map(i128::from).sum(),
        };
        self.sum += sign * sum;
        self.values += sign as i64 * (numbers.len() - numbers.null_count()) as i64;
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.iter().for_each(|array| self.add(array, 1));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.iter().for_each(|array| self.add(array, -1));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (self.values > 0).then(|| fitting(self.sum)).transpose()?;
        Ok(ScalarValue::Int64(sum))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128((self.values > 0).then_some(self.sum), 38, 0)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for sums in states {
            for sum in sums.as_primitive::<Decimal128Type>().iter().flatten() {
                self.sum += sum;
                self.values += 1;
            }
        }
        Ok(())
    }
}

/// The sums of many groups.
#[derive(Debug, Default)]
struct Groups {
    sums: Vec<i128>,
    seen: Vec<bool>,
}

impl Groups {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.seen.resize(groups, false);
    }

    fn add(&mut self, group: usize, value: i128) {
        if let (Some(sum), Some(seen)) = (self.sums.get_mut(group), self.seen.get_mut(group)) {
            *sum += value;
            *seen = true;
        }
    }

    fn take(&mut self, emit: EmitTo) -> Vec<Option<i128>> {
        let (sums, seen) = (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.seen));
        sums.into_iter().zip(seen).map(|(sum, seen)| seen.then_some(sum)).collect()
    }
}

fn is_wanted(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let Some(numbers) = values.first().map(|array| array.as_primitive::<Int64Type>()) else {
            return Ok(());
        };
        if filter.is_none() && numbers.null_count() == 0 {
            for (&group, &value) in groups.iter().zip(numbers.values()) {
                self.add(group, value.into());
            }
            return Ok(());
        }
        for (row, (&group, value)) in groups.iter().zip(numbers.iter()).enumerate() {
            if let Some(value) = value.filter(|_| is_wanted(filter, row)) {
                self.add(group, value.into());
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let sums = self.take(emit).into_iter();
        let sums = sums.map(|sum| sum.map(fitting).transpose());
        Ok(Arc::new(sums.collect::<Result<Int64Array>>()?))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums: Decimal128Array = self.take(emit).into_iter().collect();
        Ok(vec![Arc::new(sums.with_precision_and_scale(38, 0)?)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let Some(sums) = values.first().map(|array| array.as_primitive::<Decimal128Type>()) else {
            return Ok(());
        };
        for (&group, sum) in groups.iter().zip(sums.iter()) {
            if let Some(sum) = sum {
                self.add(group, sum);
            }
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let Some(numbers) = values.first().map(|array| array.as_primitive::<Int64Type>()) else {
            return Ok(Vec::new());
        };
        let sums = numbers.iter().enumerate();
        let sums =
            sums.map(|(row, value)| value.filter(|_| is_wanted(filter, row)).map(i128::from));
        let sums: Decimal128Array = sums.collect();
        Ok(vec![Arc::new(sums.with_precision_and_scale(38, 0)?)])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.seen.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_or_refused() {
        let numbers = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
        let mut one = One::default();
        assert!(one.evaluate().expect("nothing yet").is_null());
        one.update_batch(&[numbers(&[i64::MAX, 1])]).expect("added");
        assert!(one.evaluate().is_err(), "beyond 64 bits");
        one.retract_batch(&[numbers(&[1])]).expect("taken away");
        assert_eq!(one.evaluate().expect("fits"), ScalarValue::Int64(Some(i64::MAX)));
        let mut groups = Groups::default();
        groups.update_batch(&[numbers(&[1, i64::MAX, 2])], &[0, 1, 0], None, 3).expect("added");
        let mut other = Groups::default();
        let states = groups.state(EmitTo::All).expect("states");
        other.merge_batch(&states, &[0, 1, 2], 3).expect("merged");
        let sums = other.evaluate(EmitTo::All).expect("sums");
        let sums = sums.as_primitive::<Int64Type>();
        assert_eq!(sums.iter().collect::<Vec<_>>(), [Some(3), Some(i64::MAX), None]);
    }
}
