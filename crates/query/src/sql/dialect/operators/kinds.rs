//! Kinds of operands.

use super::*;

/// What a side of an operator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text whose type is not said: it takes the other side's.
    Unknown,
    Null,
    Text,
    Number,
    Double,
    Decimal,
    Boolean,
    Bytes,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Json,
    Jsonb,
    /// A number as it was written.
    Numeric,
    Array,
    Other,
}

pub(super) fn kind_of(expr: &Expr, field: &Field) -> Kind {
    match expr {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Utf8View(_), _) => return Kind::Unknown,
        Expr::Literal(value, _) if value.is_null() && value.data_type().is_null() => {
            return Kind::Null;
        }
        _ => {}
    }
    match pg_type::declared(field) {
        Some("json") => return Kind::Json,
        Some("jsonb") => return Kind::Jsonb,
        Some("numeric") => return Kind::Numeric,
        _ => {}
    }
    match field.data_type() {
        DataType::Null => Kind::Null,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Kind::Text,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Kind::Double,
        kind if kind.is_decimal() => Kind::Decimal,
        kind if kind.is_integer() => Kind::Number,
        DataType::Boolean => Kind::Boolean,
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => Kind::Bytes,
        DataType::Date32 => Kind::Date,
        DataType::Time64(_) => Kind::Time,
        DataType::Timestamp(_, None) => Kind::Timestamp,
        DataType::Timestamp(_, Some(_)) => Kind::Timestamptz,
        DataType::Interval(_) | DataType::Duration(_) => Kind::Interval,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Kind::Array,
        _ => Kind::Other,
    }
}

pub(super) fn is_untyped(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(placeholder) if placeholder.field.is_none())
}

pub(super) fn timestamp() -> Field {
    Field::new("", DataType::Timestamp(TimeUnit::Microsecond, None), true)
}

pub(super) fn interval() -> Field {
    Field::new("", DataType::Interval(IntervalUnit::MonthDayNano), true)
}

/// Whether an expression is a constant that is not zero: then both zeros compare as they should.
pub(super) fn is_nonzero(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => *value != 0.0,
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => *value != 0.0,
        _ => false,
    }
}

pub(super) fn takes_text(kind: Kind) -> bool {
    use Kind::{
        Array, Boolean, Bytes, Date, Decimal, Double, Jsonb, Number, Time, Timestamp, Timestamptz,
    };
    matches!(
        kind,
        Array
            | Boolean
            | Bytes
            | Date
            | Decimal
            | Double
            | Jsonb
            | Number
            | Time
            | Timestamp
            | Timestamptz
    )
}

/// Digits after the point that a product may have: all others stand before it.
pub(super) const DIGITS_MAX: i8 = 38;

pub(super) fn digits_of(field: &Field) -> i8 {
    match field.data_type() {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}
