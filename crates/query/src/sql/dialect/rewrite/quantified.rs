//! Rows that are looked for in a query (`(a, b) IN (SELECT …)`), and comparisons with all or any of
//! a query's values where it matters whether they are false or unknown.

use super::membership::{counted_cases, over_members_as};
use super::*;

/// The names under which the columns of a subquery are looked at.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("\u{1}member{number}")).collect()
}

fn column(name: &str) -> Expr {
    Expr::Identifier(Ident::with_quote('"', name))
}

/// Whether the parts of a row are those of a row of the query.
fn equal(parts: &[Expr], names: &[String]) -> Option<Expr> {
    let pairs = parts.iter().zip(names);
    pairs
        .map(|(part, name)| binary(column(name), BinaryOperator::Eq, nested(part.clone())))
        .reduce(|all, pair| binary(all, BinaryOperator::And, pair))
}

/// `(a, b) IN (query)` as a condition of WHERE.
pub(super) fn row_condition(parts: &[Expr], query: &Query, negated: bool) -> Option<Expr> {
    let names = names(parts.len());
    let equal = nested(equal(parts, &names)?);
    // A row that may be equal is enough for NOT IN to be no more than unknown.
    let condition = if negated { Expr::IsNotFalse(Box::new(equal)) } else { equal };
    let subquery = over_members_as(query.clone(), &names, "1", Some(condition))?;
    Some(Expr::Exists { subquery: Box::new(subquery), negated })
}

/// The same as a value.
pub(super) fn row_value(parts: &[Expr], query: &Query, negated: bool) -> Option<Expr> {
    let names = names(parts.len());
    let equal = nested(equal(parts, &names)?);
    counted_cases(query, &names, equal, !negated)
}

/// `value op ANY (query)` and `value op ALL (query)` as values.
pub(super) fn comparison(
    value: &Expr,
    op: &BinaryOperator,
    query: &Query,
    is_any: bool,
) -> Option<Expr> {
    let names = names(1);
    let holds = binary(nested(value.clone()), op.clone(), column(names.first()?));
    let decides = match is_any {
        true => nested(holds),
        false => nested(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(holds)) }),
    };
    counted_cases(query, &names, decides, is_any)
}
