//! A long chain of operators as one function: `a + b - c`, of any length, is computed from the left
//! without recursion.

use super::arithmetic::apply;
use super::cast::{arrow, cast_array};
use crate::error::{SqlError, SqlState};
use crate::functions::{Asked, Call, Function, concatenated, returns_boolean};
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;

/// The function.
pub(crate) fn chain() -> Function {
    Function::new(crate::sql::statement::CHAIN, returns, run)
}

/// The function that stands before many conditions, and gives what they give.
pub(crate) fn all_of() -> Function {
    Function::new(crate::sql::statement::ALL_OF, returns_boolean, |call| {
        call.as_kind(0, &DataType::Boolean)
    })
}

fn operator(letter: char) -> Operator {
    match letter {
        '+' => Operator::Plus,
        '-' => Operator::Minus,
        '*' => Operator::Multiply,
        _ => Operator::StringConcat,
    }
}

/// A whole number as it is written is an integer where it fits.
fn kind_of(field: &Field, constant: Option<&ScalarValue>) -> DataType {
    match constant {
        Some(ScalarValue::Int64(Some(value))) if i32::try_from(*value).is_ok() => DataType::Int32,
        _ => field.data_type().clone(),
    }
}

/// The type that both sides get, and that of the result.
fn step(
    left: &DataType,
    op: Operator,
    right: &DataType,
) -> Result<(DataType, DataType, DataType), SqlError> {
    if op == Operator::StringConcat {
        return Ok((DataType::Utf8View, DataType::Utf8View, DataType::Utf8View));
    }
    let coercer = BinaryTypeCoercer::new(left, &op, right);
    let (left_input, right_input) = coercer.get_input_types()?;
    let result = coercer.get_result_type()?;
    Ok((left_input, right_input, result))
}

fn operators(asked: Option<&ScalarValue>) -> Result<Vec<Operator>, SqlError> {
    let text = asked.and_then(|value| value.try_as_str().flatten());
    let text =
        text.ok_or_else(|| SqlError::new(SqlState::Internal, "a chain without operators"))?;
    Ok(text.chars().map(operator).collect())
}

fn returns(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let operators = operators(asked.constant(0))?;
    let kinds = asked.fields.iter().zip(asked.constants).skip(1);
    let mut kinds = kinds.map(|(field, constant)| kind_of(field, *constant));
    let mut kind = kinds.next().unwrap_or(DataType::Null);
    for (op, right) in operators.into_iter().zip(kinds) {
        kind = step(&kind, op, &right)?.2;
    }
    crate::functions::returns(kind)
}

fn run(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let operators = operators(Some(&ScalarValue::try_from_array(call.arg(0)?, 0)?))?;
    let moment = call.moment();
    let cast = |array: &ArrayRef, kind: &DataType| {
        cast_array(array, &Field::new("", kind.clone(), true), &moment)
    };
    // As narrow as they are when they are written.
    let narrow = |array: &ArrayRef| -> Result<ArrayRef, SqlError> {
        if *array.data_type() == DataType::Int64 && *call.returns.data_type() == DataType::Int32 {
            return cast(array, &DataType::Int32);
        }
        Ok(array.clone())
    };
    let mut sum = narrow(call.arg(1)?)?;
    for (op, right) in operators.into_iter().zip(call.args.iter().skip(2)) {
        let right = narrow(right)?;
        let (left_kind, right_kind, _) = step(sum.data_type(), op, right.data_type())?;
        let (left, right) = (cast(&sum, &left_kind)?, cast(&right, &right_kind)?);
        sum = match op {
            Operator::StringConcat => concatenated(left.as_string_view(), right.as_string_view())?,
            Operator::Plus if left.data_type().is_decimal() => {
                numeric::add(&left, &right).map_err(arrow)?
            }
            Operator::Minus if left.data_type().is_decimal() => {
                numeric::sub(&left, &right).map_err(arrow)?
            }
            Operator::Multiply if left.data_type().is_decimal() => {
                numeric::mul(&left, &right).map_err(arrow)?
            }
            op => apply(op, &left, &right)?,
        };
    }
    cast(&sum, call.returns.data_type())
}
