//! Calls of functions that are others here: aggregates over lists, advisory locks, words that are
//! values of the session.

use super::*;
use crate::functions::{COLLECTORS, advisory_function, first_name};
use crate::sql::backends::pid_of;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls of functions that are not to be made one of.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Words that are functions without parentheses.
pub(super) fn constant_of(name: &str, session: Option<&Session>) -> Option<Expr> {
    let user = || {
        session
            .and_then(|session| session.variable("session_authorization"))
            .unwrap_or_else(|| "thalweg".to_owned())
    };
    match name {
        "current_user" | "session_user" | "user" | "current_role" => Some(text(&user())),
        "pg_backend_pid" => session.map(|session| pid(session.number())),
        "current_catalog" => Some(text("thalweg")),
        "current_schema" => Some(text("public")),
        "localtimestamp" | "localtime" | "current_time" => Some(call(name, Vec::new())),
        _ => None,
    }
}

fn pid(number: u64) -> Expr {
    Expr::Value(Value::Number(pid_of(number).to_string(), false).into())
}

/// Rewrites a call.
pub(super) fn rewrite_function(expr: &mut Expr, session: Option<&Session>) -> Result<(), SqlError> {
    rewrite_call(expr, session)?;
    if let Expr::Function(function) = expr
        && let Some(first) = first_name(&function_name(function))
    {
        function.name = ObjectName::from(vec![Ident::with_quote('"', first)]);
    }
    Ok(())
}

fn rewrite_call(expr: &mut Expr, session: Option<&Session>) -> Result<(), SqlError> {
    let Expr::Function(function) = expr else { return Ok(()) };
    let name = function_name(function);
    if let Some(array) = array::array_of_query(&name, function)? {
        *expr = array;
        return Ok(());
    }
    // `pg_catalog.format_type` is `format_type`.
    if function.name.0.len() > 1 {
        function.name = ObjectName::from(vec![Ident::with_quote('"', name.clone())]);
    }
    if let Some(constant) =
        constant_of(&name, session).filter(|_| !name.starts_with("local") && name != "current_time")
    {
        *expr = constant;
        return Ok(());
    }
    let args = args_of(function);
    if let (Some(own), Some(args), Some(session)) = (advisory_function(&name), &args, session) {
        // Two calls that look alike are two calls.
        let numbers = [session.number(), CALLS.fetch_add(1, Ordering::Relaxed)];
        let numbers =
            numbers.map(|number| Expr::Value(Value::Number(number.to_string(), false).into()));
        *expr = call(own, numbers.into_iter().chain(args.iter().cloned()).collect());
        return Ok(());
    }
    let collector = COLLECTORS.iter().find(|(aggregate, _)| *aggregate == name);
    if let (Some((_, of_lists)), Some(args)) = (collector, &args) {
        *expr = collected(function, args, of_lists);
        return Ok(());
    }
    match (name.as_str(), args.as_deref()) {
        ("current_database", Some([])) => *expr = text("thalweg"),
        (
            "json_build_object" | "jsonb_build_object" | "json_build_array" | "jsonb_build_array",
            _,
        ) => {}
        ("grouping" | "coalesce" | "nullif", _) => {}
        ("array_agg" | "string_agg", _) => {}
        ("count", Some([Expr::Tuple(parts)])) if parts.len() == 1 => {}
        ("every", _) => function.name = ObjectName::from(vec![Ident::new("bool_and")]),
        ("string_to_array", Some([value, delimiter])) if is_null(delimiter) => {
            *expr = call("regexp_split_to_array", vec![value.clone(), text("")]);
        }
        _ => {}
    }
    Ok(())
}

/// An aggregate as a function of the lists of its arguments.
fn collected(aggregate: &Function, args: &[Expr], of_lists: &str) -> Expr {
    let list = |arg: &Expr| {
        let mut list = aggregate.clone();
        list.name = ObjectName::from(vec![Ident::new("array_agg")]);
        if let FunctionArguments::List(given) = &mut list.args {
            given.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(arg.clone()))];
        }
        Expr::Function(list)
    };
    call(of_lists, args.iter().map(list).collect())
}
