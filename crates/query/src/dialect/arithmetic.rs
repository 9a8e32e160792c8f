//! Arithmetic that says when a result does not fit. Whole numbers are added and subtracted in one pass that also finds
//! whether any result overflowed, so that the check costs no branch for each value.

use super::cast::arrow;
use super::casts::transform;
use super::extreme::float_extreme;
use super::sum::bigint_sum;
use crate::error::{SqlError, SqlState};
use crate::pg_type;
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

/// One side of an operator: values, or one value for all rows.
enum Side<'a, T: ArrowPrimitiveType> {
    Many(&'a PrimitiveArray<T>),
    One(T::Native),
}

fn side<T: ArrowPrimitiveType>(datum: &dyn Datum) -> Option<Side<'_, T>> {
    let (array, is_scalar) = datum.get();
    let array = array.as_primitive_opt::<T>()?;
    if is_scalar {
        (array.is_valid(0)).then(|| Side::One(array.value(0)))
    } else {
        Some(Side::Many(array))
    }
}

/// Applies `each`, which gives a result and a trace of an overflow, to all rows, and looks at all traces together only
/// once: so the processor can take several rows at a time. A row without a value may overflow: then it is looked at
/// again, row by row.
fn in_one_pass<T: ArrowPrimitiveType, F: Copy + Default + BitOr<Output = F>>(
    left: &dyn Datum,
    right: &dyn Datum,
    each: impl Fn(T::Native, T::Native) -> (T::Native, F),
    is_overflow: impl Fn(F) -> bool,
) -> Option<Result<ArrayRef, ()>> {
    let (left, right) = (side::<T>(left)?, side::<T>(right)?);
    let mut traces = F::default();
    let mut run = |a, b| {
        let (value, trace) = each(a, b);
        traces = traces | trace;
        value
    };
    let (values, nulls): (Vec<T::Native>, _) = match (&left, &right) {
        (Side::Many(a), Side::Many(b)) => {
            let nulls = datafusion::arrow::buffer::NullBuffer::union(a.nulls(), b.nulls());
            (a.values().iter().zip(b.values()).map(|(&a, &b)| run(a, b)).collect(), nulls)
        }
        (Side::Many(a), Side::One(b)) => {
            (a.values().iter().map(|&a| run(a, *b)).collect(), a.nulls().cloned())
        }
        (Side::One(a), Side::Many(b)) => {
            (b.values().iter().map(|&b| run(*a, b)).collect(), b.nulls().cloned())
        }
        (Side::One(a), Side::One(b)) => (vec![run(*a, *b)], None),
    };
    if is_overflow(traces) {
        return Some(Err(()));
    }
    Some(Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))))
}

/// What every operator over whole numbers of 32 and 64 bits does first: nothing where it is another one.
fn quick(op: Operator, left: &dyn Datum, right: &dyn Datum) -> Option<Result<ArrayRef, ()>> {
    // A sum has overflowed where its sign is neither term's; its trace is negative then.
    macro_rules! of {
        ($kind:ty, $native:ty, $multiply:expr) => {
            match op {
                Operator::Plus => in_one_pass::<$kind, $native>(
                    left,
                    right,
                    |a, b| {
                        let sum = a.wrapping_add(b);
                        (sum, (a ^ sum) & (b ^ sum))
                    },
                    |trace| trace < 0,
                ),
                Operator::Minus => in_one_pass::<$kind, $native>(
                    left,
                    right,
                    |a, b| {
                        let difference = a.wrapping_sub(b);
                        (difference, (a ^ b) & (a ^ difference))
                    },
                    |trace| trace < 0,
                ),
                Operator::Multiply => $multiply,
                _ => None,
            }
        };
    }
    match left.get().0.data_type() {
        DataType::Int32 => of!(
            Int32Type,
            i32,
            in_one_pass::<Int32Type, i64>(
                left,
                right,
                |a, b| {
                    let product = i64::from(a) * i64::from(b);
                    (product as i32, i64::from(product as i32) ^ product)
                },
                |trace| trace != 0,
            )
        ),
        DataType::Int64 => of!(
            Int64Type,
            i64,
            in_one_pass::<Int64Type, bool>(left, right, i64::overflowing_mul, |trace| trace)
        ),
        _ => None,
    }
}

