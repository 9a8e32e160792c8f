//! Functions in FROM that give rows made of the row beside them.

use super::*;

/// `FROM unnest(x, …) WITH ORDINALITY` as lists that are unnested together.
pub(super) fn with_ordinality(factor: &TableFactor) -> Option<TableFactor> {
    let (lists, name, alias) = match factor {
        TableFactor::UNNEST { alias, array_exprs, with_ordinality: true, .. } => {
            (array_exprs.clone(), "unnest".to_owned(), alias.clone())
        }
        TableFactor::Table { with_ordinality: true, .. }
        | TableFactor::Function { with_ordinality: true, .. } => {
            let (name, args, alias) = args_of_factor(factor)?;
            match name.as_str() {
                "unnest" => (args, name, alias),
                _ if is_set_returning(&name) => {
                    (vec![call(&format!("{name}_list"), args)], name, alias)
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    let given = alias.as_ref().map(|alias| folded(&alias.name));
    let mut columns =
        alias.iter().flat_map(|alias| &alias.columns).map(|column| folded(&column.name));
    let relation = given.clone().unwrap_or_else(|| name.clone());
    let numbers = call("unnest", vec![call("ordinals_list", lists.clone())]);
    let bigint = datafusion::sql::sqlparser::ast::DataType::BigInt(None);
    let numbers = crate::sql::dialect::cast_expr(numbers, &bigint).ok()?;
    let mut all = Vec::with_capacity(lists.len() + 1);
    for list in lists {
        let name = columns.next().unwrap_or_else(|| relation.clone());
        all.push((call("unnest", vec![list]), name));
    }
    all.push((numbers, columns.next().unwrap_or_else(|| "ordinality".to_owned())));
    unnested(all, relation)
}

/// A subquery that looks at the row beside it and unnests lists.
pub(super) fn unnested(lists: Vec<(Expr, String)>, relation: String) -> Option<TableFactor> {
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
pub(super) fn unnest_beside(factor: &TableFactor) -> Option<TableFactor> {
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

/// The only column of an unnested list is called as the list is.
pub(crate) fn name_column(factor: &mut TableFactor) {
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

/// `FROM json_to_recordset(x) AS r (a int)`: the fields of each object of an array, as the types
/// that are named; `json_to_record` takes one object.
pub(super) fn records(factor: &TableFactor) -> Option<TableFactor> {
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

/// Functions that list what a table of the catalog has.
pub(super) fn listing(factor: &TableFactor) -> Option<TableFactor> {
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
