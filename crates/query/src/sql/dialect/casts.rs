//! Puts Postgres' casts into plans in the place of Arrow's.

use super::cast::{cast_array, cast_scalar};
use super::{objects, times};
use crate::values::moment::{self, Moment};
use crate::values::pg_type;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// A cast from one type to another.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CastFunction {
    to: FieldRef,
    signature: Signature,
}

/// A cast as a function.
pub(crate) fn cast_function(from: &DataType, to: FieldRef) -> ScalarUDF {
    let has_zone = |kind: &DataType| matches!(kind, DataType::Timestamp(_, Some(_)));
    // What depends on the session's zone is not the same for everybody.
    let depends = has_zone(from) != has_zone(to.data_type());
    let volatility = if depends { Volatility::Stable } else { Volatility::Immutable };
    ScalarUDF::from(CastFunction { to, signature: Signature::user_defined(volatility) })
}

/// A cast as an expression; what it is becomes clear when the plan is analysed.
pub(crate) fn cast_to(expr: Expr, to: &Field) -> Expr {
    let to = Arc::new(to.clone().with_nullable(true));
    Expr::Cast(Cast::new_from_field(Box::new(expr), to))
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        "cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = args.config_options.execution.time_zone.as_deref().and_then(moment::zone);
        let zone = zone.unwrap_or_else(moment::utc);
        let now_us = Some(chrono::Utc::now().timestamp_micros());
        let formats = args.config_options.extensions.get::<moment::Formats>();
        let moment = Moment { now_us, zone, formats: formats.copied().unwrap_or_default() };
        match args.args.into_iter().next() {
            Some(ColumnarValue::Scalar(value)) => {
                let value = cast_scalar(&value, &self.to, &moment)?;
                if value.data_type() == *self.to.data_type() {
                    return Ok(ColumnarValue::Scalar(value));
                }
                // A value by itself would forget what its list's elements are called.
                let array = arrow_cast(&value.to_array()?, self.to.data_type())?;
                Ok(ColumnarValue::Scalar(match array.as_list_opt::<i32>() {
                    Some(list) => ScalarValue::List(Arc::new(list.clone())),
                    None => ScalarValue::try_from_array(&array, 0)?,
                }))
            }
            Some(ColumnarValue::Array(array)) => {
                let array = cast_array(&array, &self.to, &moment)?;
                // Ours are microseconds; where the planner wants other units, Arrow converts them.
                let array = match array.data_type() == self.to.data_type() {
                    true => array,
                    false => arrow_cast(&array, self.to.data_type())?,
                };
                Ok(ColumnarValue::Array(array))
            }
            None => Ok(ColumnarValue::Scalar(ScalarValue::Null)),
        }
    }

    fn preimage(
        &self,
        args: &[Expr],
        value: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        match (args, self.to.data_type()) {
            ([expr], DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                times::preimage(&expr.get_type(info.schema())?, expr, value)
            }
            _ => Ok(PreimageResult::None),
        }
    }
}

/// Gives values on as they are, and says of which of Postgres' types they are.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TypedFunction {
    field: FieldRef,
    signature: Signature,
}

impl ScalarUDFImpl for TypedFunction {
    fn name(&self) -> &str {
        "typed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(self.field.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let null = || ColumnarValue::Scalar(ScalarValue::Null);
        Ok(args.args.into_iter().next().unwrap_or_else(null))
    }
}

/// Whether an expression is NULL, of whatever type it has been made.
fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(cast) => is_null(&cast.expr),
        Expr::ScalarFunction(call) if call.name() == "cast" => call.args.iter().all(is_null),
        _ => false,
    }
}

/// What CASE and `coalesce` give is of the type of what they choose from. The library knows only
/// how it is stored: `json` would become `text`.
fn keeping_type(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let chosen: Vec<&Expr> = match &expr {
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            thens.chain(case.else_expr.as_deref()).collect()
        }
        Expr::ScalarFunction(call) if call.name() == "coalesce" => call.args.iter().collect(),
        _ => return Ok(Transformed::no(expr)),
    };
    let mut declared: Option<String> = None;
    for choice in chosen {
        let (_, field) = choice.to_field(schema)?;
        match (field.metadata().get(pg_type::TYPE_KEY), &declared) {
            _ if is_null(choice) || field.data_type().is_null() => {}
            (Some(kind), None) if !kind.starts_with("numeric") => declared = Some(kind.clone()),
            (Some(kind), Some(other)) if kind == other => {}
            _ => return Ok(Transformed::no(expr)),
        }
    }
    let Some(declared) = declared else { return Ok(Transformed::no(expr)) };
    let field = pg_type::field_ref(expr.get_type(schema)?, &declared);
    let typed = TypedFunction { field, signature: Signature::user_defined(Volatility::Immutable) };
    Ok(Transformed::yes(ScalarUDF::from(typed).call(vec![expr])))
}

