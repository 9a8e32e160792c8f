//! Views that join a stream with tables or key-value data. Records are grouped before the join, by
//! every column of theirs that the join or anything above it uses. These partial groups are kept up
//! to date. When the view is read, they take the place of the records in the query. They are joined
//! with the tables as these are at that moment, and the states of their accumulators are merged
//! into the groups of the query. So a change in a table shows at once, and the answer is always
//! that of the whole query run anew.

mod groups;
mod mixed;
mod trace;

use self::mixed::{Cutter, LOOKED_UP, Mixed};
use self::trace::{add_columns, uses};
use super::View;
use super::accumulate::AggregatePlan;
use super::compile::{
    Below, Compiled, KeyColumn, Source, bounds_untouched, compile_aggregates, loose, physical,
    refuse,
};
use super::groups::{Groups, key_schema};
use super::rows::Step;
use crate::catalog::Definition;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::sql::window::WindowKind;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options, concat, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScan,
};
use datafusion::physical_plan::collect;
pub(super) use groups::compile_groups;
use groups::{carried_by, carried_columns};
use std::collections::BTreeSet;
use std::sync::Arc;

const PARTIALS: &str = "__partials";
/// The number of a partial group, through the join.
const ROW: &str = "__row";

/// The join, and what is above it.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// The input of the query's aggregate.
    input: LogicalPlan,
    /// The part of it that gives the stream's rows.
    stream: LogicalPlan,
    /// For each partial column, which of the stream's rows it is.
    columns: Vec<usize>,
    /// The query's groups, over the input.
    groups: Vec<Expr>,
    /// Its aggregates.
    mixed: Mixed,
    key_schema: SchemaRef,
    /// Tables and views that are read beside the stream.
    pub(crate) tables: Vec<String>,
    /// The views among them.
    pub(crate) views: Vec<Arc<View>>,
}

/// Partial groups: a column for each of [`Lookup::columns`], and the state of each aggregate.
pub(crate) struct Partials {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) states: Vec<Vec<ArrayRef>>,
    pub(crate) rows: usize,
}

/// The part of a plan with joins that gives a stream's rows; nothing if there is no join.
pub(super) fn stream_side(
    inner: &Inner,
    plan: &LogicalPlan,
) -> std::result::Result<Option<LogicalPlan>, SqlError> {
    if !has_join(plan) {
        return Ok(None);
    }
    let mut at = plan;
    loop {
        match at {
            LogicalPlan::Join(join) => {
                let (left, right) = (motion(inner, &join.left)?, motion(inner, &join.right)?);
                at = match (left, right, join.join_type) {
                    (Motion::Stream, Motion::Stream, _) => return refuse("a join of streams"),
                    (Motion::None, Motion::None, _) => {
                        return refuse(
                            "a join of tables alone: they have no changes that a view could follow",
                        );
                    }
                    (left, right, JoinType::Inner | JoinType::Left) if left >= right => &join.left,
                    (left, right, JoinType::Inner | JoinType::Right) if left < right => &join.right,
                    (.., kind) => {
                        return refuse(format!(
                            "a {kind} join of a stream with a table: the stream's records are what \
                             is counted"
                        ));
                    }
                };
            }
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_)
                if has_join(at) =>
            {
                let inputs = at.inputs();
                let Some(input) = inputs.first() else { return Ok(None) };
                at = input;
            }
            _ if has_join(at) => {
                return refuse(format!("{} above a join", at.display()));
            }
            stream => return Ok(Some(stream.clone())),
        }
    }
}

fn has_join(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_)))).unwrap_or(false)
}

/// What a side of a join is to a view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Motion {
    /// Tables, looked at when the view is read.
    None,
    /// Views and files, which can be taken in.
    Kept,
    Stream,
}

fn motion(inner: &Inner, plan: &LogicalPlan) -> Result<Motion> {
    let mut most = Motion::None;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            most = most.max(motion_of(inner, scan));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(most)
}

fn motion_of(inner: &Inner, scan: &TableScan) -> Motion {
    if super::table::view_of(scan).is_some() {
        return Motion::Kept;
    }
    let name = scan.table_name.table();
    match inner.catalog.get(name).as_deref() {
        Some(Definition::Stream(_)) => Motion::Stream,
        Some(Definition::External(_)) => Motion::Kept,
        Some(_) => Motion::None,
        None if name == "kv" || scan.table_name.schema() == Some("sys") => Motion::None,
        None if name.contains(['/', '.', '*']) => Motion::Kept,
        None => Motion::Stream,
    }
}

