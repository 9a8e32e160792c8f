//! Functions that give rows, in the SELECT list and where a table stands.

use super::*;
use crate::walk::WalkMut;

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

/// `SELECT generate_series(1, 10)` takes its rows from `FROM generate_series(1, 10)`, so that they are made as they
/// are asked for; functions that give rows of a row's columns become lists that are unnested.
pub(super) fn sets_in_select(select: &mut Select) {
    let mut sets = 0;
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let Expr::Function(function) = expr else { continue };
        let name = function_name(function);
        if function.over.is_none() && is_set_returning(&name) {
            sets += 1;
        }
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && !matches!(expr, Expr::Function(_))
        {
            unnest_inner(expr);
        }
    }
    // `(f(x)).field` of a function that gives rows.
    for item in &mut select.projection {
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
    for item in &mut select.projection {
        let original = item.clone();
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let Expr::Function(function) = expr else { continue };
        let name = function_name(function);
        if function.over.is_some() || !is_set_returning(&name) || name == "unnest" {
            continue;
        }
        let Some(args) = args_of(function) else { continue };
        if name == "generate_series" && sets == 1 && args.iter().all(is_constant) {
            let alias = format!("set_{name}");
            select.from.push(TableWithJoins {
                relation: TableFactor::Table {
                    name: ObjectName::from(vec![Ident::new(&name)]),
                    alias: Some(TableAlias {
                        explicit: true,
                        name: Ident::new(&alias),
                        columns: vec![datafusion::sql::sqlparser::ast::TableAliasColumnDef {
                            name: Ident::new("value"),
                            data_type: None,
                        }],
                        at: None,
                    }),
                    args: Some(datafusion::sql::sqlparser::ast::TableFunctionArgs {
                        args: args
                            .into_iter()
                            .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
                            .collect(),
                        settings: None,
                    }),
                    with_hints: Vec::new(),
                    version: None,
                    with_ordinality: false,
                    partitions: Vec::new(),
                    json_path: None,
                    sample: None,
                    index_hints: Vec::new(),
                },
                joins: Vec::new(),
            });
            *expr = Expr::CompoundIdentifier(vec![Ident::new(&alias), Ident::new("value")]);
        } else {
            *expr = call("unnest", vec![call(&format!("{name}_list"), args)]);
        }
        if let (SelectItem::UnnamedExpr(_), SelectItem::UnnamedExpr(expr)) = (&original, &*item) {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: Ident::with_quote('"', name),
            };
        }
    }
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
    if let Some(listing) = listing(factor) {
        *factor = listing;
        return;
    }
    if let Some(beside) = unnest_beside(factor) {
        *factor = beside;
        return;
    }
    if let Some(records) = records(factor) {
        *factor = records;
        return;
    }
    if let Some(numbered) = with_ordinality(factor) {
        *factor = numbered;
        return;
    }
    let (name, args, alias, lateral) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (name, &args.args, alias, false)
        }
        TableFactor::Function { name, args, alias, lateral, .. } => (name, &*args, alias, *lateral),
        _ => return,
    };
    // `pg_catalog.unnest` is `unnest`.
    if name.0.len() > 1 {
        name.0.drain(..name.0.len() - 1);
    }
    let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
    if !is_set_returning(&name) {
        return;
    }
    let exprs: Option<Vec<Expr>> = args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let Some(exprs) = exprs else { return };
    if name == "unnest" {
        let mut unnested = TableFactor::UNNEST {
            alias: alias.clone(),
            array_exprs: exprs,
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
        name_column(&mut unnested);
        *factor = unnest_beside(&unnested).unwrap_or(unnested);
        return;
    }
    if name == "generate_series" && exprs.iter().all(is_constant) {
        // Its column is called what it is called itself.
        if let Some(alias) = alias
            && alias.columns.is_empty()
        {
            alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
        }
        return;
    }
    let given = alias.as_ref().map(|alias| folded(&alias.name));
    let columns = match alias
        .as_ref()
        .map(|alias| alias.columns.clone())
        .filter(|columns| !columns.is_empty())
    {
        Some(columns) => columns.iter().map(|column| folded(&column.name)).collect(),
        None => columns_of_set(&name, given.as_deref()),
    };
    let alias = given.unwrap_or_else(|| name.clone());
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
    let Some(query) = query_of(&text) else { return };
    *factor = TableFactor::Derived {
        lateral: lateral || is_beside,
        subquery: query,
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::with_quote('"', alias),
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    };
}

/// The query that a text is.
pub(crate) fn query_of(text: &str) -> Option<Box<Query>> {
    let mut statements = crate::statement::parse(text).ok()?;
    let Some(crate::statement::Statement::Df(statement)) = statements.pop() else { return None };
    let DfStatement::Statement(statement) = *statement else { return None };
    match *statement {
        SqlStatement::Query(query) => Some(query),
        _ => None,
    }
}

/// Functions that list what a table of the catalog has.
fn listing(factor: &TableFactor) -> Option<TableFactor> {
    let (name, args, alias) = args_of_factor(factor)?;
    let table = match name.as_str() {
        "pg_show_all_settings" => "pg_settings",
        "pg_available_extensions" => "pg_available_extensions",
        "pg_lock_status" => "pg_locks",
        _ => return None,
    };
    if !args.is_empty() {
        return None;
    }
    let alias = alias.map_or_else(|| name.clone(), |alias| folded(&alias.name));
    let subquery = query_of(&format!("SELECT * FROM pg_catalog.{table}"))?;
    let name = Ident::with_quote('"', alias);
    let alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    Some(TableFactor::Derived { lateral: false, subquery, alias, sample: None })
}

