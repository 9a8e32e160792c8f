//! Arithmetic over columns, at the speed of memory where nothing overflows.

use super::*;

/// One side of an operator: values, or one value for all rows.
pub(super) enum Side<'a, T: ArrowPrimitiveType> {
    Many(&'a PrimitiveArray<T>),
    One(T::Native),
}

pub(super) fn side<T: ArrowPrimitiveType>(datum: &dyn Datum) -> Option<Side<'_, T>> {
    let (array, is_scalar) = datum.get();
    let array = array.as_primitive_opt::<T>()?;
    if is_scalar {
        (array.is_valid(0)).then(|| Side::One(array.value(0)))
    } else {
        Some(Side::Many(array))
    }
}

/// Applies `each`, which gives a result and a trace of an overflow, to all rows, and looks at all
/// traces together only once: so the processor can take several rows at a time. A row without a
/// value may overflow: then it is looked at again, row by row.
pub(super) fn in_one_pass<T: ArrowPrimitiveType, F: Copy + Default + BitOr<Output = F>>(
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

/// What every operator over whole numbers of 32 and 64 bits does first: nothing where it is another
/// one.
pub(super) fn quick(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
) -> Option<Result<ArrayRef, ()>> {
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
pub(super) fn doubles<T: ArrowPrimitiveType>(
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

pub(super) fn quick_double(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
) -> Option<Result<ArrayRef, ()>> {
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

/// Row by row, for what the quick way does not know, and to find out whether a row that has a value
/// is at fault.
pub(super) fn slow(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
) -> Result<ArrayRef, SqlError> {
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
pub(super) fn remainder(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, SqlError> {
    let kind = left.get().0.data_type().clone();
    match numeric::rem(left, right) {
        Err(datafusion::arrow::error::ArrowError::DivideByZero) => Err(division_by_zero()),
        Err(datafusion::arrow::error::ArrowError::ArithmeticOverflow(_)) => Err(overflow(&kind)),
        other => other.map_err(arrow),
    }
}

pub(super) fn slow_double(
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

pub(crate) fn apply(
    op: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
) -> Result<ArrayRef, SqlError> {
    match quick(op, left, right).or_else(|| quick_double(op, left, right)) {
        Some(Ok(array)) => Ok(array),
        Some(Err(())) | None => slow(op, left, right),
    }
}
