//! `top_k(value, k)`: the k values that occur most often, the most frequent first, of equally
//! frequent ones the smallest. Exact: it counts every value, so the answer depends neither on the
//! order of the rows nor on how they came.

use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// More would be a GROUP BY.
const K_MAX: i64 = 10_000;

/// The function.
pub(crate) fn top_k() -> AggregateUDF {
    AggregateUDF::new_from_impl(TopK { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TopK {
    signature: Signature,
}

fn list_of(kind: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(kind.clone(), true)))
}

fn wrong(message: String) -> SqlError {
    SqlError::new(SqlState::InvalidParameter, message).hint("top_k(value, 10)")
}

impl AggregateUDFImpl for TopK {
    fn name(&self) -> &str {
        "top_k"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        let value = kinds.first().ok_or_else(|| wrong("top_k of nothing".to_owned()))?;
        Ok(list_of(value))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let counts = list_of(&DataType::Int64);
        Ok(vec![
            Arc::new(Field::new(
                format!("{}[values]", args.name),
                args.return_type().clone(),
                true,
            )),
            Arc::new(Field::new(format!("{}[counts]", args.name), counts, true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(wrong("top_k(DISTINCT …): each value would occur once".to_owned()).into());
        }
        let literal = args.exprs.get(1).and_then(|expr| expr.downcast_ref::<Literal>());
        let k = literal.and_then(|literal| match literal.value().cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(k)) => k,
            _ => None,
        });
        let k = k.filter(|k| (1..=K_MAX).contains(k)).ok_or_else(|| {
            wrong(format!("the second argument of top_k is a number from 1 to {K_MAX}"))
        })?;
        let kind = match args.return_type() {
            DataType::List(item) => item.data_type().clone(),
            other => other.clone(),
        };
        Ok(Box::new(Counts { k: k as usize, kind, counts: HashMap::new(), bytes: 0 }))
    }
}

/// How often each value has come.
#[derive(Debug)]
struct Counts {
    k: usize,
    kind: DataType,
    counts: HashMap<ScalarValue, i64>,
    bytes: usize,
}

impl Counts {
    fn add(&mut self, value: ScalarValue, count: i64) {
        // A slot and its share of the empty ones.
        let bytes = value.size() + 2 * size_of::<(ScalarValue, i64)>();
        let known = self.counts.len();
        *self.counts.entry(value).or_default() += count;
        if self.counts.len() > known {
            self.bytes += bytes;
        }
    }

    fn list(&self, values: &[ScalarValue]) -> ScalarValue {
        ScalarValue::List(ScalarValue::new_list_nullable(values, &self.kind))
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for row in 0..values.len() {
            if !values.is_null(row) {
                self.add(ScalarValue::try_from_array(values, row)?, 1);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else { return Ok(()) };
        let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
        for (values, counts) in values.iter().zip(counts.iter()) {
            let (Some(values), Some(counts)) = (values, counts) else { continue };
            let counts = counts.as_primitive::<Int64Type>();
            for (row, &count) in counts.values().iter().enumerate() {
                self.add(ScalarValue::try_from_array(&values, row)?, count);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, counts): (Vec<ScalarValue>, Vec<ScalarValue>) = self
            .counts
            .iter()
            .map(|(value, &count)| (value.clone(), ScalarValue::Int64(Some(count))))
            .unzip();
        let counts = ScalarValue::new_list_nullable(&counts, &DataType::Int64);
        Ok(vec![self.list(&values), ScalarValue::List(counts)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut all: Vec<(&ScalarValue, i64)> =
            self.counts.iter().map(|(value, &count)| (value, count)).collect();
        let order = |a: &(&ScalarValue, i64), b: &(&ScalarValue, i64)| {
            b.1.cmp(&a.1).then_with(|| a.0.partial_cmp(b.0).unwrap_or(Ordering::Equal))
        };
        if all.len() > self.k {
            all.select_nth_unstable_by(self.k, order);
            all.truncate(self.k);
        }
        all.sort_by(order);
        let values: Vec<ScalarValue> = all.into_iter().map(|(value, _)| value.clone()).collect();
        Ok(self.list(&values))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }
}
