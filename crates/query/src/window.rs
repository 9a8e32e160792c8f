//! Windows over event time, for all queries: `TUMBLE(source, ts, size)`, `HOP(source, ts, slide, size)` and
//! `SESSION(source, ts, gap, key, …)` stand where a table may stand, and add the columns `window_start` and `window_end`.
//! The source is a table's name or a query in parentheses.
//!
//! A query plans to a [`WindowNode`]. For a batch, [`LowerWindows`] turns it into plain projections, unnesting and window
//! functions; a continuous view reads the node itself (`view/compile.rs`). So the two answer the same question in two
//! ways, and tests compare them.

use crate::error::{SqlError, SqlState};
use crate::statement::interval_us;
use crate::walk::WalkMut;
use datafusion::arrow::array::{
    Array, ArrayRef, ListBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, IntervalMonthDayNano, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprFunctionExt, Extension, LogicalPlan, LogicalPlanBuilder,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, UserDefinedLogicalNodeCore,
    Volatility, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, col,
    lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Statement, TableFactor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WindowKind {
    /// One after the other, each of this length.
    Tumble { size_us: i64 },
    /// A window of this length begins every so often.
    Hop { slide_us: i64, size_us: i64 },
    /// As long as there is no gap of this length.
    Session { gap_us: i64 },
}

/// Adds `window_start` and `window_end` to its input's columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct WindowNode {
    pub(crate) kind: WindowKind,
    /// The column with the event time.
    pub(crate) time: Expr,
    /// What sessions are told apart by.
    pub(crate) keys: Vec<Expr>,
    pub(crate) input: LogicalPlan,
    schema: SchemaOf,
}

/// A schema that takes no part in comparisons: it follows from the rest.
#[derive(Clone, Debug)]
struct SchemaOf(DFSchemaRef);

impl PartialEq for SchemaOf {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
impl Eq for SchemaOf {}
impl std::hash::Hash for SchemaOf {
    fn hash<H: std::hash::Hasher>(&self, _state: &mut H) {}
}
impl PartialOrd for SchemaOf {
    fn partial_cmp(&self, _other: &Self) -> Option<std::cmp::Ordering> {
        Some(std::cmp::Ordering::Equal)
    }
}

/// The columns that windows add.
pub(crate) const START: &str = "window_start";
pub(crate) const END: &str = "window_end";

/// The type of a window's bounds, for an event time of this type.
fn bound_type(time: &DataType) -> Result<DataType> {
    match time {
        DataType::Timestamp(_, zone) => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        other => Err(SqlError::new(
            SqlState::DatatypeMismatch,
            format!("the time of a window is a TIMESTAMP, not a {other}"),
        )
        .hint("to_timestamp_millis(column) makes one of milliseconds since 1970")
        .into()),
    }
}

impl WindowNode {
    fn try_new(kind: WindowKind, time: Expr, keys: Vec<Expr>, input: LogicalPlan) -> Result<Self> {
        use datafusion::logical_expr::ExprSchemable;
        let bound = bound_type(&time.get_type(input.schema())?)?;
        let mut fields: Vec<_> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
            .collect();
        for name in [START, END] {
            if fields.iter().any(|(_, field)| field.name() == name) {
                let message = format!("the source of a window has a column \"{name}\" already");
                return Err(SqlError::new(SqlState::InvalidDefinition, message).into());
            }
            fields.push((None, Arc::new(Field::new(name, bound.clone(), true))));
        }
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        Ok(Self { kind, time, keys, input, schema: SchemaOf(Arc::new(schema)) })
    }