impl Lookup {
    pub(crate) fn describe(&self) -> Vec<String> {
        let names = self.tables.join(", ");
        let join = format!("join the partial groups with {names}, as they are then");
        [vec![join], self.mixed.describe()].concat()
    }

    /// The query's groups: their keys and results.
    pub(crate) async fn finish(
        &self,
        compiled: &Compiled,
        partials: Option<Partials>,
        session: &dyn Session,
    ) -> Result<RecordBatch> {
        let (own, weights) =
            compiled.aggregates.split_at(self.mixed.merged.min(compiled.aggregates.len()));
        let mut merged = Groups::new(&self.key_schema, own)?;
        // The same keys in the same order: the same numbers.
        let mut computed = Groups::new(&self.key_schema, &self.mixed.computed)?;
        if self.groups.is_empty() {
            merged.ensure_one();
            computed.ensure_one();
        }
        if let Some(mut partials) = partials {
            let states = std::mem::take(&mut partials.states);
            let (states, weighing) = states.split_at(own.len().min(states.len()));
            let weights = evaluate(weights, weighing, partials.rows)?;
            for batch in self.join(partials, session).await? {
                self.take_in(&mut merged, &mut computed, &batch, states, &weights)?;
            }
        }
        let rows = merged.len();
        let kinds = compiled.group_schema.fields().iter().map(|field| field.data_type().clone());
        let kinds: Vec<DataType> = kinds.skip(self.groups.len()).collect();
        let (mut columns, merged) = merged.evaluate()?;
        columns.extend(self.mixed.results(&merged, &computed.evaluate()?.1, &kinds)?);
        // What does not fit is an error, not a NULL.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let typed = columns
            .iter()
            .zip(compiled.group_schema.fields())
            .map(|(column, field)| Ok(cast_with_options(column, field.data_type(), &strict)?));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let typed = typed.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(compiled.group_schema.clone(), typed, &options)?)
    }

    /// Adds joined rows to the groups: group keys, the numbers of partial groups, what was looked
    /// up.
    fn take_in(
        &self,
        merged: &mut Groups,
        computed: &mut Groups,
        batch: &RecordBatch,
        states: &[Vec<ArrayRef>],
        weights: &[ArrayRef],
    ) -> Result<()> {
        let rows = batch.num_rows();
        let (keys, rest) = batch.columns().split_at(self.groups.len().min(batch.num_columns()));
        let numbers = rest.first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let numbers =
            numbers.ok_or_else(|| SqlError::new(SqlState::Internal, "a lookup lost its rows"))?;
        let chosen = |columns: &[ArrayRef]| {
            let columns = columns.iter().map(|column| Ok(take(column, numbers, None)?));
            columns.collect::<Result<Vec<_>>>()
        };
        let states = states.iter().map(|state| chosen(state));
        merged.merge(keys, &states.collect::<Result<Vec<_>>>()?, rows)?;
        let mut columns = rest.get(1..).unwrap_or_default().to_vec();
        columns.extend(chosen(weights)?);
        self.mixed.update(computed, keys.to_vec(), columns, rows)
    }

    /// Puts partial groups in the records' place and runs the join; gives what [`Self::take_in`]
    /// takes.
    async fn join(&self, partials: Partials, session: &dyn Session) -> Result<Vec<RecordBatch>> {
        let columns = self.columns.iter().enumerate().zip(&partials.columns);
        let mut fields: Vec<Field> = columns
            .map(|((number, _), column)| {
                Field::new(format!("p{number}"), column.data_type().clone(), true)
            })
            .collect();
        fields.push(Field::new(ROW, DataType::UInt64, false));
        let schema = Arc::new(Schema::new(fields));
        let mut arrays = partials.columns;
        arrays.push(Arc::new(UInt64Array::from_iter_values(0..partials.rows as u64)));
        let batch = RecordBatch::try_new(schema.clone(), arrays)?;
        let table = Arc::new(MemTable::try_new(schema, vec![vec![batch]])?);
        let plan = self.with_partials(table)?;
        let physical = session.create_physical_plan(&plan).await?;
        collect(physical, session.task_ctx()).await
    }

    fn with_partials(&self, table: Arc<MemTable>) -> Result<LogicalPlan> {
        let input = self.input.clone().transform_down(|node| {
            if node != self.stream {
                return Ok(Transformed::no(node));
            }
            let scan = LogicalPlanBuilder::scan(PARTIALS, provider_as_source(table.clone()), None)?;
            let mut exprs: Vec<Expr> = Vec::new();
            for (number, &index) in self.columns.iter().enumerate() {
                let (qualifier, field) = node.schema().qualified_field(index);
                let column = Expr::Column(Column::new(Some(PARTIALS), format!("p{number}")));
                let column = datafusion::logical_expr::cast(column, field.data_type().clone());
                exprs.push(column.alias_qualified(qualifier.cloned(), field.name()));
            }
            exprs.push(Expr::Column(Column::new(Some(PARTIALS), ROW)));
            let plan = scan.project(exprs)?.build()?;
            Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump))
        })?;
        let input = self.carried(input.data)?;
        let mut exprs = Vec::new();
        for (number, expr) in self.groups.iter().enumerate() {
            exprs.push(expr.clone().unalias().alias(format!("g{number}")));
        }
        exprs.extend(carried_columns(&input));
        LogicalPlanBuilder::from(input).project(exprs)?.build()
    }

    /// Looks values up right above the topmost join, and carries them and the partial groups'
    /// numbers up.
    fn carried(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !matches!(plan, LogicalPlan::Join(_)) {
            let inputs = plan.inputs().into_iter().map(|input| self.carried(input.clone()));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            if let (LogicalPlan::Projection(node), [input]) = (&plan, inputs.as_slice()) {
                return carried_by(node.expr.clone(), input);
            }
            return plan.with_new_exprs(plan.expressions(), inputs)?.recompute_schema();
        }
        let join = plan.transform_up(|node| match &node {
            LogicalPlan::Projection(projection) => {
                carried_by(projection.expr.clone(), &projection.input).map(Transformed::yes)
            }
            _ => node.recompute_schema().map(Transformed::yes),
        })?;
        let mut exprs: Vec<Expr> =
            join.data.schema().iter().map(|column| Expr::Column(column.into())).collect();
        let values = self.mixed.looked_up.iter().enumerate();
        exprs.extend(
            values.map(|(number, value)| value.clone().alias(format!("{LOOKED_UP}{number}"))),
        );
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(join.data))?))
    }
}

