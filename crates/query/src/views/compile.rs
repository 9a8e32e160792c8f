//! From a query to what a view does. The plan is cut in three: what is done to each record (steps),
//! how records are grouped (keys and accumulators), and what is done with the groups when the view
//! is read (`finish`, a DataFusion plan over the groups). A query that cannot be kept up to date in
//! this way is refused here, with the reason.

mod checks;
mod shape;

use super::View;
use super::accumulate::AggregatePlan;
use super::lookup::{self, Lookup};
use super::rows::Step;
use crate::catalog::{Definition, StreamDefinition};
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::sql::window::{END, START, WindowKind, WindowNode};
use crate::streams::StreamTable;
pub(super) use checks::bounds_untouched;
use checks::{check_deterministic, check_order, traced};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, TableScan, Volatility};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, AnalyzerRule, OptimizerRule};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
pub(crate) use shape::{Completes, KeyColumn, Source};
use std::sync::Arc;

/// A view, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) source: Source,
    pub(crate) steps: Vec<Step>,
    pub(crate) window: Option<WindowKind>,
    /// The keys beside the window.
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) key_schema: SchemaRef,
    /// For each grouping column of the query, where it comes from.
    pub(crate) layout: Vec<KeyColumn>,
    pub(crate) aggregates: Vec<AggregatePlan>,
    /// The columns of the groups: grouping columns, then aggregates.
    pub(crate) group_schema: SchemaRef,
    /// What is joined to the groups when the view is read; then the keys are what that takes.
    pub(crate) lookup: Option<Lookup>,
    /// The whole plan, whose node over the groups is replaced when it is read.
    pub(crate) plan: LogicalPlan,
}

pub(super) fn refuse<T>(what: impl Into<String>) -> Result<T, SqlError> {
    Err(SqlError::unsupported(format!("this cannot be maintained incrementally: {}", what.into())))
}

/// Cuts a query into what a view does.
pub(crate) async fn compile(inner: &Inner, query: &Query) -> Result<Compiled, SqlError> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let state = SessionStateBuilder::new_from_existing(inner.context()?.state())
        .with_analyzer_rules(analyzer_rules())
        .with_optimizer_rules(rules)
        .build();
    let mut statement = SqlStatement::Query(Box::new(query.clone()));
    crate::sql::window::wrap_sources(&mut statement);
    crate::sql::dialect::rewrite_query(&mut statement)?;
    let statement = datafusion::sql::parser::Statement::Statement(Box::new(statement));
    let plan = crate::sql::dialect::repair::plan(&state, statement).await?;
    let plan = crate::sql::dialect::narrow_literals(plan)?;
    check_deterministic(&plan)?;
    let plan = state.optimize(&plan)?;
    let aggregate = find_aggregate(&plan)?;
    if let Some(stream) = lookup::stream_side(inner, &aggregate.input)? {
        let mut steps = Vec::new();
        let below = compile_rows(inner, &stream, &mut steps)?;
        return lookup::compile_groups(aggregate, &stream, below, steps, plan.clone());
    }
    let mut steps = Vec::new();
    let below = compile_rows(inner, &aggregate.input, &mut steps)?;
    compile_groups(aggregate, below, steps, plan.clone())
}

/// DataFusion's rules with Postgres' casts, and without the one that lowers windows: they are read
/// here.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    rules.push(Arc::new(crate::sql::dialect::PostgresCasts::default()));
    rules
}

/// The aggregate of the query, below what is done with its groups.
fn find_aggregate(plan: &LogicalPlan) -> Result<&Aggregate, SqlError> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Ok(aggregate),
        LogicalPlan::Projection(node) => find_aggregate(&node.input),
        LogicalPlan::Filter(node) => find_aggregate(&node.input),
        LogicalPlan::SubqueryAlias(node) => find_aggregate(&node.input),
        LogicalPlan::Sort(node) => find_aggregate(&node.input),
        LogicalPlan::Limit(node) => find_aggregate(&node.input),
        LogicalPlan::Window(node) => find_aggregate(&node.input),
        LogicalPlan::TableScan(_) | LogicalPlan::Extension(_) => refuse(
            "the query has no aggregate, so it has nothing to keep up to date",
        )
        .map_err(|error| error.hint("CREATE VIEW runs it over the stream whenever it is read")),
        LogicalPlan::Join(_) => refuse("a join without an aggregate over it"),
        LogicalPlan::Union(_) => refuse("UNION"),
        other => refuse(format!("{} above the groups", other.display())),
    }
}