    /// The same as plain operators.
    fn lower(&self) -> Result<LogicalPlan> {
        let columns: Vec<Expr> =
            self.input.schema().columns().into_iter().map(Expr::Column).collect();
        let builder = LogicalPlanBuilder::from(self.input.clone());
        match self.kind {
            WindowKind::Tumble { size_us } => {
                let start = start_of().call(vec![self.time.clone(), lit(size_us)]);
                let end = start.clone() + interval(size_us);
                builder.project(with(columns, start, end))?.build()
            }
            WindowKind::Hop { slide_us, size_us } => {
                let starts = starts_of().call(vec![self.time.clone(), lit(slide_us), lit(size_us)]);
                let mut all = columns.clone();
                all.push(starts.alias(START));
                let start = col(START);
                let end = start.clone() + interval(size_us);
                builder
                    .project(all)?
                    .unnest_column(START)?
                    .project(with(columns, start, end))?
                    .build()
            }
            WindowKind::Session { gap_us } => self.lower_session(builder, columns, gap_us),
        }
    }

    fn lower_session(
        &self,
        builder: LogicalPlanBuilder,
        columns: Vec<Expr>,
        gap_us: i64,
    ) -> Result<LogicalPlan> {
        use datafusion::functions_aggregate::{
            min_max::max_udaf, min_max::min_udaf, sum::sum_udaf,
        };
        use datafusion::functions_window::expr_fn::lag;
        const PREVIOUS: &str = "__window_previous";
        const FIRST: &str = "__window_first";
        const SESSION: &str = "__window_session";
        let over = |function, argument: Expr| {
            let function = WindowFunctionDefinition::AggregateUDF(function);
            Expr::from(WindowFunction::new(function, vec![argument]))
        };
        let by_time = vec![self.time.clone().sort(true, false)];
        let plus = |columns: &[Expr], more: Expr| {
            let mut all = columns.to_vec();
            all.push(more);
            all
        };
        let previous = lag(self.time.clone(), Some(1), None)
            .partition_by(self.keys.clone())
            .order_by(by_time.clone())
            .build()?
            .alias(PREVIOUS);
        let long_ago = self.time.clone().gt(col(PREVIOUS) + interval(gap_us));
        let first = when(col(PREVIOUS).is_null().or(long_ago), lit(1i64)).otherwise(lit(0i64))?;
        let so_far = WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
            WindowFrameBound::CurrentRow,
        );
        let session = over(sum_udaf(), col(FIRST))
            .partition_by(self.keys.clone())
            .order_by(by_time)
            .window_frame(so_far)
            .build()?
            .alias(SESSION);
        let within = plus(&self.keys, col(SESSION));
        let start = over(min_udaf(), self.time.clone())
            .partition_by(within.clone())
            .build()?
            .alias("__window_min");
        let end =
            over(max_udaf(), self.time.clone()).partition_by(within).build()?.alias("__window_max");
        let bound = self.schema.0.field_with_unqualified_name(START)?.data_type().clone();
        let cast = |expr: Expr| datafusion::logical_expr::cast(expr, bound.clone());
        builder
            .window([previous])?
            .project(plus(&columns, first.alias(FIRST)))?
            .window([session])?
            .project(plus(&columns, col(SESSION)))?
            .window([start, end])?
            .project(with(
                columns,
                cast(col("__window_min")),
                cast(col("__window_max")) + interval(gap_us),
            ))?
            .build()
    }
}

fn with(columns: Vec<Expr>, start: Expr, end: Expr) -> Vec<Expr> {
    columns.into_iter().chain([start.alias(START), end.alias(END)]).collect()
}

fn interval(us: i64) -> Expr {
    lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, us * 1_000))))
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema.0
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(self.time.clone()).chain(self.keys.iter().cloned()).collect()
    }

    fn fmt_for_explain(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Window: {:?} by {}", self.kind, self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let time = exprs.next().unwrap_or_else(|| self.time.clone());
        let input = inputs.into_iter().next().unwrap_or_else(|| self.input.clone());
        Self::try_new(self.kind, time, exprs.collect(), input)
    }
}

/// Turns window nodes into plain operators.
#[derive(Debug)]
pub(crate) struct LowerWindows;

