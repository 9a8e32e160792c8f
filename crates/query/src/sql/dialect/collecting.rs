//! `array_agg` and `string_agg`, which keep all values that they are given.
//!
//! The elements of an array keep their declared type: an array of `oid` is `oid[]`, of `uuid` is
//! `uuid[]`. DataFusion loses what the field of the argument says beside its Arrow type, because
//! `return_type` sees types alone. DataFusion also makes values of any size at once, even where the
//! input shares its bytes; here a step and a value have a limit.

use crate::error::{SqlError, SqlState};
use crate::functions::bytes_of;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature,
};
use std::sync::Arc;

/// The largest value that is collected, and the most that one step adds.
const COLLECTED_MAX_BYTES: usize = 256 << 20;

/// The most that one aggregate makes for all rows of a window together.
const MADE_MAX_BYTES: usize = 1 << 30;

/// The library's function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Collecting(Arc<AggregateUDF>);

/// The functions to register.
pub(crate) fn collecting_aggregates() -> [AggregateUDF; 2] {
    [array_agg_udaf(), string_agg_udaf()].map(|own| AggregateUDF::from(Collecting(own)))
}

impl Collecting {
    /// The type of its list; of a text there is none.
    fn kind(&self, fields: &[FieldRef]) -> Option<DataType> {
        let element = fields.first().filter(|_| self.0.name() == "array_agg");
        element.map(|field| list_of(field))
    }
}

fn too_large() -> DataFusionError {
    let most = COLLECTED_MAX_BYTES >> 20;
    let message =
        format!("requested length too large: a value that is collected may have {most} MiB");
    SqlError::new(SqlState::LimitExceeded, message).into()
}

/// Refuses a step that adds too much: some functions hold shared bytes once, and write them many
/// times.
fn check_step(values: &[ArrayRef]) -> Result<()> {
    match values.iter().map(bytes_of).sum::<usize>() > COLLECTED_MAX_BYTES {
        true => Err(too_large()),
        false => Ok(()),
    }
}

/// Refuses a list that is too large to be handed on.
fn check_lists(array: &ArrayRef) -> Result<()> {
    if bytes_of(array) <= COLLECTED_MAX_BYTES {
        return Ok(());
    }
    let is_large = |row: usize| bytes_of(&array.slice(row, 1)) > COLLECTED_MAX_BYTES;
    if (0..array.len()).any(is_large) { Err(too_large()) } else { Ok(()) }
}

/// A list of what a field holds.
fn list_of(field: &Field) -> DataType {
    DataType::List(Arc::new(field.clone().with_name("item").with_nullable(true)))
}

impl AggregateUDFImpl for Collecting {
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
        Ok(match self.kind(fields) {
            Some(kind) => Arc::new(field.as_ref().clone().with_data_type(kind)),
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
        let kind = self.kind(args.expr_fields);
        Ok(Box::new(Typed { own: self.0.accumulator(args)?, kind, made_bytes: 0 }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = self.kind(args.expr_fields);
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
    made_bytes: usize,
}

impl Accumulator for Typed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        check_step(values)?;
        self.own.update_batch(values)?;
        // A text is made as it is collected.
        match self.kind.is_none() && self.own.size() > COLLECTED_MAX_BYTES {
            true => Err(too_large()),
            false => Ok(()),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.own.evaluate()?;
        // Over a window there is a value for each row, all of them in memory.
        self.made_bytes += value.size();
        if self.made_bytes > MADE_MAX_BYTES {
            return Err(too_large());
        }
        match (value, &self.kind) {
            (ScalarValue::List(list), Some(kind)) => {
                let list: ArrayRef = list;
                check_lists(&list)?;
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
        check_step(values)?;
        self.own.update_batch(values, group_indices, filter, groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let array = self.own.evaluate(emit_to)?;
        if self.kind.is_some() {
            check_lists(&array)?;
        }
        typed(array, self.kind.as_ref())
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
