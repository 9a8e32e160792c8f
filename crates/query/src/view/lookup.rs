//! Views that join a stream with tables or key-value data. Records are grouped before the join, by every column of theirs that
//! it or anything above it looks at; that is what is kept up to date. When the view is read, these partial groups take the
//! records' place in the query, are joined with the tables as they are at that moment, and their accumulators' states are
//! merged into the query's groups. So a change in a table shows at once, and the answer is always that of the whole query run
//! anew.

use super::View;
use super::compile::{
    Below, Compiled, KeyColumn, Source, compile_aggregates, loose, physical, refuse,
};
use super::groups::{Groups, key_schema};
use super::rows::Step;
use crate::catalog::Definition;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::window::WindowKind;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array,
};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScan,
};
use datafusion::physical_plan::collect;
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
                        return refuse("a join of tables, which do not say when they change");
                    }
                    (left, right, JoinType::Inner | JoinType::Left) if left >= right => &join.left,
                    (left, right, JoinType::Inner | JoinType::Right) if left < right => &join.right,
                    (.., kind) => {
                        return refuse(format!(
                            "a {kind} join of a stream with a table: the stream's records are what is counted"
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

/// Compiles the groups of a query with joins.
pub(super) fn compile_groups(
    aggregate: &Aggregate,
    stream: &LogicalPlan,
    (source, window, tags): Below,
    steps: Vec<Step>,
    plan: LogicalPlan,
) -> std::result::Result<Compiled, SqlError> {
    if matches!(window, Some(WindowKind::Session { .. })) {
        return refuse("a join above SESSION windows").map_err(|error| {
            error.hint("make a view of the sessions, and join that when you read it")
        });
    }
    let input = aggregate.input.as_ref();
    let schema = stream.schema();
    let mut used = BTreeSet::new();
    uses(input, stream, &mut used)?;
    for expr in &aggregate.group_expr {
        if matches!(expr, Expr::GroupingSet(_)) {
            return refuse("GROUPING SETS, ROLLUP and CUBE");
        }
        add_columns(expr, input, stream, &mut used)?;
    }
    let aggregates = aggregate.aggr_expr.iter().map(|expr| over_stream(expr, input, stream));
    let aggregates = aggregates.collect::<std::result::Result<Vec<_>, SqlError>>()?;
    let columns: Vec<usize> = used.into_iter().collect();
    let (mut keys, mut fields, mut layout) = (Vec::new(), Vec::new(), Vec::new());
    for &index in &columns {
        let (qualifier, field) = schema.qualified_field(index);
        if let Some(Some(tag)) = tags.get(index) {
            layout.push(*tag);
            continue;
        }
        layout.push(KeyColumn::Key(keys.len()));
        keys.push(physical(&Expr::Column((qualifier, field).into()), schema)?);
        fields.push(Field::new(field.name(), field.data_type().clone(), true));
    }
    let by_window = layout.iter().any(|column| !matches!(column, KeyColumn::Key(_)));
    let window = match window {
        Some(WindowKind::Tumble { .. }) if !by_window => None,
        Some(_) if !by_window => {
            return refuse("records are in several windows, but window_start is not grouped by");
        }
        other => other,
    };
    let group_fields = aggregate.schema.fields().iter().take(aggregate.group_expr.len());
    let group_fields =
        group_fields.map(|field| Field::new(field.name(), field.data_type().clone(), true));
    let (tables, views) = beside(input, &source)?;
    let lookup = Lookup {
        input: input.clone(),
        stream: stream.clone(),
        columns,
        groups: aggregate.group_expr.clone(),
        key_schema: key_schema(group_fields.collect()),
        tables,
        views,
    };
    Ok(Compiled {
        source,
        steps,
        window,
        keys,
        key_schema: key_schema(fields),
        layout,
        aggregates: compile_aggregates(&aggregates, schema)?,
        group_schema: loose(&aggregate.schema),
        lookup: Some(lookup),
        plan,
    })
}

/// The tables and views that a plan reads beside its source.
fn beside(input: &LogicalPlan, source: &Source) -> Result<(Vec<String>, Vec<Arc<View>>)> {
    let (mut tables, mut views) = (Vec::new(), Vec::new());
    input.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let view = super::table::view_of(scan);
            let name = match &view {
                Some(view) => view.name.clone(),
                None => scan.table_name.table().to_owned(),
            };
            if name != source.name() {
                tables.push(name);
                views.extend(view);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((tables, views))
}

/// The columns of the stream's rows that the nodes above them look at.
fn uses(
    plan: &LogicalPlan,
    stream: &LogicalPlan,
    used: &mut BTreeSet<usize>,
) -> std::result::Result<(), SqlError> {
    if plan == stream {
        return Ok(());
    }
    // What a projection makes is looked at where it is used.
    if !matches!(plan, LogicalPlan::Projection(_)) {
        for expr in plan.expressions() {
            for input in plan.inputs() {
                add_columns(&expr, input, stream, used)?;
            }
        }
    }
    for input in plan.inputs() {
        uses(input, stream, used)?;
    }
    Ok(())
}

/// The columns of the stream's rows that an expression over a plan goes back to.
fn add_columns(
    expr: &Expr,
    plan: &LogicalPlan,
    stream: &LogicalPlan,
    used: &mut BTreeSet<usize>,
) -> std::result::Result<(), SqlError> {
    for column in expr.column_refs() {
        let Some(index) = plan.schema().maybe_index_of_column(column) else { continue };
        if plan == stream {
            used.insert(index);
            continue;
        }
        match plan {
            LogicalPlan::Projection(node) => {
                if let Some(expr) = node.expr.get(index) {
                    add_columns(expr, &node.input, stream, used)?;
                }
            }
            LogicalPlan::Join(_) => {
                for input in plan.inputs() {
                    add_columns(&Expr::Column(column.clone()), input, stream, used)?;
                }
            }
            LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
                let inputs = plan.inputs();
                let Some(input) = inputs.first() else { continue };
                let (qualifier, field) = input.schema().qualified_field(index);
                add_columns(&Expr::Column((qualifier, field).into()), input, stream, used)?;
            }
            // Below here nothing is the stream's.
            _ => {}
        }
    }
    Ok(())
}

/// An aggregate over the input as one over the stream's rows alone.
fn over_stream(
    expr: &Expr,
    plan: &LogicalPlan,
    stream: &LogicalPlan,
) -> std::result::Result<Expr, SqlError> {
    if plan == stream {
        return Ok(expr.clone());
    }
    let lower = |expr: &Expr, input: &LogicalPlan| over_stream(expr, input, stream);
    match plan {
        LogicalPlan::Projection(node) => {
            let lowered = expr.clone().transform(|part| {
                let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
                let index = plan.schema().index_of_column(column)?;
                Ok(match node.expr.get(index) {
                    Some(made) => {
                        Transformed::new(made.clone().unalias(), true, TreeNodeRecursion::Jump)
                    }
                    None => Transformed::no(part),
                })
            })?;
            lower(&lowered.data, &node.input)
        }
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
            let inputs = plan.inputs();
            let Some(input) = inputs.first() else { return refuse("a plan without input") };
            let lowered = expr.clone().transform(|part| {
                let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
                let index = plan.schema().index_of_column(column)?;
                let below = Expr::Column(input.schema().qualified_field(index).into());
                Ok(Transformed::new(below, true, TreeNodeRecursion::Jump))
            })?;
            lower(&lowered.data, input)
        }
        LogicalPlan::Join(join) => {
            let columns = expr.column_refs();
            let all_in = |side: &LogicalPlan| {
                columns.iter().all(|column| side.schema().maybe_index_of_column(column).is_some())
            };
            let has_stream =
                |side: &LogicalPlan| side.exists(|node| Ok(node == stream)).unwrap_or(false);
            let side = if has_stream(&join.left) { &join.left } else { &join.right };
            if columns.is_empty() || all_in(side) {
                return lower(expr, side);
            }
            refuse(format!("{expr} takes values from a table"))
                .map_err(|error| error.hint("aggregate the stream's columns, and compute with the table's above: sum(qty) * price, grouped by price"))
        }
        other => refuse(format!("{} above a join", other.display())),
    }
}

impl Lookup {
    pub(crate) fn describe(&self) -> String {
        let names = self.tables.join(", ");
        format!("the partial groups with {names}, as they are then")
    }

    /// The query's groups: their keys and results.
    pub(crate) async fn finish(
        &self,
        compiled: &Compiled,
        partials: Option<Partials>,
        session: &dyn Session,
    ) -> Result<RecordBatch> {
        let mut groups = Groups::new(&self.key_schema, &compiled.aggregates)?;
        if self.groups.is_empty() {
            groups.ensure_one();
        }
        let states = partials.as_ref().map(|partials| partials.states.clone()).unwrap_or_default();
        let joined = match partials {
            Some(partials) => self.join(partials, session).await?,
            None => Vec::new(),
        };
        for batch in joined {
            let rows = batch.num_rows();
            let width = self.groups.len();
            let keys: Vec<ArrayRef> = batch.columns().iter().take(width).cloned().collect();
            let numbers = batch
                .columns()
                .get(width)
                .and_then(|column| column.as_primitive_opt::<UInt64Type>().cloned());
            let numbers = numbers
                .ok_or_else(|| SqlError::new(SqlState::Internal, "a lookup lost its rows"))?;
            let chosen = states.iter().map(|state| {
                state
                    .iter()
                    .map(|column| Ok(take(column, &numbers, None)?))
                    .collect::<Result<Vec<_>>>()
            });
            groups.merge(&keys, &chosen.collect::<Result<Vec<_>>>()?, rows)?;
        }
        let rows = groups.len();
        let (mut columns, results) = groups.evaluate()?;
        columns.extend(results);
        let typed = columns.iter().zip(compiled.group_schema.fields()).map(|(column, field)| {
            Ok(datafusion::arrow::compute::cast(column, field.data_type())?)
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let typed = typed.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(compiled.group_schema.clone(), typed, &options)?)
    }

    /// Puts partial groups in the records' place and runs the join; gives group keys and the number of the partial group.
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
        // The number goes through every projection, and what a projection made of other columns of the records is made no more.
        let input = input.data.transform_up(|node| {
            let LogicalPlan::Projection(projection) = &node else {
                return node.recompute_schema().map(Transformed::yes);
            };
            let schema = projection.input.schema();
            if schema.columns().iter().all(|column| column.name != ROW)
                || projection.expr.iter().any(is_row)
            {
                return node.recompute_schema().map(Transformed::yes);
            }
            let mut exprs: Vec<Expr> = projection.expr.clone();
            exprs.retain(|expr| {
                expr.column_refs()
                    .iter()
                    .all(|column| schema.maybe_index_of_column(column).is_some())
            });
            exprs.push(row_of(&projection.input)?);
            let plan =
                LogicalPlan::Projection(Projection::try_new(exprs, projection.input.clone())?);
            Ok(Transformed::yes(plan))
        })?;
        let mut exprs = Vec::new();
        for (number, expr) in self.groups.iter().enumerate() {
            exprs.push(expr.clone().unalias().alias(format!("g{number}")));
        }
        exprs.push(row_of(&input.data)?);
        LogicalPlanBuilder::from(input.data).project(exprs)?.build()
    }
}

fn is_row(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == ROW)
}

/// The column with the partial group's number.
fn row_of(plan: &LogicalPlan) -> Result<Expr> {
    let column = plan.schema().columns().into_iter().find(|column| column.name == ROW);
    let column =
        column.ok_or_else(|| SqlError::new(SqlState::Internal, "a lookup lost its rows"))?;
    Ok(Expr::Column(column))
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