/// Which output columns are bounds of the window.
pub(super) type Tags = Vec<Option<KeyColumn>>;

/// What is below the groups: the source, the window, and which columns are its bounds.
pub(super) type Below = (Source, Option<WindowKind>, Tags);

/// Compiles what is done to each record, from the source up.
fn compile_rows(
    inner: &Inner,
    plan: &LogicalPlan,
    steps: &mut Vec<Step>,
) -> Result<Below, SqlError> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = source_of(inner, scan, plan)?;
            Ok((source, None, vec![None; plan.schema().fields().len()]))
        }
        LogicalPlan::SubqueryAlias(node) => compile_rows(inner, &node.input, steps),
        // An order below groups says nothing.
        LogicalPlan::Sort(node) if node.fetch.is_none() => compile_rows(inner, &node.input, steps),
        LogicalPlan::Filter(node) => {
            let (source, window, tags) = compile_rows(inner, &node.input, steps)?;
            bounds_untouched(&node.predicate, node.input.schema(), window, &tags)?;
            steps.push(Step::Filter(physical(&node.predicate, node.input.schema())?));
            Ok((source, window, tags))
        }
        LogicalPlan::Projection(node) => {
            let (source, window, tags) = compile_rows(inner, &node.input, steps)?;
            let mut exprs = Vec::new();
            let mut new_tags = Tags::new();
            for expr in &node.expr {
                let tag = tag_of(expr, node.input.schema(), &tags);
                if tag.is_none() {
                    bounds_untouched(expr, node.input.schema(), window, &tags)?;
                }
                new_tags.push(tag);
                exprs.push(physical(expr, node.input.schema())?);
            }
            steps.push(Step::Project { exprs, schema: loose(plan.schema()) });
            Ok((source, window, new_tags))
        }
        LogicalPlan::Extension(extension) => {
            let Some(node) = extension.node.as_any().downcast_ref::<WindowNode>() else {
                return refuse(format!("{} below the groups", plan.display()));
            };
            let (mut source, window, mut tags) = compile_rows(inner, &node.input, steps)?;
            if window.is_some() {
                return refuse("a window over a window");
            }
            if let Source::View { view, completes, .. } = &mut source {
                *completes = view.completes(traced(&node.time, &node.input));
            }
            steps.push(Step::Window {
                kind: node.kind,
                time: physical(&node.time, node.input.schema())?,
                schema: loose(plan.schema()),
            });
            tags.extend([Some(KeyColumn::Start), Some(KeyColumn::End)]);
            Ok((source, Some(node.kind), tags))
        }
        LogicalPlan::Aggregate(_) => refuse("an aggregate of an aggregate")
            .map_err(|error| error.hint("put the inner one into a view of its own")),
        other => refuse(format!("{} below the groups", other.display())),
    }
}