impl AnalyzerRule for LowerWindows {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let lowered = plan.transform_up_with_subqueries(|plan| match &plan {
            LogicalPlan::Extension(extension) => {
                match extension.node.as_any().downcast_ref::<WindowNode>() {
                    Some(window) => Ok(Transformed::yes(window.lower()?)),
                    None => Ok(Transformed::no(plan)),
                }
            }
            _ => Ok(Transformed::no(plan)),
        })?;
        Ok(lowered.data)
    }

    fn name(&self) -> &str {
        "lower_windows"
    }
}

/// Plans TUMBLE, HOP and SESSION where tables stand.
#[derive(Debug)]
pub(crate) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (name, args, alias) = match &relation {
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let name = name.to_string().to_lowercase();
        if !is_window(&name) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        let usage = || -> datafusion::common::DataFusionError {
            let usage = match name.as_str() {
                "tumble" => "TUMBLE(source, time, INTERVAL 'size')",
                "hop" => "HOP(source, time, INTERVAL 'slide', INTERVAL 'size')",
                _ => "SESSION(source, time, INTERVAL 'gap', key, …)",
            };
            SqlError::new(SqlState::SyntaxError, format!("a window is written {usage}")).into()
        };
        let args: Option<Vec<&SqlExpr>> = args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect();
        let args = args.ok_or_else(usage)?;
        let [source, time, rest @ ..] = args.as_slice() else { return Err(usage()) };
        let input = context.plan(source_of(source).ok_or_else(usage)?)?;
        let time = context.sql_to_expr((*time).clone(), input.schema())?;
        let (kind, keys) = match (name.as_str(), rest) {
            ("tumble", [size]) => (WindowKind::Tumble { size_us: interval_us(size)? }, &[][..]),
            ("hop", [slide, size]) => {
                let (slide_us, size_us) = (interval_us(slide)?, interval_us(size)?);
                (WindowKind::Hop { slide_us, size_us }, &[][..])
            }
            ("session", [gap, keys @ ..]) => {
                (WindowKind::Session { gap_us: interval_us(gap)? }, keys)
            }
            _ => return Err(usage()),
        };
        check(kind)?;
        let keys = keys.iter().map(|key| context.sql_to_expr((*key).clone(), input.schema()));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let node = WindowNode::try_new(kind, time, keys, input)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

fn check(kind: WindowKind) -> Result<(), SqlError> {
    let (shortest, windows) = match kind {
        WindowKind::Tumble { size_us } => (size_us, 1),
        WindowKind::Hop { slide_us, size_us } => (slide_us.min(size_us), size_us / slide_us.max(1)),
        WindowKind::Session { gap_us } => (gap_us, 1),
    };
    if shortest < 1_000 {
        return Err(SqlError::new(
            SqlState::InvalidParameter,
            "a window is at least a millisecond long",
        ));
    }
    if windows > 100_000 {
        let message = format!("each record would be in {windows} windows; 100000 are possible");
        return Err(SqlError::new(SqlState::LimitExceeded, message));
    }
    Ok(())
}

/// Writes `TUMBLE((SELECT * FROM source), …)` for `TUMBLE(source, …)`, so that the tables that a statement uses are where
/// DataFusion looks for them.
pub(crate) fn wrap_sources(statement: &mut Statement) {
    struct Wrap;
    impl VisitorMut for Wrap {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            let (name, args) = match factor {
                TableFactor::Table { name, args: Some(args), .. } => (name, &mut args.args),
                TableFactor::Function { name, args, .. } => (name, args),
                _ => return ControlFlow::Continue(()),
            };
            if is_window(&name.to_string())
                && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(source))) = args.first_mut()
                && let SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) = source
            {
                let text = format!("SELECT * FROM {source}");
                let dialect = crate::dialect::Grammar::default();
                let query =
                    Parser::new(&dialect).try_with_sql(&text).and_then(|mut p| p.parse_query());
                if let Ok(query) = query {
                    *source = SqlExpr::Subquery(query);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _never_breaks = statement.walk_mut(&mut Wrap);
}

fn is_window(name: &str) -> bool {
    ["tumble", "hop", "session"].iter().any(|window| name.eq_ignore_ascii_case(window))
}

/// The table that an argument names.
fn source_of(expr: &SqlExpr) -> Option<TableFactor> {
    let SqlExpr::Subquery(query) = expr else { return None };
    Some(TableFactor::Derived {
        lateral: false,
        subquery: query.clone(),
        alias: None,
        sample: None,
    })
}

/// Event times in microseconds.
pub(crate) fn times_us(array: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let bound = bound_type(array.data_type())?;
    let array = if *array.data_type() == bound { array.clone() } else { cast(array, &bound)? };
    array
        .as_any()
        .downcast_ref::<TimestampMicrosecondArray>()
        .cloned()
        .ok_or_else(|| SqlError::new(SqlState::Internal, "not a timestamp").into())
}

/// The beginning of the window of this length that a time is in.
pub(crate) fn floor_us(time_us: i64, size_us: i64) -> i64 {
    time_us - time_us.rem_euclid(size_us)
}

fn start_of() -> ScalarUDF {
    ScalarUDF::from(StartOf { signature: Signature::any(2, Volatility::Immutable) })
}

fn starts_of() -> ScalarUDF {
    ScalarUDF::from(StartsOf { signature: Signature::any(3, Volatility::Immutable) })
}

/// Lets queries name these functions, too: plans that were written down do.
pub(crate) fn register_functions(context: &SessionContext) {
    context.register_udf(start_of());
    context.register_udf(starts_of());
}

fn constant_us(value: &ColumnarValue) -> Result<i64> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(us))) if *us > 0 => Ok(*us),
        _ => Err(SqlError::new(SqlState::InvalidParameter, "the length of a window is a constant")
            .into()),
    }
}

