//! A window as a step of a plan, until it is lowered to what DataFusion has.

use super::*;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{AggregateUDF, SortExpr};

/// Columns on the way to sessions.
const PREVIOUS: &str = "__window_previous";
const FIRST: &str = "__window_first";
const SESSION: &str = "__window_session";
const LEAST: &str = "__window_min";
const MOST: &str = "__window_max";

/// Adds `window_start` and `window_end` to its input's columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct WindowNode {
    pub(crate) kind: WindowKind,
    /// The column with the event time.
    pub(crate) time: Expr,
    /// What sessions are told apart by.
    pub(crate) keys: Vec<Expr>,
    pub(crate) input: LogicalPlan,
    pub(super) schema: SchemaOf,
}

impl WindowNode {
    pub(super) fn try_new(
        kind: WindowKind,
        time: Expr,
        keys: Vec<Expr>,
        input: LogicalPlan,
    ) -> Result<Self> {
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
    pub(super) fn lower(&self) -> Result<LogicalPlan> {
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

    /// Sessions by window functions: each record is compared with the one before it, the firsts
    /// are counted, and each session's bounds go to all its records.
    fn lower_session(
        &self,
        builder: LogicalPlanBuilder,
        columns: Vec<Expr>,
        gap_us: i64,
    ) -> Result<LogicalPlan> {
        let plus = |columns: &[Expr], more: Expr| {
            let mut all = columns.to_vec();
            all.push(more);
            all
        };
        let long_ago = self.time.clone().gt(col(PREVIOUS) + interval(gap_us));
        let first = when(col(PREVIOUS).is_null().or(long_ago), lit(1i64)).otherwise(lit(0i64))?;
        let bound = self.schema.0.field_with_unqualified_name(START)?.data_type().clone();
        let cast = |expr: Expr| datafusion::logical_expr::cast(expr, bound.clone());
        builder
            .window([self.previous_time()?])?
            .project(plus(&columns, first.alias(FIRST)))?
            .window([self.session_number()?])?
            .project(plus(&columns, col(SESSION)))?
            .window(self.session_bounds()?)?
            .project(with(columns, cast(col(LEAST)), cast(col(MOST)) + interval(gap_us)))?
            .build()
    }

    fn by_time(&self) -> Vec<SortExpr> {
        vec![self.time.clone().sort(true, false)]
    }

    /// The event time of the record before.
    fn previous_time(&self) -> Result<Expr> {
        let previous = datafusion::functions_window::expr_fn::lag(self.time.clone(), Some(1), None);
        let previous = previous.partition_by(self.keys.clone()).order_by(self.by_time());
        Ok(previous.build()?.alias(PREVIOUS))
    }

    /// The number of a record's session: how many sessions have begun so far.
    fn session_number(&self) -> Result<Expr> {
        let so_far = WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
            WindowFrameBound::CurrentRow,
        );
        let session = over(sum_udaf(), col(FIRST))
            .partition_by(self.keys.clone())
            .order_by(self.by_time())
            .window_frame(so_far);
        Ok(session.build()?.alias(SESSION))
    }

    /// The first and the last event time of a record's session.
    fn session_bounds(&self) -> Result<[Expr; 2]> {
        let mut within = self.keys.clone();
        within.push(col(SESSION));
        let least = over(min_udaf(), self.time.clone()).partition_by(within.clone()).build()?;
        let most = over(max_udaf(), self.time.clone()).partition_by(within).build()?;
        Ok([least.alias(LEAST), most.alias(MOST)])
    }
}

/// An aggregate as a window function.
fn over(function: Arc<AggregateUDF>, argument: Expr) -> Expr {
    let function = WindowFunctionDefinition::AggregateUDF(function);
    Expr::from(WindowFunction::new(function, vec![argument]))
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

/// A schema that takes no part in comparisons: it follows from the rest.
#[derive(Clone, Debug)]
pub(super) struct SchemaOf(DFSchemaRef);

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
pub(super) fn bound_type(time: &DataType) -> Result<DataType> {
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

pub(super) fn with(columns: Vec<Expr>, start: Expr, end: Expr) -> Vec<Expr> {
    columns.into_iter().chain([start.alias(START), end.alias(END)]).collect()
}

pub(super) fn interval(us: i64) -> Expr {
    lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, us * 1_000))))
}
