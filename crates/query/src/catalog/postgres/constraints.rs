//! What rows must fulfil, as `pg_constraint` tells of it.

use super::functions::quoted;
use super::relations::{Relation, number_of};
use crate::catalog::Definition;

/// What rows must fulfil.
pub(super) struct Constraint {
    pub(super) oid: u32,
    pub(super) name: String,
    /// `p`, `u` or `c`.
    pub(super) letter: char,
    pub(super) table: u32,
    pub(super) table_name: String,
    /// The index that enforces it; 0 where none does.
    pub(super) index: u32,
    pub(super) columns: Vec<(usize, String)>,
    condition: Option<String>,
}

impl Constraint {
    /// As in CREATE TABLE.
    pub(super) fn definition(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(_, name)| quoted(name)).collect();
        match (self.letter, &self.condition) {
            ('p', _) => format!("PRIMARY KEY ({})", columns.join(", ")),
            ('u', _) => format!("UNIQUE ({})", columns.join(", ")),
            (_, condition) => format!("CHECK (({}))", condition.as_deref().unwrap_or_default()),
        }
    }

    pub(super) fn condition(&self) -> Option<&str> {
        self.condition.as_deref()
    }
}

/// All constraints.
pub(super) fn constraints(relations: &[Relation]) -> Vec<Constraint> {
    let mut found = Vec::new();
    for relation in relations {
        if let Some(index) = relation.index.as_ref().filter(|index| !index.is_plain) {
            found.push(Constraint {
                oid: number_of("constraint", &relation.name),
                name: relation.name.clone(),
                letter: if index.is_primary { 'p' } else { 'u' },
                table: index.table,
                table_name: index.table_name.clone(),
                index: relation.oid,
                columns: index.columns.clone(),
                condition: None,
            });
        }
        let Some(Definition::Table(table)) = relation.definition.as_deref() else { continue };
        for check in &table.checks {
            let full = format!("{}.{}", relation.name, check.name);
            let mentioned = table.columns.iter().enumerate().filter(|(_, column)| {
                let is_part = |part: char| part.is_alphanumeric() || part == '_';
                check.condition.split(|part| !is_part(part)).any(|word| word == column.name)
            });
            found.push(Constraint {
                oid: number_of("constraint", &full),
                name: check.name.clone(),
                letter: 'c',
                table: relation.oid,
                table_name: relation.name.clone(),
                index: 0,
                columns: mentioned
                    .map(|(position, column)| (position + 1, column.name.clone()))
                    .collect(),
                condition: Some(check.condition.clone()),
            });
        }
    }
    found
}