/// Whether Arrow's cast says the same as Postgres', so that the planner's knowledge of it is kept.
fn is_plain(from: &DataType, to: &Field) -> bool {
    let kind = to.data_type();
    if to.metadata().contains_key(pg_type::TYPE_KEY) {
        return false;
    }
    if from == kind || (from.is_string() && kind.is_string()) {
        return true;
    }
    let wider = |from: &DataType, to: &DataType| from.primitive_width() <= to.primitive_width();
    match (from, kind) {
        (DataType::Null, _) => true,
        (from, kind) if from.is_integer() && kind.is_integer() => {
            from.is_signed_integer() == kind.is_signed_integer() && wider(from, kind)
        }
        (from, DataType::Float64) => from.is_integer() || *from == DataType::Float32,
        (from, DataType::Float32) => from.is_integer(),
        (from, DataType::Decimal128(precision, scale)) if from.is_integer() => {
            *precision as i8 - scale >= 20
        }
        (from, DataType::Decimal256(..)) if from.is_integer() => true,
        (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2))
        | (DataType::Decimal128(p1, s1), DataType::Decimal256(p2, s2)) => {
            s2 >= s1 && *p2 as i8 - s2 >= *p1 as i8 - s1
        }
        (DataType::Date32, DataType::Timestamp(_, None)) => false,
        (DataType::Dictionary(..), _) | (_, DataType::Dictionary(..)) => true,
        (DataType::Struct(_), DataType::Struct(_)) => true,
        _ => false,
    }
}

fn replaced(
    expr: Expr,
    schema: &DFSchema,
    relation_name: Option<&Arc<ScalarUDF>>,
) -> Result<Transformed<Expr>> {
    let (inner, to) = match expr {
        Expr::Cast(Cast { expr, field }) => (expr, field),
        other => return keeping_type(other, schema),
    };
    let to = times::cast_field(to);
    let (_, from_field) = inner.to_field(schema)?;
    let from = from_field.data_type().clone();
    if to.data_type().is_string()
        && let Some(name) = objects::naming(&from_field, relation_name)
    {
        return Ok(Transformed::yes(name.call(vec![*inner])));
    }
    // What the metadata says would stay with a cast that does nothing.
    let is_declared = from_field.metadata().contains_key(pg_type::TYPE_KEY);
    if !is_declared && is_plain(&from, &to) {
        return Ok(Transformed::no(Expr::Cast(Cast::new_from_field(inner, to))));
    }
    let to = Arc::new(to.as_ref().clone().with_nullable(true));
    // A number as it was written is a number before it is a whole one.
    if pg_type::is_written_number(&from_field) && to.data_type().is_integer() {
        let wide = super::operators::computed_numeric();
        let kind = wide.data_type().clone();
        let number = cast_function(&from, Arc::new(wide)).call(vec![*inner]);
        return Ok(Transformed::yes(cast_function(&kind, to).call(vec![number])));
    }
    Ok(Transformed::yes(cast_function(&from, to).call(vec![*inner])))
}

/// The rule; it runs when types are settled.
#[derive(Debug, Default)]
pub(crate) struct PostgresCasts {
    /// The function that names the relation of a number, where there is a catalog.
    pub(crate) relation_name: Option<Arc<ScalarUDF>>,
}

/// The columns that a node's expressions may name.
pub(super) fn schema_of(plan: &LogicalPlan) -> DFSchema {
    let inputs = plan.inputs();
    if inputs.is_empty() {
        return match plan {
            LogicalPlan::TableScan(scan) => {
                // Conditions may name columns that are not read.
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())
                    .unwrap_or_else(|_| plan.schema().as_ref().clone())
            }
            _ => plan.schema().as_ref().clone(),
        };
    }
    merge_schema(&inputs)
}

/// Changes all expressions of a plan from the bottom up; names stay what they were.
pub(super) fn transform(
    plan: LogicalPlan,
    change: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let transformed = plan.transform_up_with_subqueries(|node| {
        // A limit is a number of its own kind.
        if matches!(node, LogicalPlan::Limit(_)) {
            return node.recompute_schema().map(Transformed::yes);
        }
        let schema = schema_of(&node);
        let names = NamePreserver::new(&node);
        let mapped = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| change(expr, &schema))?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })?;
        // Types below may have changed.
        times::with_schema(mapped.data.recompute_schema()?).map(Transformed::yes)
    })?;
    Ok(transformed.data)
}

impl AnalyzerRule for PostgresCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        transform(plan, &|expr, schema| replaced(expr, schema, self.relation_name.as_ref()))
    }

    fn name(&self) -> &str {
        "postgres_casts"
    }
}
