//! Defaults, constraints, indexes and comments.

use super::*;

pub(super) fn pg_attrdef(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    for (relation, columns) in facts.with_columns() {
        for (position, column) in columns.iter().enumerate() {
            let Some(default) = &column.default else { continue };
            let full = format!("{}.{}", relation.name, column.name);
            let oid = number_of("default", &full);
            rows.push(vec![some(oid), some(relation.oid), some(position + 1), some(default)]);
        }
    }
    rows
}

pub(super) fn pg_constraint(facts: &Facts) -> Vec<Row> {
    let row = |constraint: &Constraint| {
        let keys = numbers(constraint.columns.iter().map(|(number, _)| *number));
        vec![
            some(constraint.oid),
            some(&constraint.name),
            some(PUBLIC),
            some(constraint.letter),
            truth(false),
            truth(false),
            truth(true),
            some(constraint.table),
            some(0),
            some(constraint.index),
            some(0),
            some(0),
            some(" "),
            some(" "),
            some(" "),
            truth(true),
            some(0),
            truth(constraint.letter != 'c'),
            some(keys),
            None,
            None,
            None,
            None,
            None,
            None,
            constraint.condition().map(str::to_owned),
        ]
    };
    constraints(&facts.relations).iter().map(row).collect()
}

pub(super) fn pg_index(facts: &Facts) -> Vec<Row> {
    let row = |relation: &Relation| {
        let index = relation.index.as_ref()?;
        let zeros = || numbers(index.columns.iter().map(|_| 0));
        let columns = facts.columns.get(&index.table).map_or(&[][..], Vec::as_slice);
        let kinds = index.columns.iter().map(|(number, _)| columns.get(number - 1));
        let kinds: Vec<_> = kinds.map(|column| column.map(|column| column.typed)).collect();
        let classes = numbers(kinds.iter().map(|typed| typed.map_or(0, operator_class)));
        let collations =
            numbers(kinds.iter().map(|typed| if typed.is_some_and(is_text) { 100 } else { 0 }));
        Some(vec![
            some(relation.oid),
            some(index.table),
            some(index.columns.len()),
            some(index.columns.len()),
            truth(true),
            truth(false),
            truth(index.is_primary),
            truth(false),
            truth(true),
            truth(false),
            truth(true),
            truth(false),
            truth(true),
            truth(true),
            truth(false),
            some(numbers(index.columns.iter().map(|(number, _)| *number))),
            some(collations),
            some(classes),
            some(zeros()),
            None,
            None,
        ])
    };
    facts.relations.iter().filter_map(row).collect()
}

/// The class of operators by which an index keeps a type's values in order.
fn operator_class(typed: Typed) -> usize {
    if typed.is_array {
        return 10_000;
    }
    match typed.element.name {
        "bool" => 10_003,
        "bytea" => 10_006,
        "int8" => 3_124,
        "int2" => 1_979,
        "int4" => 1_978,
        "text" | "varchar" => 3_126,
        "bpchar" => 10_004,
        "oid" => 1_981,
        "float4" => 10_012,
        "float8" => 3_123,
        "date" => 3_122,
        "time" => 10_038,
        "timestamp" => 3_128,
        "timestamptz" => 3_127,
        "interval" => 10_022,
        "numeric" => 3_125,
        "uuid" => 10_065,
        "jsonb" => 10_088,
        _ => 0,
    }
}

/// What people say about a relation, and about its columns.
pub(super) fn comments(relation: &Relation) -> Vec<Row> {
    let mut rows = Vec::new();
    let columns = match relation.definition.as_deref() {
        Some(Definition::Table(table)) => table.columns.len(),
        _ => 0,
    };
    for number in 0..=columns {
        if let Some(comment) = relation.comment(number) {
            rows.push(vec![some(relation.oid), some(CLASS), some(number), some(comment)]);
        }
    }
    rows
}
