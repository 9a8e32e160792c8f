//! Groups: keys, each with a slot in every accumulator.

use super::accumulate::{Accumulator, AggregatePlan};
use datafusion::arrow::array::{ArrayRef, UInt32Array};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use std::sync::Arc;

/// The keys that have been seen, numbered from 0 in the order of their first coming.
pub(crate) struct Keys {
    schema: SchemaRef,
    /// Finds numbers; absent where there is one group for everything.
    values: Option<Box<dyn GroupValues>>,
    /// The keys themselves: for each column, pieces in order of their numbers.
    pieces: Vec<Vec<ArrayRef>>,
    len: usize,
    numbers: Vec<usize>,
}

impl Keys {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self> {
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(schema.clone(), &GroupOrdering::None)?),
        };
        let pieces = vec![Vec::new(); schema.fields().len()];
        Ok(Self { schema: schema.clone(), values, pieces, len: 0, numbers: Vec::new() })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The numbers of the keys in these rows; new ones are numbered.
    pub(crate) fn number(&mut self, columns: &[ArrayRef], rows: usize) -> Result<&[usize]> {
        self.numbers.clear();
        let Some(values) = &mut self.values else {
            self.numbers.resize(rows, 0);
            self.len = self.len.max(usize::from(rows > 0));
            return Ok(&self.numbers);
        };
        values.intern(columns, &mut self.numbers)?;
        let known = self.len;
        if values.len() > known {
            let mut first: Vec<u32> = Vec::with_capacity(values.len() - known);
            for (row, &number) in self.numbers.iter().enumerate() {
                // Numbers are given in order, so the next new one is the first row that has it.
                if number == known + first.len() {
                    first.push(row as u32);
                }
            }
            let first = UInt32Array::from(first);
            for (pieces, column) in self.pieces.iter_mut().zip(columns) {
                pieces.push(take(column, &first, None)?);
            }
            self.len = values.len();
            self.join_small_pieces()?;
        }
        Ok(&self.numbers)
    }

    /// Records that come one by one would leave a piece each.
    fn join_small_pieces(&mut self) -> Result<()> {
        const PIECES: usize = 64;
        for pieces in &mut self.pieces {
            if pieces.len() >= PIECES {
                let parts: Vec<&dyn datafusion::arrow::array::Array> =
                    pieces.iter().map(AsRef::as_ref).collect();
                *pieces = vec![concat(&parts)?];
            }
        }
        Ok(())
    }

    /// The one group of a query without keys exists before any row does.
    pub(crate) fn ensure_one(&mut self) {
        if self.values.is_none() {
            self.len = self.len.max(1);
        }
    }

    /// The keys as columns.
    pub(crate) fn columns(&self) -> Result<Vec<ArrayRef>> {
        let column = |(pieces, field): (&Vec<ArrayRef>, &Arc<Field>)| {
            let parts: Vec<&dyn datafusion::arrow::array::Array> =
                pieces.iter().map(AsRef::as_ref).collect();
            match parts.is_empty() {
                true => Ok(datafusion::arrow::array::new_empty_array(field.data_type())),
                false => Ok(concat(&parts)?),
            }
        };
        self.pieces.iter().zip(self.schema.fields()).map(column).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        let pieces = self.pieces.iter().flatten().map(|piece| piece.get_array_memory_size());
        pieces.sum::<usize>() + self.values.as_ref().map_or(0, |values| values.size())
    }
}

/// Makes an accumulator for each aggregate.
pub(crate) fn accumulators(plans: &[AggregatePlan]) -> Vec<Box<dyn Accumulator>> {
    plans.iter().map(AggregatePlan::create).collect()
}

/// Keys with their accumulators: slot and number are the same.
pub(crate) struct Groups {
    pub(crate) keys: Keys,
    accumulators: Vec<Box<dyn Accumulator>>,
}

/// Rows on their way into groups: key columns, and the arguments of each aggregate.
pub(crate) struct GroupRows {
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) arguments: Vec<Arguments>,
    pub(crate) rows: usize,
}

