//! The columns that a FROM with such joins shows, as `*` has them, and the expression for each.

use super::Names;
use super::put::replace;
use crate::sql::dialect::rewrite::{call, folded};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias,
    TableFactor, TableWithJoins, Value,
};

/// A column that is shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) expr: Expr,
    /// Whether it stands for columns of several relations.
    pub(super) is_merged: bool,
}

/// The columns that are shown, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope(pub(super) Vec<Shown>);

impl Scope {
    /// The one column that is called so.
    fn find(&self, name: &str) -> Option<&Shown> {
        let mut found = self.0.iter().filter(|shown| shown.name == name);
        found.next().filter(|_| found.next().is_none())
    }

    /// What a name without a relation stands for, where it stands for several columns.
    pub(super) fn merged(&self, name: &str) -> Option<&Expr> {
        self.find(name).filter(|shown| shown.is_merged).map(|shown| &shown.expr)
    }

    pub(super) fn has_merged(&self) -> bool {
        self.0.iter().any(|shown| shown.is_merged)
    }
}

/// Puts the joins of one item of FROM; nothing where its names cannot be told apart.
pub(super) fn put_item(item: &mut TableWithJoins, names: &mut Names) -> Option<Scope> {
    let mut scope = put_factor(&mut item.relation, names)?;
    for join in &mut item.joins {
        let right = put_factor(&mut join.relation, names)?;
        scope = put_join(join, scope, right)?;
    }
    Some(scope)
}

fn put_factor(factor: &mut TableFactor, names: &mut Names) -> Option<Scope> {
    if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
        // One with a name hides those inside.
        return if alias.is_none() { put_item(table_with_joins, names) } else { None };
    }
    let relation = match factor {
        TableFactor::Table { name, alias, .. } => called(alias.as_ref(), Some(name)),
        TableFactor::Derived { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::TableFunction { alias, .. } => called(alias.as_ref(), None),
        _ => return None,
    };
    let columns = names.pop_front()?.into_iter().map(|name| {
        let parts = relation.iter().chain([&name]).map(|part| Ident::with_quote('"', part));
        let expr = Expr::CompoundIdentifier(parts.collect());
        Shown { name, expr, is_merged: false }
    });
    Some(Scope(columns.collect()))
}

fn called(alias: Option<&TableAlias>, name: Option<&ObjectName>) -> Option<String> {
    match alias {
        Some(alias) => Some(folded(&alias.name)),
        None => name?.0.last()?.as_ident().map(folded),
    }
}

/// Which side of a join a column of both is taken from.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    WhicheverHas,
}

fn put_join(join: &mut Join, left: Scope, right: Scope) -> Option<Scope> {
    use JoinOperator::{FullOuter, Inner, Left, LeftOuter, Right, RightOuter};
    let (side, constraint) = match &mut join.join_operator {
        JoinOperator::Join(on) | Inner(on) | Left(on) | LeftOuter(on) => (Side::Left, on),
        Right(on) | RightOuter(on) => (Side::Right, on),
        FullOuter(on) => (Side::WhicheverHas, on),
        _ => return Some(beside(left, right)),
    };
    let names: Vec<String> = match constraint {
        JoinConstraint::Using(names) => {
            let folded = names.iter().map(|name| Some(folded(name.0.last()?.as_ident()?)));
            folded.collect::<Option<_>>()?
        }
        JoinConstraint::Natural => {
            let both = left.0.iter().filter(|shown| right.0.iter().any(|r| r.name == shown.name));
            both.map(|shown| shown.name.clone()).collect()
        }
        JoinConstraint::On(condition) => {
            let both = beside(left, right);
            replace(condition, &both);
            return Some(both);
        }
        JoinConstraint::None => return Some(beside(left, right)),
    };
    let mut condition: Option<Expr> = None;
    let mut merged = Vec::with_capacity(names.len());
    for name in &names {
        let (of_left, of_right) = (left.find(name)?.expr.clone(), right.find(name)?.expr.clone());
        let equal = binary(of_left.clone(), BinaryOperator::Eq, of_right.clone());
        condition = Some(match condition {
            Some(before) => binary(before, BinaryOperator::And, equal),
            None => equal,
        });
        let expr = match side {
            Side::Left => of_left,
            Side::Right => of_right,
            Side::WhicheverHas => call("coalesce", vec![of_left, of_right]),
        };
        merged.push(Shown { name: name.clone(), expr, is_merged: true });
    }
    let always = || Expr::Value(Value::Boolean(true).into());
    *constraint = JoinConstraint::On(condition.unwrap_or_else(always));
    let rest = beside(left, right).0.into_iter().filter(|shown| !names.contains(&shown.name));
    merged.extend(rest);
    Some(Scope(merged))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

pub(super) fn beside(mut left: Scope, right: Scope) -> Scope {
    left.0.extend(right.0);
    left
}
