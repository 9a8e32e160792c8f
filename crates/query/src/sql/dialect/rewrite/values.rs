//! The rows of VALUES: a column has one type in all rows, and a row that says the type says it for
//! all.

use datafusion::sql::sqlparser::ast::{CastKind, Expr, Value, Values};

/// Literals without a type of their own get the one that a cast gives the same column in another
/// row.
pub(super) fn share_types(values: &mut Values) {
    let width = values.rows.iter().map(|row| row.len()).min().unwrap_or(0);
    for column in 0..width {
        let cast = values.rows.iter().find_map(|row| match row.get(column) {
            Some(Expr::Cast { data_type, .. }) => Some(data_type.clone()),
            _ => None,
        });
        let Some(data_type) = cast else { continue };
        for cell in values.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            if is_untyped(cell) {
                let inner = std::mem::replace(cell, Expr::Value(Value::Null.into()));
                *cell = Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(inner),
                    data_type: data_type.clone(),
                    array: false,
                    format: None,
                };
            }
        }
    }
}

fn is_untyped(cell: &Expr) -> bool {
    matches!(cell, Expr::Value(value) if matches!(value.value,
        Value::Null | Value::SingleQuotedString(_)))
}
