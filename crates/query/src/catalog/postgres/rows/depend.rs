//! `pg_depend`: what goes with what. Tools look here for the sequence of a column.

use super::CLASS;
use crate::catalog::postgres::{Facts, Row, some};

/// The sequences that go with columns: `a` those of serial columns, `i` those of identity columns.
pub(super) fn pg_depend(facts: &Facts) -> Vec<Row> {
    let row = |(relation, sequence): (&super::Relation, &crate::catalog::SequenceDefinition)| {
        let (table, column) = sequence.owner.as_ref()?;
        let (owner, columns) = facts.with_columns().find(|(owner, _)| owner.name == *table)?;
        let position = columns.iter().position(|other| other.name == *column)?;
        let is_identity = columns.get(position).is_some_and(|column| !column.identity.is_empty());
        Some(vec![
            some(CLASS),
            some(relation.oid),
            some(0),
            some(CLASS),
            some(owner.oid),
            some(position + 1),
            some(if is_identity { 'i' } else { 'a' }),
        ])
    };
    facts.sequences().filter_map(row).collect()
}
