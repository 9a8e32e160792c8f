//! `IN` and `NOT IN` over queries. Nulls can make their answer unknown; they are written so that
//! the answer is Postgres'.

use super::*;
use crate::sql::walk::WalkMut;

/// A condition of WHERE. Of what stands there between ANDs it does not matter whether it is false
/// or unknown.
pub(super) fn conditions(condition: Expr) -> Expr {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            binary(conditions(*left), BinaryOperator::And, conditions(*right))
        }
        Expr::InSubquery { expr, subquery, negated } if matches!(*expr, Expr::Tuple(_)) => {
            let Expr::Tuple(parts) = expr.as_ref() else {
                return Expr::InSubquery { expr, subquery, negated };
            };
            let condition = quantified::row_condition(parts, &subquery, negated);
            condition.unwrap_or(Expr::InSubquery { expr, subquery, negated })
        }
        Expr::InSubquery { expr, subquery, negated: true }
            if matches!(*expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                || is_correlated(&subquery) =>
        {
            Expr::InSubquery { expr, subquery, negated: true }
        }
        Expr::InSubquery { expr, subquery, negated: true } => not_among(*expr, *subquery),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => match *expr {
            Expr::Nested(inner) if matches!(*inner, Expr::InSubquery { negated: false, .. }) => {
                match *inner {
                    Expr::InSubquery { expr, subquery, .. } if is_correlated(&subquery) => {
                        Expr::InSubquery { expr, subquery, negated: true }
                    }
                    Expr::InSubquery { expr, subquery, .. } => not_among(*expr, *subquery),
                    other => other,
                }
            }
            mut other => {
                memberships(&mut other);
                Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(other) }
            }
        },
        // A membership alone is a join.
        Expr::InSubquery { expr, subquery, negated: false } => {
            Expr::InSubquery { expr, subquery, negated: false }
        }
        mut other => {
            memberships(&mut other);
            // What cannot be read is refused where it is planned.
            let _read = super::literals::condition(&mut other);
            other
        }
    }
}

/// Whether a subquery names tables that are not its own.
pub(super) fn is_correlated(query: &Query) -> bool {
    let mut own = Vec::new();
    let mut copy = query.clone();
    struct Names<'a>(&'a mut Vec<String>);
    impl VisitorMut for Names<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            let (name, alias) = match factor {
                TableFactor::Table { name, alias, .. } => {
                    (name.0.last().and_then(|part| part.as_ident()).map(folded), alias)
                }
                TableFactor::Derived { alias, .. } => (None, alias),
                _ => (None, &mut None),
            };
            // A table under an alias has no other name.
            match alias {
                Some(alias) => self.0.push(folded(&alias.name)),
                None => self.0.extend(name),
            }
            ControlFlow::Continue(())
        }
    }
    let _finished = copy.walk_mut(&mut Names(&mut own));
    let mut correlated = false;
    let _finished: ControlFlow<()> = copy.each_expr_mut(&mut |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
        {
            correlated |= parts.first().is_some_and(|first| !own.contains(&folded(first)));
        }
        ControlFlow::Continue(())
    });
    correlated
}

/// The column under which a subquery's values are looked at.
pub(super) const MEMBER: &str = "\u{1}member";

/// `(query) AS members(member, …)`.
fn members(query: Query, names: &[String]) -> TableWithJoins {
    let column = |name: &String| datafusion::sql::sqlparser::ast::TableAliasColumnDef {
        name: Ident::with_quote('"', name),
        data_type: None,
    };
    TableWithJoins {
        relation: TableFactor::Derived {
            lateral: false,
            subquery: Box::new(query),
            alias: Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', "\u{1}members"),
                columns: names.iter().map(column).collect(),
                at: None,
            }),
            sample: None,
        },
        joins: Vec::new(),
    }
}

pub(super) fn member() -> Expr {
    Expr::Identifier(Ident::with_quote('"', MEMBER))
}

pub(super) fn is_null_expr(expr: Expr) -> Expr {
    nested(Expr::IsNull(Box::new(expr)))
}

/// A query over a subquery's values.
pub(super) fn over_members(query: Query, item: &str, condition: Option<Expr>) -> Option<Query> {
    over_members_as(query, &[MEMBER.to_owned()], item, condition)
}

