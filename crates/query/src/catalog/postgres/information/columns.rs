//! `information_schema.columns`.

use super::super::relations::{Attribute, Kind, Relation};
use super::super::rows::{is_text, schema_name};
use super::super::{Facts, Row, some};
use super::is_table;
use crate::catalog::SequenceDefinition;
use crate::database::DATABASE;
use crate::values::pg_type::Typed;

pub(super) fn columns(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    let tables = facts.with_columns();
    for (relation, columns) in tables.filter(|(relation, _)| is_table(relation)) {
        for (position, column) in columns.iter().enumerate() {
            rows.push(column_row(facts, relation, position, column));
        }
    }
    rows
}

fn column_row(facts: &Facts, relation: &Relation, position: usize, column: &Attribute) -> Row {
    let typed = column.typed;
    let name = typed.element.name;
    let sql = if typed.is_array { "ARRAY" } else { typed.element.sql };
    let udt = if typed.is_array { format!("_{name}") } else { name.to_owned() };
    let mut row = vec![
        some(DATABASE),
        some(schema_name(relation.schema)),
        some(&relation.name),
        some(&column.name),
        some(position + 1),
        column.default.clone(),
        some(if column.is_required { "NO" } else { "YES" }),
        some(sql),
    ];
    row.extend(lengths(typed));
    row.extend(digits(typed));
    row.push(time_digits(typed));
    row.extend(std::iter::repeat_n(None, 11));
    row.extend([some(DATABASE), some("pg_catalog"), some(udt)]);
    row.extend(std::iter::repeat_n(None, 4));
    row.extend([some(position + 1), some("NO")]);
    row.extend(identity(facts, relation, column));
    row.extend([
        some("NO"),
        some("NEVER"),
        None,
        some(if relation.kind == Kind::Table { "YES" } else { "NO" }),
    ]);
    row
}

/// How long a text may be, in characters and in bytes.
fn lengths(typed: Typed) -> [Option<String>; 2] {
    let is_text = !typed.is_array && is_text(typed);
    let length = (is_text && typed.modifier > 4).then(|| typed.modifier - 4);
    match length {
        Some(length) => [some(length), some(length * 4)],
        None => [None, is_text.then(|| "1073741824".to_owned())],
    }
}

/// The digits of a number: how many, to which base, how many after the point.
fn digits(typed: Typed) -> [Option<String>; 3] {
    let modifier = typed.modifier;
    match typed.element.name {
        _ if typed.is_array => [None, None, None],
        "int2" => [some(16), some(2), some(0)],
        "int4" => [some(32), some(2), some(0)],
        "int8" => [some(64), some(2), some(0)],
        "float4" => [some(24), some(2), None],
        "float8" => [some(53), some(2), None],
        "numeric" if modifier > 4 => {
            [some((modifier - 4) >> 16), some(10), some((modifier - 4) & 0x7FF)]
        }
        "numeric" => [None, some(10), None],
        _ => [None, None, None],
    }
}

/// The digits of a second.
fn time_digits(typed: Typed) -> Option<String> {
    match typed.element.name {
        _ if typed.is_array => None,
        "date" => some(0),
        "timestamp" | "timestamptz" | "time" => {
            some(if typed.modifier < 0 { 6 } else { typed.modifier })
        }
        "interval" => some(6),
        _ => None,
    }
}

/// Whether a column gets numbers of its own, how, and of which sequence: its start, increment,
/// maximum and minimum.
fn identity(facts: &Facts, relation: &Relation, column: &Attribute) -> [Option<String>; 6] {
    let owns = |sequence: &&SequenceDefinition| sequence.is_of(&relation.name, &column.name);
    let sequence = facts.sequences().map(|(_, sequence)| sequence).find(owns);
    let sequence = sequence.filter(|_| !column.identity.is_empty());
    let generation = match column.identity {
        "a" => some("ALWAYS"),
        "d" => some("BY DEFAULT"),
        _ => None,
    };
    [
        some(if generation.is_some() { "YES" } else { "NO" }),
        generation,
        sequence.map(|sequence| sequence.start.to_string()),
        sequence.map(|sequence| sequence.increment.to_string()),
        sequence.map(|sequence| sequence.max.to_string()),
        sequence.map(|sequence| sequence.min.to_string()),
    ]
}
