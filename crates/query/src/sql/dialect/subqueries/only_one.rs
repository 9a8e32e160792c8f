//! The aggregate that refuses a second row.

use super::*;

/// The function that gives the only value of a list.
pub(crate) const ONLY_ONE: &str = "only_one";

/// The value of a list of one at most.
pub(super) fn only_one() -> Arc<datafusion::logical_expr::ScalarUDF> {
    use crate::functions::{Asked, Call, Function};
    fn kind(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
        Ok(match asked.kind(0) {
            DataType::List(field) => field.clone(),
            other => Arc::new(Field::new("value", other.clone(), true)),
        })
    }
    fn run(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
        let Some(lists) = call.args.first().and_then(|lists| lists.as_list_opt::<i32>()) else {
            return Err(SqlError::new(SqlState::Internal, "a subquery's values are no list"));
        };
        let mut places = Vec::with_capacity(lists.len());
        for (row, range) in lists.offsets().windows(2).enumerate() {
            let &[start, end] = range else { continue };
            if lists.is_valid(row) && end - start > 1 {
                return Err(SqlError::new(
                    SqlState::CardinalityViolation,
                    "more than one row returned by a subquery used as an expression",
                ));
            }
            places.push((lists.is_valid(row) && end > start).then_some(start as u32));
        }
        Ok(take(lists.values(), &UInt32Array::from(places), None)?)
    }
    Function::new(ONLY_ONE, kind, run).udf()
}

/// Collects values, two at most: enough to know whether there is one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FirstTwo {
    pub(super) signature: Signature,
}

impl Default for FirstTwo {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for FirstTwo {
    fn name(&self) -> &str {
        "first_two"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(element(kinds.first().unwrap_or(&DataType::Null))))
    }

    fn return_field(&self, args: &[FieldRef]) -> Result<FieldRef> {
        let kind = args.first().map_or(DataType::Null, |field| field.data_type().clone());
        let metadata = args.first().map(|field| field.metadata().clone()).unwrap_or_default();
        let item = Arc::new(Field::new("item", kind, true).with_metadata(metadata));
        Ok(Arc::new(Field::new("values", DataType::List(item), true)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let item = match args.return_field.data_type() {
            DataType::List(item) => item.clone(),
            other => element(other),
        };
        Ok(Box::new(Two { values: new_empty_array(item.data_type()), item }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let kind = args.return_field.data_type().clone();
        Ok(vec![Arc::new(Field::new(format!("{}[values]", args.name), kind, true))])
    }
}

pub(super) fn element(kind: &DataType) -> FieldRef {
    Arc::new(Field::new("item", kind.clone(), true))
}

#[derive(Debug)]
pub(super) struct Two {
    pub(super) values: ArrayRef,
    pub(super) item: FieldRef,
}

impl Two {
    pub(super) fn add(&mut self, array: &ArrayRef) -> Result<()> {
        let missing = 2usize.saturating_sub(self.values.len()).min(array.len());
        if missing > 0 {
            let more = array.slice(0, missing);
            self.values = concat(&[self.values.as_ref(), more.as_ref()])?;
        }
        Ok(())
    }
}

impl Accumulator for Two {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.iter().try_for_each(|array| self.add(array))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let list = datafusion::arrow::array::ListArray::try_new(
            self.item.clone(),
            OffsetBuffer::from_lengths([self.values.len()]),
            self.values.clone(),
            None,
        )?;
        Ok(ScalarValue::List(Arc::new(list)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.get_array_memory_size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for lists in states {
            for list in lists.as_list::<i32>().iter().flatten() {
                self.add(&list)?;
            }
        }
        Ok(())
    }
}
