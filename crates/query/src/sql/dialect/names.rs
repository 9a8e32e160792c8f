//! The names of columns without an alias, as Postgres chooses them (`count`, `?column?`).
//! DataFusion wants the names in a query to differ, so the second column of a name gets an ending,
//! which is removed before the client sees it.

use crate::catalog::postgres::{NAME_OF_OID, OID_OF_NAME};
use crate::sql::statement::{ALL_OF, CHAIN};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    DataType as SqlType, Expr, Function, Ident, ObjectNamePart, Query, SelectItem, SetExpr, Value,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Begins the ending that tells columns of one name apart.
const MARK: char = '\u{2}';

/// A name that differs from others of its kind.
pub(crate) fn distinct(name: &str, number: usize) -> String {
    format!("{name}{MARK}{number}")
}

/// The columns of an answer by the names that clients see.
pub(crate) fn shown(schema: &SchemaRef) -> SchemaRef {
    if !schema.fields().iter().any(|field| field.name().contains(MARK)) {
        return schema.clone();
    }
    let fields = schema.fields().iter().map(|field| {
        let name = field.name().split(MARK).next().unwrap_or_default();
        Arc::new(field.as_ref().clone().with_name(name))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn of_ident(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The name of a type as `pg_type` has it.
fn of_type(kind: &SqlType) -> Option<String> {
    if let SqlType::Array(_) = kind {
        return None;
    }
    let kind = crate::values::types::ColumnType::of_sql(kind).ok()?;
    Some(crate::values::pg_type::of_field(&kind.field("", true)).element.name.to_owned())
}

/// Whether a function gives a field of a row.
fn is_field(function: &Function) -> bool {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident);
    name.is_some_and(|name| name.value == super::rewrite::FIELD)
}

/// Whether a function stands for operators.
fn is_operators(function: &Function) -> bool {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident);
    name.is_some_and(|name| matches!(name.value.as_str(), CHAIN | ALL_OF))
}

/// What an expression says about its name, and whether it says it for sure.
fn found(expr: &Expr) -> Option<(String, bool)> {
    let sure = |name: &str| Some((name.to_owned(), true));
    match expr {
        Expr::Identifier(ident) => Some((of_ident(ident), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|last| (of_ident(last), true)),
        Expr::CompoundFieldAccess { root, .. } => found(root),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => found(inner),
        Expr::AtTimeZone { .. } => sure("timezone"),
        Expr::Function(function) => of_function(function),
        Expr::Cast { expr, data_type, .. } => match found(expr) {
            Some((name, true)) => Some((name, true)),
            _ => of_type(data_type).map(|name| (name, false)),
        },
        Expr::TypedString(typed) => of_type(&typed.data_type).map(|name| (name, false)),
        Expr::Interval(_) => Some(("interval".to_owned(), false)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(found) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        Expr::Value(value) => match &value.value {
            Value::Boolean(_) => Some(("bool".to_owned(), false)),
            _ => None,
        },
        Expr::Array(_) => sure("array"),
        Expr::Tuple(_) => sure("row"),
        Expr::Exists { .. } => sure("exists"),
        Expr::Extract { .. } => sure("extract"),
        Expr::Substring { .. } => sure("substring"),
        Expr::Position { .. } => sure("position"),
        Expr::Overlay { .. } => sure("overlay"),
        Expr::Trim { trim_where, .. } => sure(match trim_where {
            Some(datafusion::sql::sqlparser::ast::TrimWhereField::Leading) => "ltrim",
            Some(datafusion::sql::sqlparser::ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Ceil { .. } => sure("ceil"),
        Expr::Floor { .. } => sure("floor"),
        Expr::Subquery(query) => of_query(query).map(|name| (name, true)),
        _ => None,
    }
}

/// What a call says about its name, and whether it says it for sure.
fn of_function(function: &Function) -> Option<(String, bool)> {
    if is_field(function) {
        let name = super::rewrite::args_of(function)?.pop()?;
        return match name {
            Expr::Value(value) => Some((value.value.into_string()?, true)),
            _ => None,
        };
    }
    if is_operators(function) {
        return None;
    }
    function.name.0.last().map(|part| match part {
        ObjectNamePart::Identifier(ident) => {
            let name = of_ident(ident);
            let name = name.split(MARK).next().unwrap_or_default();
            // Functions that stand for a cast, and for ARRAY(…).
            match name {
                OID_OF_NAME => ("regclass".to_owned(), false),
                NAME_OF_OID => ("text".to_owned(), false),
                "array_or_empty" => ("array".to_owned(), true),
                name => (name.to_owned(), true),
            }
        }
        other => (other.to_string(), true),
    })
}

/// The name of a subquery's only column.
fn of_query(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::ExprWithAlias { alias, .. } => {
            Some(of_ident(alias).split(MARK).next()?.to_owned())
        }
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        _ => None,
    }
}

/// What Postgres calls a column that is this expression.
pub(crate) fn name_of(expr: &Expr) -> String {
    found(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// Whether DataFusion names a column as Postgres does.
fn is_named_alike(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// Functions that a rewrite turns into values or into other functions.
const REWRITTEN: &[&str] = &[
    "current_catalog",
    "current_database",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "row_to_json",
    "session_user",
    "user",
];

/// Names what would not be known by its name any more once it is rewritten.
pub(super) fn name_early(items: &mut [SelectItem]) {
    for item in items {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let word = match &*expr {
            Expr::Identifier(ident) if ident.quote_style.is_none() => Some(ident),
            Expr::Function(function) => function.name.0.last().and_then(ObjectNamePart::as_ident),
            _ => None,
        };
        let name = word.map(|word| word.value.to_lowercase());
        if let Some(name) = name.filter(|name| REWRITTEN.contains(&name.as_str())) {
            let alias = Ident::with_quote('"', name);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

/// Names the columns of one SELECT.
pub(super) fn name_items(items: &mut [SelectItem]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in items {
        let (name, expr) = match item {
            SelectItem::UnnamedExpr(expr) => (name_of(expr), expr.clone()),
            SelectItem::ExprWithAlias { expr, alias } => (of_ident(alias), expr.clone()),
            _ => continue,
        };
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        let is_first = *count == 1;
        match item {
            SelectItem::UnnamedExpr(expr) if is_first && is_named_alike(expr) => {}
            SelectItem::ExprWithAlias { .. } if is_first => {}
            _ => {
                let text = if is_first { name } else { distinct(&name, *count) };
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', text) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;
    use crate::sql::dialect::parse_expr;

    #[test]
    fn columns_are_called_what_postgres_calls_them() {
        for (text, expected) in [
            ("1", "?column?"),
            ("a", "a"),
            ("t.a", "a"),
            ("A", "a"),
            ("\"A\"", "A"),
            ("a + 1", "?column?"),
            ("count(*)", "count"),
            ("sum(x)", "sum"),
            ("1::int", "int4"),
            ("a::text", "a"),
            ("cast(1.5 as numeric(3, 1))", "numeric"),
            ("date '2024-01-01'", "date"),
            ("case when a then b end", "case"),
            ("case when a then b else c end", "c"),
            ("true", "bool"),
            ("array[1]", "array"),
            ("exists (select 1)", "exists"),
            ("(select max(x) from t)", "max"),
            ("extract(year from d)", "extract"),
        ] {
            assert_eq!(name_of(&parse_expr(text).expect(text)), expected, "{text}");
        }
    }
}
