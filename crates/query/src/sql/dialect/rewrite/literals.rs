//! Texts without a type that get one from their place: `'t' AND x`, `CASE x WHEN 't'`,
//! `x = ANY('{1,2}')`.

use super::*;

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

/// A text where a condition stands is true or false.
pub(super) fn condition(expr: &mut Expr) -> Result<(), SqlError> {
    if let Some(value) = literal(expr) {
        let boolean = datafusion::sql::sqlparser::ast::DataType::Boolean;
        *expr = crate::sql::dialect::cast_expr(text(value), &boolean)?;
    }
    Ok(())
}

/// `CASE x WHEN 'y'` as `CASE WHEN x = 'y'`, where the comparison gives the text its type.
pub(super) fn case(
    operand: &mut Option<Box<Expr>>,
    whens: &mut [datafusion::sql::sqlparser::ast::CaseWhen],
) {
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let Some(value) = operand.take_if(|value| is_column(value)) else { return };
    if !whens.iter().all(|when| literal(&when.condition).is_some()) {
        *operand = Some(value);
        return;
    }
    for when in whens {
        let text = when.condition.clone();
        when.condition = binary(value.as_ref().clone(), BinaryOperator::Eq, text);
    }
}

/// `x = ANY('{a,b}')` as `x IN ('a', 'b')`, and `x <> ALL('{a,b}')` as `x NOT IN ('a', 'b')`.
pub(super) fn any_of_text(expr: &Expr) -> Option<Expr> {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return None,
    };
    let elements = crate::values::parse::text_elements(literal(right)?)?;
    let item = |element: Option<String>| match element {
        Some(element) => text(&element),
        None => Expr::Value(Value::Null.into()),
    };
    let list: Vec<Expr> = elements.into_iter().map(item).collect();
    if list.is_empty() {
        return Some(Expr::Value(Value::Boolean(negated).into()));
    }
    Some(nested(Expr::InList { expr: left.clone(), list, negated }))
}

/// `'1.50'::numeric` has the digits that are written.
pub(super) fn exact_numeric(expr: &mut Expr) {
    use datafusion::sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo};
    const DIGITS_MAX: usize = 76;
    let Expr::Cast { expr: value, data_type, .. } = expr else { return };
    let (SqlType::Numeric(digits) | SqlType::Decimal(digits)) = data_type else { return };
    if !matches!(digits, ExactNumberInfo::None) {
        return;
    }
    let mut value = value.as_ref();
    while let Expr::Nested(inner) | Expr::UnaryOp { expr: inner, op: UnaryOperator::Minus } = value
    {
        value = inner;
    }
    let Expr::Value(literal) = value else { return };
    let text = match &literal.value {
        Value::Number(text, _) | Value::SingleQuotedString(text) => text.trim(),
        _ => return,
    };
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let precision = (whole.len() + fraction.len()).max(1);
    if are_digits(whole) && are_digits(fraction) && precision <= DIGITS_MAX {
        let (precision, scale) = (precision as u64, fraction.len() as i64);
        *digits = ExactNumberInfo::PrecisionAndScale(precision, scale);
    }
}
