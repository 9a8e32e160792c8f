//! Functions that give rows, in the SELECT list and in FROM.

mod beside;

use super::*;
use crate::sql::walk::WalkMut;
pub(super) use beside::name_column;
use beside::{listing, records, unnest_beside, with_ordinality};

/// Whether an expression names no column.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    let mut copy = expr.clone();
    let mut constant = true;
    let _finished: ControlFlow<()> = copy.each_expr_mut(&mut |expr| {
        constant &= !matches!(
            expr,
            Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::Subquery(_)
                | Expr::Exists { .. }
        );
        ControlFlow::Continue(())
    });
    constant
}

/// `SELECT generate_series(1, 10)` takes its rows from `FROM generate_series(1, 10)`, so that they
/// are made as they are asked for; functions that give rows of a row's columns become lists that
/// are unnested.
pub(super) fn sets_in_select(select: &mut Select) {
    let is_only = select.projection.iter().filter(|item| is_set(item)).count() == 1;
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && !matches!(expr, Expr::Function(_))
        {
            unnest_inner(expr);
        }
    }
    for item in &mut select.projection {
        unnest_root(item);
    }
    for item in &mut select.projection {
        select.from.extend(unnest_item(item, is_only));
    }
}

/// Whether a column of a SELECT is a function that gives rows.
fn is_set(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
        return false;
    };
    let Expr::Function(function) = expr else { return false };
    function.over.is_none() && is_set_returning(&function_name(function))
}

/// `(f(x)).field` of a function that gives rows.
fn unnest_root(item: &mut SelectItem) {
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
        && let Expr::CompoundFieldAccess { root, .. } = expr
        && let Expr::Nested(inner) = root.as_mut()
        && let Expr::Function(function) = inner.as_mut()
        && function.over.is_none()
        && is_set_returning(&function_name(function))
        && let Some(args) = args_of(function)
    {
        let list = call(&format!("{}_list", function_name(function)), args);
        **inner = call("unnest", vec![list]);
    }
}

/// A function that gives rows where a column stands. Where it is the only one, `generate_series` is
/// a relation of its own, which is given back.
fn unnest_item(item: &mut SelectItem, is_only: bool) -> Option<TableWithJoins> {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
        return None;
    };
    let Expr::Function(function) = expr else { return None };
    let name = function_name(function);
    if function.over.is_some() || !is_set_returning(&name) || name == "unnest" {
        return None;
    }
    let args = args_of(function)?;
    let relation = if name == "generate_series" && is_only && args.iter().all(is_constant) {
        let alias = format!("set_{name}");
        *expr = Expr::CompoundIdentifier(vec![Ident::new(&alias), Ident::new("value")]);
        Some(function_as_relation(&name, &alias, args))
    } else {
        *expr = call("unnest", vec![call(&format!("{name}_list"), args)]);
        None
    };
    if let SelectItem::UnnamedExpr(expr) = item {
        *item =
            SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
    }
    relation
}

/// `FROM name(args) AS alias (value)`.
fn function_as_relation(name: &str, alias: &str, args: Vec<Expr>) -> TableWithJoins {
    let column = TableAliasColumnDef { name: Ident::new("value"), data_type: None };
    let args =
        args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let relation = TableFactor::Table {
        name: ObjectName::from(vec![Ident::new(name)]),
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::new(alias),
            columns: vec![column],
            at: None,
        }),
        args: Some(datafusion::sql::sqlparser::ast::TableFunctionArgs { args, settings: None }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    TableWithJoins { relation, joins: Vec::new() }
}

/// Functions that give rows within an expression, but not in its subqueries.
fn unnest_inner(expr: &mut Expr) {
    let (Expr::BinaryOp { .. } | Expr::UnaryOp { .. } | Expr::Nested(_) | Expr::Cast { .. }) = expr
    else {
        return;
    };
    match expr {
        Expr::BinaryOp { left, right, .. } => {
            unnest_function(left);
            unnest_function(right);
        }
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) | Expr::Cast { expr, .. } => {
            unnest_function(expr);
        }
        _ => {}
    }
}