/// The same over a subquery's rows, whose columns get names.
pub(super) fn over_members_as(
    query: Query,
    names: &[String],
    item: &str,
    condition: Option<Expr>,
) -> Option<Query> {
    let parsed =
        crate::sql::statement::parse(&format!("SELECT {item} FROM members")).ok()?.pop()?;
    let crate::sql::statement::Statement::Df(statement) = parsed else { return None };
    let DfStatement::Statement(statement) = *statement else { return None };
    let SqlStatement::Query(mut outer) = *statement else { return None };
    if let SetExpr::Select(select) = outer.body.as_mut() {
        select.from = vec![members(query, names)];
        select.selection = condition;
    }
    Some(*outer)
}

/// `x NOT IN (query)` as a condition: nothing there is equal or unknown.
pub(super) fn not_among(value: Expr, query: Query) -> Expr {
    let equal = nested(binary(member(), BinaryOperator::Eq, nested(value.clone())));
    let unknown =
        binary(is_null_expr(member()), BinaryOperator::Or, is_null_expr(nested(value.clone())));
    let condition = binary(equal, BinaryOperator::Or, unknown);
    match over_members(query.clone(), "1", Some(condition)) {
        Some(subquery) => Expr::Exists { subquery: Box::new(subquery), negated: true },
        None => {
            Expr::InSubquery { expr: Box::new(value), subquery: Box::new(query), negated: true }
        }
    }
}

/// Memberships where it matters whether they are false or unknown: counted instead of joined.
pub(super) fn memberships(expr: &mut Expr) {
    struct Counted;
    impl VisitorMut for Counted {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let counted = match expr {
                Expr::InSubquery { expr: value, subquery, negated } => match value.as_ref() {
                    Expr::Tuple(parts) => quantified::row_value(parts, subquery, *negated),
                    value => counted(value.clone(), subquery.as_ref().clone(), *negated),
                },
                Expr::AnyOp { left, compare_op, right, .. } => match right.as_ref() {
                    Expr::Subquery(query) => quantified::comparison(left, compare_op, query, true),
                    _ => None,
                },
                Expr::AllOp { left, compare_op, right } => match right.as_ref() {
                    Expr::Subquery(query) => quantified::comparison(left, compare_op, query, false),
                    _ => None,
                },
                _ => None,
            };
            if let Some(counted) = counted {
                *expr = counted;
            }
            ControlFlow::Continue(())
        }
    }
    let _finished = expr.walk_mut(&mut Counted);
}

fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).into())
}

/// What is neither true nor false.
fn unknown() -> Option<Expr> {
    let null = Expr::Value(Value::Null.into());
    crate::sql::dialect::cast_expr(null, &datafusion::sql::sqlparser::ast::DataType::Boolean).ok()
}

fn cases(cases: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    use datafusion::sql::sqlparser::ast::CaseWhen;
    use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
    let when = |(condition, result)| CaseWhen { condition, result };
    nested(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: cases.into_iter().map(when).collect(),
        else_result: Some(Box::new(otherwise)),
    })
}

/// Whether a query over a subquery's rows finds any.
fn finds_any(query: &Query, names: &[String], condition: Option<Expr>) -> Option<Expr> {
    let counted = over_members_as(query.clone(), names, "count(*)", condition)?;
    Some(nested(binary(Expr::Subquery(Box::new(counted)), BinaryOperator::Gt, number(0))))
}

/// A value that is decided by a row for which a condition holds, is unknown where for one it is
/// unknown, and the other way round where for all of them it is false.
pub(super) fn counted_cases(
    query: &Query,
    names: &[String],
    decides: Expr,
    decided: bool,
) -> Option<Expr> {
    let hits = finds_any(query, names, Some(decides.clone()))?;
    let maybe = finds_any(query, names, Some(is_null_expr(decides)))?;
    Some(cases(vec![(hits, boolean(decided)), (maybe, unknown()?)], boolean(!decided)))
}

fn counted(value: Expr, query: Query, negated: bool) -> Option<Expr> {
    let names = [MEMBER.to_owned()];
    let equal = binary(member(), BinaryOperator::Eq, nested(value.clone()));
    let hits = finds_any(&query, &names, Some(equal))?;
    let nulls = finds_any(&query, &names, Some(is_null_expr(member())))?;
    let any = finds_any(&query, &names, None)?;
    let empty_value = binary(any, BinaryOperator::And, is_null_expr(nested(value)));
    let parts = vec![(hits, boolean(!negated)), (empty_value, unknown()?), (nulls, unknown()?)];
    Some(cases(parts, boolean(negated)))
}
