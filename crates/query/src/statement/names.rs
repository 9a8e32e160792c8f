//! Columns that are asked for twice: `SELECT 1, 1`. Postgres gives both the same name; DataFusion wants them apart, so the
//! second gets a number.

use datafusion::sql::sqlparser::ast::{Ident, SelectItem, SetExpr, Statement};
use std::collections::HashMap;

/// Names the columns of a query apart.
pub(crate) fn name_apart(statement: &mut Statement) {
    let Statement::Query(query) = statement else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in &mut select.projection {
        let (text, expr) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.to_string(), expr.clone()),
            SelectItem::ExprWithAlias { expr, alias } => (alias.value.clone(), expr.clone()),
            _ => continue,
        };
        let count = seen.entry(text.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let alias = Ident::with_quote('"', format!("{text}_{count}"));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}
