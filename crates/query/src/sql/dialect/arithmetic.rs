//! Arithmetic that says when a result does not fit. Whole numbers are added and subtracted in one
//! pass. The same pass finds whether any result overflowed, so the check costs no branch for each
//! value.

mod quick;

use super::cast::arrow;
use super::casts::transform;
use super::extreme::float_extreme;
use super::sum::bigint_sum;
use crate::error::{SqlError, SqlState};
use crate::values::pg_type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum, PrimitiveArray, Scalar};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::*;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
pub(super) use quick::apply;
use std::ops::BitOr;
use std::sync::Arc;

/// An operator over numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    signature: Signature,
}

/// An operator over numbers as a function that refuses what does not fit.
pub(crate) fn checked(op: Operator) -> ScalarUDF {
    ScalarUDF::from(Checked { op, signature: Signature::user_defined(Volatility::Immutable) })
}

fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DivisionByZero, "division by zero")
}

fn overflow(kind: &DataType) -> SqlError {
    let what = match kind {
        kind if kind.is_floating() => "value out of range: overflow".to_owned(),
        kind => format!("{} out of range", pg_type::of_arrow(kind).element.sql),
    };
    SqlError::new(SqlState::NumericOutOfRange, what)
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            Operator::Multiply => "checked_multiply",
            Operator::Divide => "checked_divide",
            _ => "checked_modulo",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let kind =
            args.arg_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), kind, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(SqlError::new(SqlState::Internal, "an operator has two sides").into());
        };
        let kind = match left {
            ColumnarValue::Scalar(value) => value.data_type(),
            ColumnarValue::Array(array) => array.data_type().clone(),
        };
        let is_null =
            |side: &ColumnarValue| matches!(side, ColumnarValue::Scalar(value) if value.is_null());
        if is_null(left) || is_null(right) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&kind)?));
        }
        let both = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let scalar = |value: &ScalarValue| value.to_array().map(Scalar::new);
        let result = match (left, right) {
            (ColumnarValue::Array(a), ColumnarValue::Array(b)) => apply(self.op, a, b)?,
            (ColumnarValue::Array(a), ColumnarValue::Scalar(b)) => apply(self.op, a, &scalar(b)?)?,
            (ColumnarValue::Scalar(a), ColumnarValue::Array(b)) => apply(self.op, &scalar(a)?, b)?,
            (ColumnarValue::Scalar(a), ColumnarValue::Scalar(b)) => {
                apply(self.op, &a.to_array()?, &b.to_array()?)?
            }
        };
        if both {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Our own function in place of one of the library's, where that one is wrong for a type.
fn own_aggregate(
    func: &AggregateUDF,
    args: &[Expr],
    distinct: bool,
    schema: &DFSchema,
) -> DfResult<Option<Arc<AggregateUDF>>> {
    let [arg] = args else { return Ok(None) };
    Ok(match (func.name(), arg.get_type(schema)?) {
        ("sum", DataType::Int64) if !distinct => Some(bigint_sum()),
        (name, DataType::Float32 | DataType::Float64) => float_extreme(name),
        _ => None,
    })
}

fn replaced(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    if let Expr::Negative(inner) = &expr {
        let kind = inner.get_type(schema)?;
        if kind.is_integer() {
            let zero = ScalarValue::new_zero(&kind)?;
            let args = vec![Expr::Literal(zero, None), inner.as_ref().clone()];
            return Ok(Transformed::yes(checked(Operator::Minus).call(args)));
        }
        return Ok(Transformed::no(expr));
    }
    if let Expr::AggregateFunction(mut aggregate) = expr {
        let params = &aggregate.params;
        let own = own_aggregate(&aggregate.func, &params.args, params.distinct, schema)?;
        if let Some(own) = own.filter(|own| *own != aggregate.func) {
            aggregate.func = own;
            return Ok(Transformed::yes(Expr::AggregateFunction(aggregate)));
        }
        return Ok(Transformed::no(Expr::AggregateFunction(aggregate)));
    }
    if let Expr::WindowFunction(mut window) = expr {
        if let WindowFunctionDefinition::AggregateUDF(func) = &window.fun
            && let Some(own) =
                own_aggregate(func, &window.params.args, window.params.distinct, schema)?
            && own != *func
        {
            window.fun = WindowFunctionDefinition::AggregateUDF(own);
            return Ok(Transformed::yes(Expr::WindowFunction(window)));
        }
        return Ok(Transformed::no(Expr::WindowFunction(window)));
    }
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else {
        return Ok(Transformed::no(expr));
    };
    let is_arithmetic = matches!(
        op,
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
    );
    if is_arithmetic {
        let kind = left.get_type(schema)?;
        let number = kind.is_integer() || matches!(kind, DataType::Float32 | DataType::Float64);
        if number && kind == right.get_type(schema)? {
            return Ok(Transformed::yes(checked(op).call(vec![*left, *right])));
        }
    }
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// The rule; it runs when types are settled.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        transform(plan, &replaced)
    }

    fn name(&self) -> &str {
        "checked_arithmetic"
    }
}
