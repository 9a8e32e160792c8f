//! The tables of `pg_catalog` that list relations of one kind: sequences, tables, views, indexes.

use super::relations::{Kind, Relation};
use super::rows::{query_of, schema_name};
use super::{Facts, Row, some, truth};
use crate::catalog::SequenceDefinition;

pub(super) fn pg_sequence(facts: &Facts) -> Vec<Row> {
    let row = |(relation, sequence): (&Relation, &SequenceDefinition)| {
        vec![
            some(relation.oid),
            some(20),
            some(sequence.start),
            some(sequence.increment),
            some(sequence.max),
            some(sequence.min),
            some(1),
            truth(false),
        ]
    };
    facts.sequences().map(row).collect()
}

pub(super) fn pg_sequences(facts: &Facts) -> Vec<Row> {
    let row = |(relation, sequence): (&Relation, &SequenceDefinition)| {
        vec![
            some("public"),
            some(&relation.name),
            some("thalweg"),
            some("bigint"),
            some(sequence.start),
            some(sequence.min),
            some(sequence.max),
            some(sequence.increment),
            truth(false),
            some(1),
            None,
        ]
    };
    facts.sequences().map(row).collect()
}

pub(super) fn pg_tables(facts: &Facts) -> Vec<Row> {
    let tables = facts.relations.iter().filter(|relation| relation.kind == Kind::Table);
    let row = |relation: &Relation| {
        let indexes = facts.relations.iter().filter_map(|other| other.index.as_ref());
        let has_index = indexes.into_iter().any(|index| index.table == relation.oid);
        vec![
            some(schema_name(relation.schema)),
            some(&relation.name),
            some("thalweg"),
            None,
            truth(has_index),
            truth(false),
            truth(false),
            truth(false),
        ]
    };
    tables.map(row).collect()
}

pub(super) fn views(facts: &Facts, kind: Kind, materialized: bool) -> Vec<Row> {
    let found = facts.relations.iter().filter(|relation| relation.kind == kind);
    let row = |relation: &Relation| {
        let mut row =
            vec![some(schema_name(relation.schema)), some(&relation.name), some("thalweg")];
        if materialized {
            row.extend([None, truth(false), truth(true)]);
        }
        row.push(query_of(relation).map(str::to_owned));
        row
    };
    found.map(row).collect()
}

pub(super) fn pg_indexes(facts: &Facts) -> Vec<Row> {
    let row = |relation: &Relation| {
        let index = relation.index.as_ref()?;
        Some(vec![
            some("public"),
            some(&index.table_name),
            some(&relation.name),
            None,
            some(index.definition(&relation.name)),
        ])
    };
    facts.relations.iter().filter_map(row).collect()
}
