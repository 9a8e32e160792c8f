//! CREATE SEQUENCE, and the sequences that go with a table's columns.

use super::super::Session;
use super::object_name;
use crate::catalog::{Definition, SequenceDefinition};
use crate::error::{SqlError, SqlState};
use crate::tables::Retired;
use crate::values::types::Column;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, SequenceOptions};
use std::sync::Arc;

/// The sequence that a column's numbers come from, where the column does not say otherwise.
pub(crate) fn sequence_name(table: &str, column: &str) -> String {
    format!("{table}_{column}_seq").chars().take(63).collect()
}

/// The expression that draws from a sequence.
pub(crate) fn nextval_of(sequence: &str) -> String {
    format!("nextval('{}')", sequence.replace('\'', "''"))
}

impl Session {
    pub(super) fn create_sequence(
        &mut self,
        name: &ObjectName,
        options: &[SequenceOptions],
        temporary: bool,
        if_not_exists: bool,
    ) -> Result<String, SqlError> {
        let name = object_name(name)?;
        let sequence = SequenceDefinition { temporary, ..sequence_of(options)? };
        self.make_sequence(&name, sequence, if_not_exists)?;
        Ok("CREATE SEQUENCE".to_owned())
    }

    pub(super) fn make_sequence(
        &mut self,
        name: &str,
        mut sequence: SequenceDefinition,
        if_not_exists: bool,
    ) -> Result<(), SqlError> {
        sequence.storage = Some(self.new_storage(name, sequence.temporary));
        self.declare(name, Definition::Sequence(sequence), if_not_exists)?;
        Ok(())
    }

    /// A name for a column's sequence that nothing else has; the column says so where it is not the
    /// usual one.
    pub(super) fn draw_from(&self, table: &str, column: &mut Column) -> String {
        let usual = sequence_name(table, &column.name);
        if self.definition(&usual).is_none() {
            return usual;
        }
        let numbered = (1..).map(|number| format!("{usual}{number}"));
        let free = numbered.into_iter().find(|name| self.definition(name).is_none());
        let free = free.unwrap_or_default();
        column.default = Some(nextval_of(&free));
        free
    }

    /// The sequences that go with a table.
    pub(super) fn sequences_of(
        &self,
        table: &str,
    ) -> Vec<(String, SequenceDefinition, Arc<Definition>)> {
        let owned = |(name, found): (String, Arc<Definition>)| match found.as_ref() {
            Definition::Sequence(sequence) if sequence.belongs_to(table) => {
                Some((name, sequence.clone(), found))
            }
            _ => None,
        };
        self.objects().into_iter().filter_map(owned).collect()
    }

    pub(super) fn restart_sequences(&mut self, table: &str) -> Result<(), SqlError> {
        for (name, sequence, seen) in self.sequences_of(table) {
            let before = sequence.storage(&name).to_owned();
            let storage = Some(self.new_storage(&name, sequence.temporary));
            let now = SequenceDefinition { storage, ..sequence };
            self.put(&name, Some(seen), Some(Definition::Sequence(now)))?;
            self.retire(Retired::Counter(before))?;
        }
        Ok(())
    }

    /// Drops the sequences of a table, or of one of its columns.
    pub(super) fn drop_sequences(
        &mut self,
        table: &str,
        column: Option<&str>,
    ) -> Result<(), SqlError> {
        for (name, sequence, seen) in self.sequences_of(table) {
            let owner = sequence.owner.as_ref().map(|(_, column)| column.as_str());
            if column.is_none() || owner == column {
                self.put(&name, Some(seen), None)?;
                self.retire(Retired::Counter(sequence.storage(&name).to_owned()))?;
            }
        }
        Ok(())
    }

    /// The sequences of a table follow it, and its columns, under other names.
    pub(super) fn rename_owner(
        &mut self,
        table: &str,
        renamed: impl Fn(&str) -> (String, String),
    ) -> Result<(), SqlError> {
        for (name, mut sequence, seen) in self.sequences_of(table) {
            let owner = sequence.owner.as_ref().map(|(_, column)| renamed(column));
            sequence.owner = owner;
            self.put(&name, Some(seen), Some(Definition::Sequence(sequence)))?;
        }
        Ok(())
    }
}

/// A sequence from its declaration.
pub(super) fn sequence_of(options: &[SequenceOptions]) -> Result<SequenceDefinition, SqlError> {
    let number = |expr: &Expr| {
        let text = expr.to_string().replace([' ', '(', ')'], "");
        text.parse::<i64>().map_err(|_| {
            SqlError::new(SqlState::InvalidParameter, format!("{expr} is not a number"))
        })
    };
    let mut sequence = SequenceDefinition::default();
    let (mut start, mut min, mut max) = (None, None, None);
    for option in options {
        match option {
            SequenceOptions::IncrementBy(by, _) => sequence.increment = number(by)?,
            SequenceOptions::MinValue(value) => min = value.as_ref().map(number).transpose()?,
            SequenceOptions::MaxValue(value) => max = value.as_ref().map(number).transpose()?,
            SequenceOptions::StartWith(value, _) => start = Some(number(value)?),
            // One number at a time is what it gives anyway.
            SequenceOptions::Cache(_) => {}
            SequenceOptions::Cycle(no) => {
                if !*no {
                    return Err(SqlError::unsupported("sequences that CYCLE are not supported"));
                }
            }
        }
    }
    if sequence.increment == 0 {
        return Err(SqlError::new(SqlState::InvalidParameter, "INCREMENT must not be zero"));
    }
    let up = sequence.increment > 0;
    sequence.min = min.unwrap_or(if up { 1 } else { i64::MIN });
    sequence.max = max.unwrap_or(if up { i64::MAX } else { -1 });
    sequence.start = start.unwrap_or(if up { sequence.min } else { sequence.max });
    if !(sequence.min..=sequence.max).contains(&sequence.start) {
        let message = format!("START value ({}) is out of bounds", sequence.start);
        return Err(SqlError::new(SqlState::InvalidParameter, message));
    }
    Ok(sequence)
}
