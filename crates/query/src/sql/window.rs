//! Windows over event time, for all queries: `TUMBLE(source, ts, size)`, `HOP(source, ts, slide,
//! size)` and `SESSION(source, ts, gap, key, …)` stand where a table may stand, and add the columns
//! `window_start` and `window_end`. The source is a table's name or a query in parentheses.
//!
//! A query plans to a [`WindowNode`]. For a query that runs once, [`LowerWindows`] turns it into
//! plain projections, unnesting and window functions. A continuous view reads the node itself
//! (`view/compile.rs`). So the same question is answered in two ways, and tests compare them.

mod node;

use crate::error::{SqlError, SqlState};
use crate::sql::statement::interval_us;
use crate::sql::walk::WalkMut;
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
use node::bound_type;
pub(crate) use node::{END, START, WindowNode};
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
        let message =
            format!("each record would be in {windows} windows; at most 100000 are possible");
        return Err(SqlError::new(SqlState::LimitExceeded, message));
    }
    Ok(())
}

/// Writes `TUMBLE((SELECT * FROM source), …)` for `TUMBLE(source, …)`, so that the tables that a
/// statement uses are where DataFusion looks for them.
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
                let dialect = crate::sql::dialect::Grammar::default();
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