/// The results of aggregates for each partial group.
fn evaluate(
    plans: &[AggregatePlan],
    states: &[Vec<ArrayRef>],
    rows: usize,
) -> Result<Vec<ArrayRef>> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let schema = key_schema(vec![Field::new(ROW, DataType::UInt64, false)]);
    let mut groups = Groups::new(&schema, plans)?;
    let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows as u64));
    groups.merge(&[numbers], states, rows)?;
    Ok(groups.evaluate()?.1)
}

impl Partials {
    /// Several as one.
    pub(crate) fn join(parts: Vec<Self>, columns: usize, widths: &[usize]) -> Result<Option<Self>> {
        let rows = parts.iter().map(|part| part.rows).sum();
        if rows == 0 {
            return Ok(None);
        }
        let glue = |arrays: Vec<&ArrayRef>| -> Result<ArrayRef> {
            let arrays: Vec<&dyn Array> = arrays.into_iter().map(AsRef::as_ref).collect();
            Ok(concat(&arrays)?)
        };
        let column =
            |index: usize| glue(parts.iter().filter_map(|part| part.columns.get(index)).collect());
        let columns = (0..columns).map(column).collect::<Result<Vec<_>>>()?;
        let state = |aggregate: usize, index: usize| {
            glue(parts.iter().filter_map(|part| part.states.get(aggregate)?.get(index)).collect())
        };
        let states = widths.iter().enumerate().map(|(aggregate, &width)| {
            (0..width).map(|index| state(aggregate, index)).collect::<Result<Vec<_>>>()
        });
        let states = states.collect::<Result<Vec<_>>>()?;
        Ok(Some(Self { columns, states, rows }))
    }
}
