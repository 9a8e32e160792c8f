//! Columns that every relation of Postgres has: `tableoid`, the number of the relation that a row
//! comes from, and those of its transactions, which tools read to see whether a row has changed.
//! Rows have no transactions here, so `xmin` is always 1 and the others are 0.

use super::super::rewrite::{call, folded};
use super::{name_of, relations_of};
use crate::catalog::postgres::OID_OF_NAME;
use crate::sql::walk::WalkMut;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Select, SelectItem, Statement, TableFactor, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Whether a name is that of such a column.
pub(super) fn is_one(name: &str) -> bool {
    matches!(name, "tableoid" | "xmin" | "xmax" | "cmin" | "cmax")
}

/// Puts numbers where such a column of a relation stands, or of the only one; whether there was
/// any.
pub(super) fn put(statement: &mut Statement, column: &str, relation: Option<&str>) -> bool {
    let mut oids = SystemColumn { column, relation, changed: false };
    let _finished = statement.walk_mut(&mut oids);
    oids.changed
}

/// Finds the SELECTs that read the relation.
struct SystemColumn<'a> {
    column: &'a str,
    relation: Option<&'a str>,
    changed: bool,
}

impl VisitorMut for SystemColumn<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let found = relations_of(select).find_map(|factor| match factor {
            TableFactor::Table { name, args: None, .. }
                if self
                    .relation
                    .is_none_or(|wanted| name_of(factor).as_deref() == Some(wanted)) =>
            {
                Some(name.to_string())
            }
            _ => None,
        });
        let Some(table) = found else { return ControlFlow::Continue(()) };
        let number = |number: &str| Expr::Value(Value::Number(number.to_owned(), false).into());
        let number = match self.column {
            "tableoid" => {
                let name = Expr::Value(Value::SingleQuotedString(table).into());
                call(OID_OF_NAME, vec![name])
            }
            "xmin" => number("1"),
            _ => number("0"),
        };
        let (column, relation) = (self.column, self.relation);
        let mut put = PutNumber { column, relation, number, changed: false };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && put.is_meant(expr)
            {
                let alias = Ident::with_quote('"', self.column);
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        let _finished = select.walk_mut(&mut put);
        self.changed |= put.changed;
        ControlFlow::Continue(())
    }
}

struct PutNumber<'a> {
    column: &'a str,
    relation: Option<&'a str>,
    number: Expr,
    changed: bool,
}

impl PutNumber<'_> {
    fn is_meant(&self, expr: &Expr) -> bool {
        match (expr, self.relation) {
            (Expr::Identifier(name), None) => folded(name) == self.column,
            (Expr::CompoundIdentifier(parts), Some(relation)) => match parts.as_slice() {
                [table, name] => folded(table) == relation && folded(name) == self.column,
                _ => false,
            },
            _ => false,
        }
    }
}

impl VisitorMut for PutNumber<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.is_meant(expr) {
            *expr = self.number.clone();
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}