/// `window_start_of(time, size in microseconds)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct StartOf {
    signature: Signature,
}

impl ScalarUDFImpl for StartOf {
    fn name(&self) -> &str {
        "window_start_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        bound_type(types.first().unwrap_or(&DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, size] = args.args.as_slice() else { return internal() };
        let size_us = constant_us(size)?;
        let times = times_us(&time.to_array(args.number_rows)?)?;
        let kind = times.data_type().clone();
        let starts: TimestampMicrosecondArray = times.unary(|us| floor_us(us, size_us));
        Ok(ColumnarValue::Array(Arc::new(starts.with_data_type(kind))))
    }
}

/// `window_starts_of(time, slide, size)`: the beginnings of all windows that a time is in.
#[derive(Debug, PartialEq, Eq, Hash)]
struct StartsOf {
    signature: Signature,
}

impl ScalarUDFImpl for StartsOf {
    fn name(&self) -> &str {
        "window_starts_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let bound = bound_type(types.first().unwrap_or(&DataType::Null))?;
        Ok(DataType::List(Arc::new(Field::new_list_field(bound, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, slide, size] = args.args.as_slice() else { return internal() };
        let (slide_us, size_us) = (constant_us(slide)?, constant_us(size)?);
        let times = times_us(&time.to_array(args.number_rows)?)?;
        let values = TimestampMicrosecondBuilder::new().with_data_type(times.data_type().clone());
        let mut lists = ListBuilder::new(values);
        for row in 0..times.len() {
            if times.is_valid(row) {
                let time_us = times.value(row);
                let mut start_us = floor_us(time_us, slide_us);
                while start_us > time_us - size_us {
                    lists.values().append_value(start_us);
                    start_us -= slide_us;
                }
            }
            lists.append(times.is_valid(row));
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}

fn internal<T>() -> Result<T> {
    Err(SqlError::new(SqlState::Internal, "a window's function was called with other arguments")
        .into())
}