fn unnest_function(expr: &mut Expr) {
    let list = match expr {
        Expr::Function(function) if function.over.is_none() => {
            let name = function_name(function);
            args_of(function)
                .filter(|_| is_set_returning(&name) && name != "unnest")
                .map(|args| call(&format!("{name}_list"), args))
        }
        _ => None,
    };
    match list {
        Some(list) => *expr = call("unnest", vec![list]),
        None => unnest_inner(expr),
    }
}

/// The relation in a subquery that stands for a function in FROM.
pub(crate) const PAIRS: &str = "pairs_of_function";

/// The columns that a function in FROM has.
pub(super) fn columns_of_set(name: &str, alias: Option<&str>) -> Vec<String> {
    match name {
        "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text" => {
            vec!["key".to_owned(), "value".to_owned()]
        }
        "json_array_elements"
        | "jsonb_array_elements"
        | "json_array_elements_text"
        | "jsonb_array_elements_text" => vec!["value".to_owned()],
        _ => vec![alias.unwrap_or(name).to_owned()],
    }
}

/// `FROM json_array_elements(x) AS e` unnests a list.
pub(super) fn set_in_from(factor: &mut TableFactor) {
    name_column(factor);
    let other = listing(factor)
        .or_else(|| unnest_beside(factor))
        .or_else(|| records(factor))
        .or_else(|| with_ordinality(factor));
    if let Some(other) = other.or_else(|| unnest_factor(factor)) {
        *factor = other;
    }
}

/// What stands for a function in FROM that gives rows; nothing for another relation, and where the
/// function stays.
fn unnest_factor(factor: &mut TableFactor) -> Option<TableFactor> {
    let (name, args, alias, lateral) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (name, &args.args, alias, false)
        }
        TableFactor::Function { name, args, alias, lateral, .. } => (name, &*args, alias, *lateral),
        _ => return None,
    };
    // `pg_catalog.unnest` is `unnest`.
    if name.0.len() > 1 {
        name.0.drain(..name.0.len() - 1);
    }
    let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
    if !is_set_returning(&name) {
        return None;
    }
    let exprs: Option<Vec<Expr>> = args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let exprs = exprs?;
    if name == "unnest" {
        let mut unnested = TableFactor::UNNEST {
            alias: alias.clone(),
            array_exprs: exprs,
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
        name_column(&mut unnested);
        return Some(unnest_beside(&unnested).unwrap_or(unnested));
    }
    if name == "generate_series" && exprs.iter().all(is_constant) {
        // Its column is called what it is called itself.
        if let Some(alias) = alias
            && alias.columns.is_empty()
        {
            alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
        }
        return None;
    }
    unnested_list(&name, exprs, alias.as_ref(), lateral)
}

/// A subquery that unnests the list that a function gives.
fn unnested_list(
    name: &str,
    exprs: Vec<Expr>,
    alias: Option<&TableAlias>,
    lateral: bool,
) -> Option<TableFactor> {
    let given = alias.map(|alias| folded(&alias.name));
    let columns: Vec<String> =
        match alias.map(|alias| &alias.columns).filter(|columns| !columns.is_empty()) {
            Some(columns) => columns.iter().map(|column| folded(&column.name)).collect(),
            None => columns_of_set(name, given.as_deref()),
        };
    let alias = given.unwrap_or_else(|| name.to_owned());
    let is_beside = !exprs.iter().all(is_constant);
    let list = call(&format!("{name}_list"), exprs);
    let items: Vec<String> = if columns.len() == 2 {
        columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("json_pair_part(pair, {index}) AS {}", quoted(column)))
            .collect()
    } else {
        columns.iter().map(|column| format!("pair AS {}", quoted(column))).collect()
    };
    let text =
        format!("SELECT {} FROM (SELECT unnest({list}) AS pair) AS {PAIRS}", items.join(", "));
    Some(TableFactor::Derived {
        lateral: lateral || is_beside,
        subquery: query_of(&text)?,
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::with_quote('"', alias),
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    })
}

/// The query that a text is.
pub(crate) fn query_of(text: &str) -> Option<Box<Query>> {
    let mut statements = crate::sql::statement::parse(text).ok()?;
    let Some(crate::sql::statement::Statement::Df(statement)) = statements.pop() else {
        return None;
    };
    let DfStatement::Statement(statement) = *statement else { return None };
    match *statement {
        SqlStatement::Query(query) => Some(query),
        _ => None,
    }
}

/// A name as it is written in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
