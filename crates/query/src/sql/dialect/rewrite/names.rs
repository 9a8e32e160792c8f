//! What a statement or a condition names.

use super::*;

pub(super) struct Relations<'a>(&'a mut Vec<String>);

impl Visitor for Relations<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.0.extend(name.0.last().and_then(|part| part.as_ident()).map(folded));
        ControlFlow::Continue(())
    }
}

/// The relations that a statement names, without their schemas.
pub(crate) fn relations(statement: &DfStatement) -> Vec<String> {
    let mut names = Vec::new();
    if let DfStatement::Statement(statement) = statement {
        // It never breaks off.
        let _finished = statement.walk(&mut Relations(&mut names));
    }
    names
}

/// Whether a query reads a relation.
pub(crate) fn reads(query: &str, name: &str) -> bool {
    let parsed = crate::sql::statement::parse(query).unwrap_or_default();
    parsed.iter().any(|statement| match statement {
        crate::sql::statement::Statement::Df(statement) => {
            relations(statement).iter().any(|other| other == name)
        }
        _ => false,
    })
}

/// Whether a condition names a column.
pub(crate) fn mentions(condition: &str, column: &str) -> bool {
    let Ok(mut expr) = super::super::parse_expr(condition) else { return true };
    let mut found = false;
    let _finished: ControlFlow<()> = expr.each_expr_mut(&mut |expr| {
        found |= match expr {
            Expr::Identifier(name) => folded(name) == column,
            Expr::CompoundIdentifier(parts) => {
                parts.last().is_some_and(|name| folded(name) == column)
            }
            _ => false,
        };
        ControlFlow::Continue(())
    });
    found
}

pub(crate) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// How many columns a query has, where it says so itself.
pub(crate) fn width_of(query: &Query) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    select.projection.iter().all(plain).then_some(select.projection.len())
}
