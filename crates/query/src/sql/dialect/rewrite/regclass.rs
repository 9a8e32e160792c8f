//! `'name'::regclass`, and back: the numbers of relations for their names.

use super::{args_of, call, function_name, text};
use crate::catalog::postgres::{NAME_OF_OID, OID_OF_NAME, find, relations};
use crate::error::SqlError;
use crate::sql::session::Session;
use datafusion::sql::sqlparser::ast::Expr;

/// A cast to `regclass`, or of one to text, as a function; anything else is not touched.
pub(super) fn rewrite_regclass(expr: &mut Expr, session: Option<&Session>) -> Result<(), SqlError> {
    let Expr::Cast { expr: value, data_type, .. } = expr else { return Ok(()) };
    let name = data_type.to_string().to_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    if name == "regclass" {
        let literal = match value.as_ref() {
            Expr::Value(literal) => literal.value.clone().into_string(),
            _ => None,
        };
        // What only this session sees the function does not find.
        let own = literal.and_then(|name| own_relation(&name, session));
        let value = own.map_or_else(|| value.as_ref().clone(), |name| text(&name));
        *expr = call(OID_OF_NAME, vec![value]);
        return Ok(());
    }
    if matches!(name, "text" | "varchar" | "character varying" | "name")
        && let Expr::Function(function) = value.as_ref()
        && function_name(function) == OID_OF_NAME
        && let Some(args) = args_of(function)
    {
        *expr = call(NAME_OF_OID, args);
    }
    Ok(())
}

/// The number of a relation that the session has beside the catalog.
fn own_relation(name: &str, session: Option<&Session>) -> Option<String> {
    let session = session?;
    let overlay = session.overlay()?;
    let all = relations(&session.inner, &overlay);
    find(&all, name).map(|relation| relation.oid.to_string())
}
