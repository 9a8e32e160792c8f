//! Names of columns of the row outside a subquery: `orders.customer = customer.id`. A relation
//! inside the subquery may have a column with the same name as the relation outside. Then
//! DataFusion takes `customer.id` for a field of that column (`sql_compound_identifier_to_expr`
//! looks inside first), and Postgres for a column of the relation. With its schema before it the
//! name has only one meaning.

use super::rewrite::folded;
use crate::sql::walk::WalkMut;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SetExpr, TableFactor, TableWithJoins, VisitorMut,
};
use std::ops::ControlFlow;

/// The schema of a relation that is named without one: a relation in FROM that has no schema fits
/// each.
const ANY: &str = "\u{2}any";

/// A relation of a FROM: what it is called, and the schema that it is named with.
type Named = (String, Ident);

/// Puts schemas before such names.
pub(super) fn qualify(statement: &mut DfStatement) {
    match statement {
        DfStatement::Statement(statement) => {
            let _finished = statement.walk_mut(&mut Qualifying(Vec::new()));
        }
        DfStatement::Explain(explain) => qualify(&mut explain.statement),
        _ => {}
    }
}

/// The relations of the queries that a walk is in, the innermost one last.
struct Qualifying(Vec<Vec<Named>>);

impl VisitorMut for Qualifying {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut names = Vec::new();
        note_body(&query.body, &mut names);
        self.0.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.0.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some((inside, outside)) = self.0.split_last()
            && !outside.is_empty()
            && let Expr::CompoundIdentifier(parts) = expr
            && let [relation, _] = parts.as_slice()
        {
            let name = folded(relation);
            let is_it = |named: &&Named| named.0 == name;
            if !inside.iter().any(|named| is_it(&named))
                && let Some((_, schema)) = outside.iter().rev().flatten().find(is_it)
            {
                parts.insert(0, schema.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

fn note_body(body: &SetExpr, names: &mut Vec<Named>) {
    match body {
        SetExpr::Select(select) => select.from.iter().for_each(|item| note_item(item, names)),
        SetExpr::SetOperation { left, right, .. } => {
            note_body(left, names);
            note_body(right, names);
        }
        _ => {}
    }
}

fn note_item(item: &TableWithJoins, names: &mut Vec<Named>) {
    for factor in std::iter::once(&item.relation).chain(item.joins.iter().map(|j| &j.relation)) {
        let any = || Ident::with_quote('"', ANY);
        let (alias, named) = match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                note_item(table_with_joins, names);
                (alias, None)
            }
            TableFactor::Table { name, alias, .. } => {
                let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident());
                let last = parts.next().map(folded);
                (alias, last.map(|last| (last, parts.next().cloned().unwrap_or_else(any))))
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::TableFunction { alias, .. } => (alias, None),
            _ => continue,
        };
        names.extend(alias.as_ref().map(|alias| (folded(&alias.name), any())).or(named));
    }
}
