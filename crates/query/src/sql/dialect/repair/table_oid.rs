//! `tableoid`: the number of the relation that a row comes from.

use super::super::rewrite::{call, folded};
use super::{name_of, relations_of};
use crate::catalog::postgres::OID_OF_NAME;
use crate::sql::walk::WalkMut;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Select, SelectItem, Statement, TableFactor, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Puts numbers where `tableoid` of a relation stands, or of the only one; whether there was any.
pub(super) fn put(statement: &mut Statement, relation: Option<&str>) -> bool {
    let mut oids = TableOid { relation, changed: false };
    let _finished = statement.walk_mut(&mut oids);
    oids.changed
}

/// Finds the SELECTs that read the relation.
struct TableOid<'a> {
    relation: Option<&'a str>,
    changed: bool,
}

impl VisitorMut for TableOid<'_> {
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
        let name = Expr::Value(Value::SingleQuotedString(table).into());
        let mut put = PutTableOid {
            relation: self.relation,
            oid: call(OID_OF_NAME, vec![name]),
            changed: false,
        };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && put.is_meant(expr)
            {
                let alias = Ident::with_quote('"', "tableoid");
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        let _finished = select.walk_mut(&mut put);
        self.changed |= put.changed;
        ControlFlow::Continue(())
    }
}

struct PutTableOid<'a> {
    relation: Option<&'a str>,
    oid: Expr,
    changed: bool,
}

impl PutTableOid<'_> {
    fn is_meant(&self, expr: &Expr) -> bool {
        match (expr, self.relation) {
            (Expr::Identifier(name), None) => folded(name) == "tableoid",
            (Expr::CompoundIdentifier(parts), Some(relation)) => match parts.as_slice() {
                [table, name] => folded(table) == relation && folded(name) == "tableoid",
                _ => false,
            },
            _ => false,
        }
    }
}

impl VisitorMut for PutTableOid<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.is_meant(expr) {
            *expr = self.oid.clone();
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}
