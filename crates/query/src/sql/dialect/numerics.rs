//! Columns of type `numeric` keep their digits as text. Here they become numbers where their order
//! or their sum matters. Where rows are compared by them, equal numbers get equal texts.

use crate::error::SqlError;
use crate::functions::{Asked, Call, Function};
use crate::values::pg_type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_aggregate::{average::avg_udaf, sum::sum_udaf};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Distinct, Expr, ExprSchemable,
    LogicalPlan, LogicalPlanBuilder, Signature, Volatility, Window, WindowFunctionDefinition,
};
use std::sync::Arc;

/// What a column of numbers below an aggregate is called.
const NUMBER: &str = "thalweg_number_";

/// What numbers of any digits are computed in.
const WIDE: DataType = DataType::Decimal256(76, 30);

/// `sum` and `avg` as the planner must know them: they take numbers that are kept as text. Plans
/// get the library's own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TakesNumerics {
    own: Arc<AggregateUDF>,
    signature: Signature,
}

/// The functions to register.
pub(crate) fn numeric_aggregates() -> Vec<AggregateUDF> {
    let takes =
        |own| TakesNumerics { own, signature: Signature::user_defined(Volatility::Immutable) };
    [sum_udaf(), avg_udaf()].map(|own| AggregateUDF::from(takes(own))).into()
}

impl AggregateUDFImpl for TakesNumerics {
    fn name(&self) -> &str {
        self.own.name()
    }

    // Under all names, or the library's would come back under them when a state is copied.
    fn aliases(&self) -> &[String] {
        self.own.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        let field = |kind: &DataType| {
            let kind = if kind.is_string() { &WIDE } else { kind };
            Arc::new(Field::new("value", kind.clone(), true)) as FieldRef
        };
        let fields: Vec<FieldRef> = kinds.iter().map(field).collect();
        let fields = fields_with_udf(&fields, self.own.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        self.own.return_type(kinds)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.own.accumulator(args)
    }
}

fn is_numeric(expr: &Expr, schema: &DFSchema) -> bool {
    expr.to_field(schema).is_ok_and(|(_, field)| pg_type::is_written_number(&field))
}

fn wide(expr: Expr) -> Expr {
    let to = Arc::new(Field::new("", WIDE, true));
    super::casts::cast_function(&DataType::Utf8View, to).call(vec![expr])
}

/// A number as text without zeros at its end.
fn shortest() -> Arc<datafusion::logical_expr::ScalarUDF> {
    fn kind(_: &Asked<'_>) -> std::result::Result<FieldRef, SqlError> {
        Ok(pg_type::field_ref(DataType::Utf8View, "numeric"))
    }
    fn run(call: &Call<'_>) -> std::result::Result<ArrayRef, SqlError> {
        let array = crate::sql::dialect::cast_array(
            call.arg(0)?,
            &Field::new("", WIDE, true),
            &call.moment(),
        )?;
        let texts = datafusion::arrow::compute::cast(&array, &DataType::Utf8View)?;
        let mut out = StringViewBuilder::with_capacity(texts.len());
        for text in texts.as_string_view() {
            out.append_option(text.map(|text| match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.'),
                false => text,
            }));
        }
        Ok(Arc::new(out.finish()))
    }
    Function::new("numeric_shortest", kind, run).udf()
}

/// Puts numbers where a plan has texts of numbers.
pub(super) fn plan_numerics(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match compared(node)? {
        LogicalPlan::Sort(mut sort) => {
            let schema = sort.input.schema().clone();
            let mut changed = false;
            for part in sort.expr.iter_mut().filter(|part| is_numeric(&part.expr, &schema)) {
                part.expr = wide(part.expr.clone());
                changed = true;
            }
            let sort = LogicalPlan::Sort(sort);
            Ok(if changed { Transformed::yes(sort) } else { Transformed::no(sort) })
        }
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate),
        LogicalPlan::Window(window) => windowed(window),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = LogicalPlan::Distinct(Distinct::All(Arc::new(canonical(&input)?)));
            Ok(Transformed::yes(input))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

/// `IN` over values and `BETWEEN` of numbers that are kept as texts.
fn compared(node: LogicalPlan) -> Result<LogicalPlan> {
    let compares = |part: &Expr| Ok(matches!(part, Expr::InList(_) | Expr::Between(_)));
    if !node.expressions().iter().any(|expr| expr.exists(compares).unwrap_or(false)) {
        return Ok(node);
    }
    let schema = super::casts::schema_of(&node);
    let names = NamePreserver::new(&node);
    let changed = node.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|part| Ok(as_numbers(part, &schema)))?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    });
    Ok(changed?.data)
}