/// `FROM json_to_recordset(x) AS r (a int)`: the fields of each object of an array, as the types that are named;
/// `json_to_record` takes one object.
fn records(factor: &TableFactor) -> Option<TableFactor> {
    let (name, args, alias) = args_of_factor(factor)?;
    let is_list = match name.as_str() {
        "json_to_recordset" | "jsonb_to_recordset" => true,
        "json_to_record" | "jsonb_to_record" => false,
        _ => return None,
    };
    let ([document], Some(alias)) = (args.as_slice(), alias) else { return None };
    let field = |column: &TableAliasColumnDef| {
        let kind = column.data_type.as_ref()?.to_string();
        let name = folded(&column.name);
        let is_json = matches!(kind.to_ascii_lowercase().as_str(), "json" | "jsonb");
        let arrow = if is_json { "->" } else { "->>" };
        let key = name.replace('\'', "''");
        Some(format!("CAST(object {arrow} '{key}' AS {kind}) AS {}", quoted(&name)))
    };
    let fields = alias.columns.iter().map(field).collect::<Option<Vec<_>>>()?;
    if fields.is_empty() {
        return None;
    }
    let object = match is_list {
        true => format!("unnest(jsonb_array_elements_list(({document})::jsonb))"),
        false => format!("({document})::jsonb"),
    };
    let text = format!("SELECT {} FROM (SELECT {object} AS object) AS objects", fields.join(", "));
    let name = alias.name;
    Some(TableFactor::Derived {
        lateral: !is_constant(document),
        subquery: query_of(&text)?,
        alias: Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None }),
        sample: None,
    })
}

/// A name as it is written in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `FROM unnest(x) WITH ORDINALITY` as two lists that are unnested together.
fn with_ordinality(factor: &TableFactor) -> Option<TableFactor> {
    let (list, name, alias) = match factor {
        TableFactor::UNNEST { alias, array_exprs, with_ordinality: true, .. } => {
            match array_exprs.as_slice() {
                [list] => (list.clone(), "unnest".to_owned(), alias.clone()),
                _ => return None,
            }
        }
        TableFactor::Table { with_ordinality: true, .. }
        | TableFactor::Function { with_ordinality: true, .. } => {
            let (name, args, alias) = args_of_factor(factor)?;
            match (name.as_str(), args.as_slice()) {
                ("unnest", [list]) => (list.clone(), name, alias),
                _ if is_set_returning(&name) => (call(&format!("{name}_list"), args), name, alias),
                _ => return None,
            }
        }
        _ => return None,
    };
    let given = alias.as_ref().map(|alias| folded(&alias.name));
    let columns: Vec<String> =
        alias.iter().flat_map(|alias| &alias.columns).map(|column| folded(&column.name)).collect();
    let relation = given.clone().unwrap_or_else(|| name.clone());
    let value = columns.first().cloned().unwrap_or_else(|| relation.clone());
    let number = columns.get(1).cloned().unwrap_or_else(|| "ordinality".to_owned());
    let numbers = call("generate_subscripts_list", vec![list.clone(), number_one()]);
    let bigint = datafusion::sql::sqlparser::ast::DataType::BigInt(None);
    let numbers = call("unnest", vec![numbers]);
    let numbers = crate::dialect::cast_expr(numbers, &bigint).ok()?;
    let lists = vec![(call("unnest", vec![list]), value), (numbers, number)];
    unnested(lists, relation)
}

/// A subquery that looks at the row beside it and unnests lists.
fn unnested(lists: Vec<(Expr, String)>, relation: String) -> Option<TableFactor> {
    let lateral = !lists.iter().all(|(list, _)| is_constant(list));
    let items: Vec<String> =
        lists.iter().map(|(list, name)| format!("{list} AS {}", quoted(name))).collect();
    let name = Ident::with_quote('"', relation);
    Some(TableFactor::Derived {
        lateral,
        subquery: query_of(&format!("SELECT {}", items.join(", ")))?,
        alias: Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None }),
        sample: None,
    })
}

/// `FROM t, unnest(t.list)`, where lists are columns of the row beside.
fn unnest_beside(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality: false, .. } = factor else {
        return None;
    };
    if array_exprs.iter().all(is_constant) {
        return None;
    }
    let relation = alias.as_ref().map_or_else(|| "unnest".to_owned(), |alias| folded(&alias.name));
    let given = alias.iter().flat_map(|alias| &alias.columns);
    let mut given = given.map(|column| folded(&column.name));
    let lists = array_exprs.iter().map(|list| {
        let name = given.next().unwrap_or_else(|| relation.clone());
        (call("unnest", vec![list.clone()]), name)
    });
    let lists = lists.collect();
    unnested(lists, relation)
}

fn number_one() -> Expr {
    Expr::Value(Value::Number("1".to_owned(), false).into())
}

/// The only column of an unnested list is called as the list is.
pub(super) fn name_column(factor: &mut TableFactor) {
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality: false, .. } = factor else {
        return;
    };
    if array_exprs.len() != 1 || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return;
    }
    let name = alias.as_ref().map_or_else(|| Ident::new("unnest"), |alias| alias.name.clone());
    *alias = Some(TableAlias {
        explicit: true,
        columns: vec![TableAliasColumnDef { name: name.clone(), data_type: None }],
        at: None,
        name,
    });
}