/// Doubles: infinite where none of both was, and division by zero, are errors.
fn doubles<T: ArrowPrimitiveType>(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
    is_zero: fn(T::Native) -> bool,
    is_infinite: fn(T::Native) -> bool,
    apply: fn(T::Native, T::Native) -> T::Native,
) -> Option<Result<ArrayRef, ()>> {
    let divides = matches!(op, Operator::Divide | Operator::Modulo);
    let each = |a, b| {
        let value = apply(a, b);
        let wrong = is_infinite(value) && !is_infinite(a) && !is_infinite(b);
        (value, wrong || (divides && is_zero(b)))
    };
    in_one_pass::<T, bool>(left, right, each, |trace| trace)
}

fn quick_double(op: Operator, left: &dyn Datum, right: &dyn Datum) -> Option<Result<ArrayRef, ()>> {
    macro_rules! of {
        ($kind:ty, $native:ty) => {{
            let apply: fn($native, $native) -> $native = match op {
                Operator::Plus => |a, b| a + b,
                Operator::Minus => |a, b| a - b,
                Operator::Multiply => |a, b| a * b,
                Operator::Divide => |a, b| a / b,
                Operator::Modulo => |a, b| a % b,
                _ => return None,
            };
            doubles::<$kind>(op, left, right, |b| b == 0.0, |x| x.is_infinite(), apply)
        }};
    }
    match left.get().0.data_type() {
        DataType::Float64 => of!(Float64Type, f64),
        DataType::Float32 => of!(Float32Type, f32),
        _ => None,
    }
}

/// Row by row, for what the quick way does not know, and to find out whether a row that has a value is at fault.
fn slow(op: Operator, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, SqlError> {
    let kind = left.get().0.data_type().clone();
    if kind.is_floating() {
        return slow_double(op, left, right, &kind);
    }
    let result = match op {
        Operator::Plus => numeric::add(left, right),
        Operator::Minus => numeric::sub(left, right),
        Operator::Multiply => numeric::mul(left, right),
        Operator::Divide => numeric::div(left, right),
        _ => return remainder(left, right),
    };
    result.map_err(|error| match error {
        datafusion::arrow::error::ArrowError::DivideByZero => division_by_zero(),
        datafusion::arrow::error::ArrowError::ArithmeticOverflow(_) => overflow(&kind),
        other => arrow(other),
    })
}

/// The smallest number divided by -1 has no rest, though its quotient does not fit.
fn remainder(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, SqlError> {
    let kind = left.get().0.data_type().clone();
    match numeric::rem(left, right) {
        Err(datafusion::arrow::error::ArrowError::DivideByZero) => Err(division_by_zero()),
        Err(datafusion::arrow::error::ArrowError::ArithmeticOverflow(_)) => Err(overflow(&kind)),
        other => other.map_err(arrow),
    }
}

fn slow_double(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
    kind: &DataType,
) -> Result<ArrayRef, SqlError> {
    let wide = |datum: &dyn Datum| {
        let (array, is_scalar) = datum.get();
        let wide = datafusion::arrow::compute::cast(array, &DataType::Float64).map_err(arrow)?;
        Ok::<_, SqlError>((wide.as_primitive::<Float64Type>().clone(), is_scalar))
    };
    let ((a, a_one), (b, b_one)) = (wide(left)?, wide(right)?);
    let rows = if a_one { b.len() } else { a.len() };
    let mut out = Vec::with_capacity(rows);
    for row in 0..rows {
        let (a_row, b_row) = (if a_one { 0 } else { row }, if b_one { 0 } else { row });
        if a.is_null(a_row) || b.is_null(b_row) {
            out.push(None);
            continue;
        }
        let (x, y) = (a.value(a_row), b.value(b_row));
        let value = match op {
            Operator::Plus => x + y,
            Operator::Minus => x - y,
            Operator::Multiply => x * y,
            Operator::Divide | Operator::Modulo if y == 0.0 && !x.is_nan() => {
                return Err(division_by_zero());
            }
            Operator::Divide => x / y,
            _ => x % y,
        };
        let too_large = if *kind == DataType::Float32 {
            (value as f32).is_infinite()
        } else {
            value.is_infinite()
        };
        if too_large && x.is_finite() && y.is_finite() {
            return Err(overflow(kind));
        }
        out.push(Some(value));
    }
    let out: ArrayRef = Arc::new(PrimitiveArray::<Float64Type>::from_iter(out));
    datafusion::arrow::compute::cast(&out, kind).map_err(arrow)
}

pub(super) fn apply(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
) -> Result<ArrayRef, SqlError> {
    match quick(op, left, right).or_else(|| quick_double(op, left, right)) {
        Some(Ok(array)) => Ok(array),
        Some(Err(())) | None => slow(op, left, right),
    }
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