fn as_numbers(part: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match part {
        Expr::InList(mut list) if is_numeric(&list.expr, schema) => {
            // Equal numbers have equal texts then.
            *list.expr = shortest().call(vec![*list.expr]);
            list.list = list.list.into_iter().map(|item| shortest().call(vec![item])).collect();
            Transformed::yes(Expr::InList(list))
        }
        Expr::Between(mut between) if is_numeric(&between.expr, schema) => {
            for side in [&mut between.expr, &mut between.low, &mut between.high] {
                **side = wide(std::mem::take(side.as_mut()));
            }
            Transformed::yes(Expr::Between(between))
        }
        other => Transformed::no(other),
    }
}

/// The same rows, equal numbers with equal texts.
fn canonical(input: &LogicalPlan) -> Result<LogicalPlan> {
    let columns = input.schema().columns();
    let schema = input.schema();
    if !columns.iter().any(|column| is_numeric(&Expr::Column(column.clone()), schema)) {
        return Ok(input.clone());
    }
    let columns = columns.into_iter().map(|column| {
        let expr = Expr::Column(column.clone());
        if !is_numeric(&expr, schema) {
            return expr;
        }
        shortest().call(vec![expr]).alias_qualified(column.relation, column.name)
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(input.clone()).project(columns)?.build()
}

/// The library's function for one that takes numbers as texts.
fn own(func: &Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match func.inner().downcast_ref::<TakesNumerics>() {
        Some(takes) => takes.own.clone(),
        None => func.clone(),
    }
}

/// An aggregate over numbers, and whether its result is one that was a text.
fn over_numbers(expr: Expr, schema: &DFSchema, numbers: &mut Vec<Expr>) -> Result<(Expr, bool)> {
    let Expr::AggregateFunction(AggregateFunction { func, mut params }) = expr else {
        return Ok((expr, false));
    };
    let func = own(&func);
    let mut was_text = false;
    for arg in params.args.iter_mut().filter(|arg| is_numeric(arg, schema)) {
        match func.name() {
            "sum" | "avg" | "min" | "max" => {
                // Computed below the aggregate, once for all functions over it.
                let number = wide(arg.clone());
                let place = numbers.iter().position(|other| *other == number);
                let place = place.unwrap_or_else(|| {
                    numbers.push(number);
                    numbers.len() - 1
                });
                *arg = Expr::Column(Column::from_name(format!("{NUMBER}{place}")));
                was_text = true;
            }
            _ if params.distinct => *arg = shortest().call(vec![arg.clone()]),
            _ => {}
        }
    }
    for part in params.order_by.iter_mut().filter(|part| is_numeric(&part.expr, schema)) {
        part.expr = wide(part.expr.clone());
    }
    Ok((Expr::AggregateFunction(AggregateFunction { func, params }), was_text))
}

/// What tells groups apart, where it is a number: a text, the same for equal numbers.
fn told_apart(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    if matches!(expr, Expr::GroupingSet(_)) || !is_numeric(expr, schema) {
        return None;
    }
    let (relation, name) = expr.qualified_name();
    Some(shortest().call(vec![expr.clone()]).alias_qualified(relation, name))
}

/// The input of an aggregate with numbers behind its own columns.
fn with_numbers(input: Arc<LogicalPlan>, numbers: Vec<Expr>) -> Result<Arc<LogicalPlan>> {
    if numbers.is_empty() {
        return Ok(input);
    }
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let numbers = numbers.into_iter().enumerate();
    let numbers = numbers.map(|(place, number)| number.alias(format!("{NUMBER}{place}")));
    let columns: Vec<Expr> = columns.chain(numbers).collect();
    let plan = LogicalPlanBuilder::from(input.as_ref().clone()).project(columns)?;
    Ok(Arc::new(plan.build()?))
}

/// The columns of an aggregate, as texts again where its functions gave texts before.
fn with_texts(plan: LogicalPlan, was_text: &[bool]) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let before = columns.len() - was_text.len();
    // What `grouping` is computed from is not there any more when that has been done.
    let is_shown = |(_, column): &(usize, Column)| column.name != Aggregate::INTERNAL_GROUPING_ID;
    let columns = columns.into_iter().enumerate().filter(is_shown).map(|(place, column)| {
        let is_text = place >= before && was_text.get(place - before) == Some(&true);
        let expr = Expr::Column(column.clone());
        if !is_text {
            return expr;
        }
        shortest().call(vec![expr]).alias_qualified(column.relation, column.name)
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

fn aggregated(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = aggregate.input.schema().clone();
    let mut was_text = Vec::new();
    let mut changed = false;
    let groups: Vec<Expr> = aggregate
        .group_expr
        .iter()
        .map(|expr| {
            let apart = told_apart(expr, &schema);
            changed |= apart.is_some();
            apart.unwrap_or_else(|| expr.clone())
        })
        .collect();
    let mut functions = Vec::with_capacity(aggregate.aggr_expr.len());
    let mut numbers = Vec::new();
    for expr in aggregate.aggr_expr {
        let before = expr.clone();
        let (relation, name) = expr.qualified_name();
        let (expr, text) = match expr {
            Expr::Alias(alias) => {
                let (inner, text) = over_numbers(*alias.expr, &schema, &mut numbers)?;
                (inner.alias_qualified(alias.relation, alias.name), text)
            }
            other => over_numbers(other, &schema, &mut numbers)?,
        };
        changed |= expr != before;
        let renamed = expr.qualified_name() != (relation.clone(), name.clone());
        functions.push(if renamed { expr.alias_qualified(relation, name) } else { expr });
        was_text.push(text);
    }
    if !changed {
        let plan =
            Aggregate::try_new_with_schema(aggregate.input, groups, functions, aggregate.schema)?;
        return Ok(Transformed::no(LogicalPlan::Aggregate(plan)));
    }
    let input = with_numbers(aggregate.input, numbers)?;
    let plan = Aggregate::try_new(input, groups, functions)?;
    let plan = LogicalPlan::Aggregate(plan);
    if !was_text.contains(&true) {
        return Ok(Transformed::yes(plan));
    }
    Ok(Transformed::yes(with_texts(plan, &was_text)?))
}

fn windowed(window: Window) -> Result<Transformed<LogicalPlan>> {
    let schema = window.input.schema().clone();
    let (mut changed, mut was_text, mut functions) = (false, Vec::new(), Vec::new());
    for expr in &window.window_expr {
        let mut function = match expr {
            Expr::WindowFunction(function) => function.clone(),
            _ => return Ok(Transformed::no(LogicalPlan::Window(window))),
        };
        let mut text = false;
        if let WindowFunctionDefinition::AggregateUDF(func) = &mut function.fun {
            *func = own(func);
            if matches!(func.name(), "sum" | "avg" | "min" | "max") {
                for arg in function.params.args.iter_mut().filter(|arg| is_numeric(arg, &schema)) {
                    *arg = wide(arg.clone());
                    text = true;
                }
            }
        }
        for part in &mut function.params.partition_by {
            if is_numeric(part, &schema) {
                *part = wide(part.clone());
            }
        }
        for part in &mut function.params.order_by {
            if is_numeric(&part.expr, &schema) {
                part.expr = wide(part.expr.clone());
            }
        }
        let function = Expr::WindowFunction(function);
        changed |= function != *expr;
        was_text.push(text);
        functions.push(function);
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let names = window.schema.columns();
    let plan =
        LogicalPlanBuilder::from(window.input.as_ref().clone()).window(functions)?.build()?;
    let before = names.len() - was_text.len();
    let columns = plan.schema().columns().into_iter().zip(names).enumerate();
    let columns = columns.map(|(place, (column, name))| {
        let expr = Expr::Column(column.clone());
        if place < before {
            return expr;
        }
        let is_text = was_text.get(place - before) == Some(&true);
        let expr = if is_text { shortest().call(vec![expr]) } else { expr };
        expr.alias_qualified(name.relation, name.name)
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(plan).project(columns)?.build()?))
}
