//! `min` and `max` of floating-point numbers by group. DataFusion begins at the largest and the
//! smallest finite number, so infinities and NaN are lost. Here, as in Postgres, infinities are
//! numbers like others and NaN is the greatest of all.

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray,
};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use std::sync::Arc;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatExtreme {
    greatest: bool,
    signature: Signature,
}

/// `min` or `max` of floating-point numbers; `None` for other functions.
pub(super) fn float_extreme(name: &str) -> Option<Arc<AggregateUDF>> {
    let greatest = match name {
        "max" => true,
        "min" => false,
        _ => return None,
    };
    let signature =
        Signature::uniform(1, vec![DataType::Float32, DataType::Float64], Volatility::Immutable);
    Some(Arc::new(AggregateUDF::from(FloatExtreme { greatest, signature })))
}

impl FloatExtreme {
    fn plain(&self) -> Arc<AggregateUDF> {
        if self.greatest { max_udaf() } else { min_udaf() }
    }
}

impl AggregateUDFImpl for FloatExtreme {
    fn name(&self) -> &str {
        if self.greatest { "max" } else { "min" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        Ok(kinds.first().cloned().unwrap_or(DataType::Float64))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.plain().accumulator(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.plain().create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match args.return_field.data_type() {
            DataType::Float32 => Box::new(Groups::<Float32Type>::new(self.greatest)),
            _ => Box::new(Groups::<Float64Type>::new(self.greatest)),
        })
    }
}

/// The extremes of many groups.
struct Groups<T: ArrowPrimitiveType> {
    greatest: bool,
    extremes: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> Groups<T> {
    fn new(greatest: bool) -> Self {
        Self { greatest, extremes: Vec::new() }
    }

    fn add(&mut self, group: usize, value: T::Native) {
        let Some(extreme) = self.extremes.get_mut(group) else { return };
        let replaces = match *extreme {
            None => true,
            Some(extreme) if self.greatest => value.is_gt(extreme),
            Some(extreme) => value.is_lt(extreme),
        };
        if replaces {
            *extreme = Some(value);
        }
    }
}

impl<T: ArrowPrimitiveType> GroupsAccumulator for Groups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.extremes.resize(total, None);
        let Some(numbers) = values.first().map(|array| array.as_primitive::<T>()) else {
            return Ok(());
        };
        if filter.is_none() && numbers.null_count() == 0 {
            for (&group, &value) in groups.iter().zip(numbers.values()) {
                self.add(group, value);
            }
            return Ok(());
        }
        for (row, (&group, value)) in groups.iter().zip(numbers.iter()).enumerate() {
            let wanted = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if let Some(value) = value.filter(|_| wanted) {
                self.add(group, value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(PrimitiveArray::<T>::from_iter(emit.take_needed(&mut self.extremes))))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(values, groups, None, total)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let Some(numbers) = values.first().map(|array| array.as_primitive::<T>()) else {
            return Ok(Vec::new());
        };
        let wanted =
            |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let numbers = numbers.iter().enumerate();
        let numbers = numbers.map(|(row, value)| value.filter(|_| wanted(row)));
        Ok(vec![Arc::new(PrimitiveArray::<T>::from_iter(numbers))])
    }

    fn size(&self) -> usize {
        self.extremes.capacity() * size_of::<Option<T::Native>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Float64Array;

    #[test]
    fn infinities_and_nan_count() {
        let (infinity, nan) = (f64::INFINITY, f64::NAN);
        let values: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(-infinity),
            Some(f64::MIN),
            Some(nan),
            Some(1.5),
            None,
            Some(infinity),
        ]));
        let groups = [0, 0, 1, 1, 2, 3];
        for (greatest, wanted) in [
            (true, ["Some(-1.7976931348623157e308)", "Some(NaN)", "None", "Some(inf)"]),
            (false, ["Some(-inf)", "Some(1.5)", "None", "Some(inf)"]),
        ] {
            let mut extremes = Groups::<Float64Type>::new(greatest);
            extremes.update_batch(std::slice::from_ref(&values), &groups, None, 4).expect("added");
            let found = extremes.evaluate(EmitTo::All).expect("found");
            let found = found.as_primitive::<Float64Type>().iter();
            assert_eq!(found.map(|value| format!("{value:?}")).collect::<Vec<_>>(), wanted);
        }
    }
}