/// A schema whose columns may all be null: what an expression promises is not always kept by a row
/// that is about to go.
pub(super) fn loose(schema: &DFSchema) -> SchemaRef {
    let fields = schema.as_arrow().fields().iter();
    Arc::new(Schema::new(
        fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
}

fn source_of(inner: &Inner, scan: &TableScan, plan: &LogicalPlan) -> Result<Source, SqlError> {
    if let Some(view) = super::table::view_of(scan) {
        let projection = scan.projection.clone();
        return Ok(Source::View { view, projection, completes: Completes::Never });
    }
    let name = scan.table_name.table().to_owned();
    if matches!(scan.table_name.schema(), Some(schema) if schema != "public") {
        return refuse(format!("\"{}\" has no changes that a view could follow", scan.table_name));
    }
    match inner.catalog.get(&name).as_deref() {
        Some(Definition::Stream(definition)) => Ok(Source::Stream {
            name,
            definition: definition.clone(),
            projection: scan.projection.clone(),
        }),
        Some(Definition::External(_)) => Ok(Source::Files { name, scan: plan.clone() }),
        Some(other) => refuse(format!("\"{name}\" is a {}, not a stream", other.kind())),
        None if name == "kv" => refuse("\"kv\" is not a stream"),
        // Made by XADD and never declared.
        None if is_stream(scan) => Ok(Source::Stream {
            name,
            definition: StreamDefinition::default(),
            projection: scan.projection.clone(),
        }),
        // A file that is named in the query.
        None => Ok(Source::Files { name, scan: plan.clone() }),
    }
}

fn is_stream(scan: &TableScan) -> bool {
    source_as_provider(&scan.source)
        .is_ok_and(|table| table.as_ref().downcast_ref::<StreamTable>().is_some())
}

pub(super) fn physical(expr: &Expr, schema: &DFSchema) -> DfResult<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

/// Whether an expression is a bound of the window and nothing else.
fn tag_of(expr: &Expr, schema: &DFSchema, tags: &Tags) -> Option<KeyColumn> {
    match expr {
        Expr::Column(column) => *tags.get(schema.maybe_index_of_column(column)?)?,
        Expr::Alias(alias) => tag_of(&alias.expr, schema, tags),
        _ => None,
    }
}

fn compile_groups(
    aggregate: &Aggregate,
    (source, window, tags): Below,
    steps: Vec<Step>,
    plan: LogicalPlan,
) -> Result<Compiled, SqlError> {
    let tags = &tags;
    let input = aggregate.input.schema();
    let mut keys = Vec::new();
    let mut fields = Vec::new();
    let mut layout = Vec::new();
    for (expr, field) in aggregate.group_expr.iter().zip(aggregate.schema.fields()) {
        if matches!(expr, Expr::GroupingSet(_)) {
            return refuse("GROUPING SETS, ROLLUP and CUBE");
        }
        if let Some(tag) = tag_of(expr, input, tags) {
            layout.push(tag);
            continue;
        }
        bounds_untouched(expr, input, window, tags)?;
        layout.push(KeyColumn::Key(keys.len()));
        keys.push(physical(expr, input)?);
        fields.push(Field::new(field.name(), field.data_type().clone(), true));
    }
    let grouped_by_window = layout.iter().any(|column| !matches!(column, KeyColumn::Key(_)));
    let window = match window {
        Some(WindowKind::Tumble { .. }) if !grouped_by_window => None,
        Some(_) if !grouped_by_window => {
            return refuse(format!(
                "records are in several windows, but {START} and {END} are not grouped by"
            ))
            .map_err(|error| error.hint(format!("GROUP BY {START}, …")));
        }
        other => other,
    };
    for expr in &aggregate.aggr_expr {
        bounds_untouched(expr, input, window, tags)?;
    }
    let aggregates = compile_aggregates(&aggregate.aggr_expr, input)?;
    let group_schema = loose(&aggregate.schema);
    let key_schema = super::groups::key_schema(fields);
    let lookup = None;
    Ok(Compiled {
        source,
        steps,
        window,
        keys,
        key_schema,
        layout,
        aggregates,
        group_schema,
        lookup,
        plan,
    })
}

/// The accumulators of aggregates over some rows.
pub(super) fn compile_aggregates(
    exprs: &[Expr],
    input: &DFSchema,
) -> Result<Vec<AggregatePlan>, SqlError> {
    let physical_input = loose(input);
    let aggregates = exprs.iter().map(|expr| {
        let props = ExecutionProps::new();
        let context = PhysicalPlanningContext::default();
        let lowered =
            LoweredAggregateBuilder::new(expr, input, &physical_input, &props, &context).build()?;
        AggregatePlan::new(lowered.aggregate, lowered.filter, &physical_input)
    });
    let aggregates = aggregates.collect::<DfResult<Vec<_>>>()?;
    check_order(&aggregates)?;
    Ok(aggregates)
}
