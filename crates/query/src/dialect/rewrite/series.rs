//! Functions that give rows, in the SELECT list and where a table stands.

use super::*;

/// Whether an expression names no column.
pub(super) fn is_constant(expr: &Expr) -> bool {
    let mut copy = expr.clone();
    let mut constant = true;
    let _finished: ControlFlow<()> = visit_expressions_mut(&mut copy, |expr| {
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

/// The columns that a function in FROM has.
pub(super) fn columns_of_set(name: &str, alias: Option<&str>) -> Vec<String> {
    match name {
        "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text" => {
            vec!["key".to_owned(), "value".to_owned()]
        }
        "json_array_elements"
        | "jsonb_array_elements"
        | "json_array_elements_text"
        | "jsonb_array_elements_text" => {
            vec![
                alias
                    .filter(|alias| *alias != name)
                    .map_or_else(|| "value".to_owned(), str::to_owned),
            ]
        }
        _ => vec![alias.unwrap_or(name).to_owned()],
    }
}

/// `FROM json_array_elements(x) AS e` unnests a list.
pub(super) fn set_in_from(factor: &mut TableFactor) {
    name_column(factor);
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
        *factor = unnested;
        return;
    }
    if name == "generate_series" && exprs.iter().all(is_constant) {
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
    let list = call(&format!("{name}_list"), exprs);
    let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let items: Vec<String> = if columns.len() == 2 {
        columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("json_pair_part(pair, {index}) AS {}", quote(column)))
            .collect()
    } else {
        columns.iter().map(|column| format!("pair AS {}", quote(column))).collect()
    };
    let text = format!("SELECT {} FROM (SELECT unnest({list}) AS pair) AS pairs", items.join(", "));
    let Ok(mut statements) = crate::statement::parse(&text) else { return };
    let Some(crate::statement::Statement::Df(statement)) = statements.pop() else { return };
    let DfStatement::Statement(statement) = *statement else { return };
    let SqlStatement::Query(query) = *statement else { return };
    let _is_lateral = lateral;
    let has_columns = !items.is_empty();
    *factor = TableFactor::Derived {
        lateral: has_columns && text.contains('.'),
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