/// The arguments of an aggregate, and which rows it takes.
#[derive(Clone)]
pub(crate) struct Arguments {
    pub(crate) values: Vec<ArrayRef>,
    pub(crate) filter: Option<datafusion::arrow::array::BooleanArray>,
}

impl GroupRows {
    /// Some of the rows.
    pub(crate) fn take(&self, rows: &UInt32Array) -> Result<Self> {
        let arguments = self.arguments.iter().map(|arguments| {
            let values = arguments.values.iter().map(|values| take(values, rows, None));
            let filter = match &arguments.filter {
                Some(filter) => {
                    let filter = take(filter, rows, None)?;
                    Some(datafusion::arrow::array::AsArray::as_boolean(&filter).clone())
                }
                None => None,
            };
            Ok(Arguments { values: values.collect::<Result<_, _>>()?, filter })
        });
        Ok(Self {
            keys: self.keys.iter().map(|keys| take(keys, rows, None)).collect::<Result<_, _>>()?,
            arguments: arguments.collect::<Result<_>>()?,
            rows: rows.len(),
        })
    }

    /// Gives the rows to accumulators, each into its slot.
    pub(crate) fn update(
        &self,
        accumulators: &mut [Box<dyn Accumulator>],
        slots: &[usize],
    ) -> Result<()> {
        for (accumulator, arguments) in accumulators.iter_mut().zip(&self.arguments) {
            let Some(filter) = &arguments.filter else {
                accumulator.update(&arguments.values, slots)?;
                continue;
            };
            let keep = super::accumulate::kept(filter);
            let values = arguments.values.iter();
            let values = values.map(|values| datafusion::arrow::compute::filter(values, &keep));
            let values = values.collect::<Result<Vec<_>, _>>()?;
            let slots: Vec<usize> = slots
                .iter()
                .enumerate()
                .filter(|&(row, _)| keep.value(row))
                .map(|(_, &slot)| slot)
                .collect();
            accumulator.update(&values, &slots)?;
        }
        Ok(())
    }
}

use datafusion::arrow::array::Array;

impl Groups {
    pub(crate) fn new(schema: &SchemaRef, plans: &[AggregatePlan]) -> Result<Self> {
        Ok(Self { keys: Keys::new(schema)?, accumulators: accumulators(plans) })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn ensure_one(&mut self) {
        self.keys.ensure_one();
        self.grow();
    }

    fn grow(&mut self) {
        let len = self.keys.len();
        for accumulator in &mut self.accumulators {
            accumulator.grow(len);
        }
    }

    /// Takes in rows.
    pub(crate) fn update(&mut self, rows: &GroupRows) -> Result<()> {
        let slots = self.keys.number(&rows.keys, rows.rows)?.to_vec();
        self.grow();
        rows.update(&mut self.accumulators, &slots)
    }

    /// Takes in groups as [`Groups::state`] gave them.
    pub(crate) fn merge(
        &mut self,
        keys: &[ArrayRef],
        states: &[Vec<ArrayRef>],
        rows: usize,
    ) -> Result<()> {
        let slots = self.keys.number(keys, rows)?.to_vec();
        self.grow();
        for (accumulator, state) in self.accumulators.iter_mut().zip(states) {
            accumulator.merge(state, &slots)?;
        }
        Ok(())
    }

    /// All groups: their keys, and the state of each aggregate.
    pub(crate) fn state(&mut self) -> Result<(Vec<ArrayRef>, Vec<Vec<ArrayRef>>)> {
        let slots: Vec<usize> = (0..self.len()).collect();
        let states = self.accumulators.iter_mut().map(|accumulator| accumulator.state(&slots));
        let states = states.collect::<Result<_>>()?;
        Ok((self.keys.columns()?, states))
    }

    /// All groups: their keys, and each aggregate's result.
    pub(crate) fn evaluate(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let slots: Vec<usize> = (0..self.len()).collect();
        let results = self.accumulators.iter_mut().map(|accumulator| accumulator.evaluate(&slots));
        let results = results.collect::<Result<_>>()?;
        Ok((self.keys.columns()?, results))
    }

    pub(crate) fn bytes(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.bytes());
        self.keys.bytes() + accumulators.sum::<usize>()
    }
}

/// A schema of key columns.
pub(crate) fn key_schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}
