//! `array_agg` whose elements keep their declared type: of `oid` it is `oid[]`, of `uuid` `uuid[]`.
//!
//! DataFusion's forgets what the argument's field says beside its Arrow type (`return_type` sees types alone).

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, ListArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature,
};
use std::sync::Arc;

/// The library's function, and the type of its elements put back.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayAgg(Arc<AggregateUDF>);

/// The function to register.
pub(crate) fn array_agg() -> AggregateUDF {
    AggregateUDF::from(ArrayAgg(array_agg_udaf()))
}

/// A list of what a field holds.
fn list_of(field: &Field) -> DataType {
    DataType::List(Arc::new(field.clone().with_name("item").with_nullable(true)))
}

impl AggregateUDFImpl for ArrayAgg {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        self.0.return_type(kinds)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let field = self.0.return_field(fields)?;
        Ok(match fields.first() {
            Some(element) => Arc::new(field.as_ref().clone().with_data_type(list_of(element))),
            None => field,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial_ordering: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let own = self.0.as_ref().clone().with_beneficial_ordering(beneficial_ordering)?;
        Ok(own.map(|own| Arc::new(Self(Arc::new(own))) as _))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let kind = args.expr_fields.first().map(|field| list_of(field));
        Ok(Box::new(Typed { own: self.0.accumulator(args)?, kind }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = args.expr_fields.first().map(|field| list_of(field));
        Ok(Box::new(TypedGroups { own: self.0.create_groups_accumulator(args)?, kind }))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.0.supports_null_handling_clause()
    }
}

/// Lists, their elements called what they are declared to be.
fn typed(array: ArrayRef, kind: Option<&DataType>) -> Result<ArrayRef> {
    let (Some(list), Some(DataType::List(element))) = (array.as_list_opt::<i32>(), kind) else {
        return Ok(array);
    };
    let (_, offsets, values, nulls) = list.clone().into_parts();
    Ok(Arc::new(ListArray::try_new(element.clone(), offsets, values, nulls)?))
}

#[derive(Debug)]
struct Typed {
    own: Box<dyn Accumulator>,
    kind: Option<DataType>,
}

impl Accumulator for Typed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.own.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match (self.own.evaluate()?, &self.kind) {
            (ScalarValue::List(list), Some(kind)) => {
                let list = typed(list, Some(kind))?;
                Ok(ScalarValue::List(Arc::new(list.as_list().clone())))
            }
            (value, _) => Ok(value),
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.own.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.own.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.own.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.own.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.own.supports_retract_batch()
    }
}

struct TypedGroups {
    own: Box<dyn GroupsAccumulator>,
    kind: Option<DataType>,
}

impl GroupsAccumulator for TypedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.own.update_batch(values, group_indices, filter, groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        typed(self.own.evaluate(emit_to)?, self.kind.as_ref())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.own.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        groups: usize,
    ) -> Result<()> {
        self.own.merge_batch(values, group_indices, groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.own.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.own.size()
    }
}
