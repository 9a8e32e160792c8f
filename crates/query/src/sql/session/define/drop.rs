//! DROP: an object that others depend on is kept, or they are dropped with it (CASCADE).

use super::super::{Block, Session};
use super::object_name;
use crate::catalog::{Definition, TableDefinition};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect;
use crate::tables::Retired;
use crate::write::{Write, write_all};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType};

impl Session {
    pub(super) fn drop_named(
        &mut self,
        object_type: &ObjectType,
        names: &[ObjectName],
        if_exists: bool,
        cascade: bool,
    ) -> Result<String, SqlError> {
        let kind = match object_type {
            ObjectType::Table => "table",
            ObjectType::View => "view",
            ObjectType::MaterializedView => "materialized view",
            ObjectType::Stream => "stream",
            ObjectType::Sequence => "sequence",
            ObjectType::Index => return self.drop_index(names, if_exists),
            other => {
                return Err(SqlError::unsupported(format!("DROP {other} is not supported")));
            }
        };
        for name in names {
            self.drop_one(kind, &object_name(name)?, if_exists, cascade)?;
        }
        Ok(format!("DROP {}", kind.to_uppercase()))
    }

    /// Drops one object of a kind.
    pub(super) fn drop_one(
        &mut self,
        kind: &str,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), SqlError> {
        let Some(definition) = self.definition(name) else {
            if if_exists {
                let message = format!("{kind} \"{name}\" does not exist, skipping");
                self.notice("NOTICE", SqlState::UndefinedTable, message);
                return Ok(());
            }
            return Err(SqlError::unknown(kind, name));
        };
        let matches = definition.kind() == kind
            || (kind == "table" && matches!(*definition, Definition::External(_)));
        if !matches {
            let message = format!("\"{name}\" is not a {kind}");
            let hint = format!(
                "Use DROP {} to remove a {}.",
                definition.kind().to_uppercase(),
                definition.kind()
            );
            return Err(SqlError::new(SqlState::WrongObjectType, message).hint(hint));
        }
        self.drop_dependents(name, cascade)?;
        let inner = self.inner.clone();
        match definition.as_ref() {
            // Its threads end first.
            Definition::View(_) => {
                self.refuse_open()?;
                tokio::task::block_in_place(|| inner.views.drop(name))?;
                inner.catalog.drop(name)?;
                inner.forget_changes(name)
            }
            Definition::Stream(stream) => {
                self.refuse_open()?;
                tokio::task::block_in_place(|| {
                    inner.catalog.drop_after(name, || {
                        for partition in 0..stream.partitions {
                            let key = stream.key(name, partition);
                            let key = key.into_bytes();
                            write_all(&inner.engine, &[Write::Delete { key }])?;
                        }
                        inner.segments.drop_stream(name, stream)
                    })
                })
            }
            Definition::Table(table) => self.drop_table(name, table, &definition),
            Definition::Sequence(sequence) => {
                let counter = Retired::Counter(sequence.storage(name).to_owned());
                self.put(name, Some(definition.clone()), None)?;
                self.retire(counter)
            }
            Definition::External(_) | Definition::Query(_) => {
                self.put(name, Some(definition.clone()), None)
            }
        }
    }

    fn drop_table(
        &mut self,
        name: &str,
        table: &TableDefinition,
        definition: &std::sync::Arc<Definition>,
    ) -> Result<(), SqlError> {
        self.put(name, Some(definition.clone()), None)?;
        self.drop_sequences(name, None)?;
        self.retire(Retired::Rows(table.storage(name).into_owned()))
    }

    /// What cannot be taken back is not done after BEGIN.
    fn refuse_open(&self) -> Result<(), SqlError> {
        let changed = self.transaction.as_ref().is_some_and(|open| !open.lock().is_unchanged());
        if self.block == Block::Explicit || changed {
            let message =
                "DROP of a stream or materialized view cannot run inside a transaction block";
            return Err(SqlError::new(SqlState::ActiveTransaction, message));
        }
        Ok(())
    }

    pub(super) fn drop_dependents(&mut self, name: &str, cascade: bool) -> Result<(), SqlError> {
        if let Some(user) = self.inner.views.user_of(name) {
            let message = format!(
                "cannot drop \"{name}\" because materialized view \"{user}\" depends on it"
            );
            return Err(SqlError::new(SqlState::DependentObjects, message)
                .hint(format!("DROP MATERIALIZED VIEW {user} first")));
        }
        let views: Vec<String> = self
            .objects()
            .into_iter()
            .filter(|(view, definition)| match definition.as_ref() {
                Definition::Query(query) => view != name && dialect::reads(&query.query, name),
                _ => false,
            })
            .map(|(view, _)| view)
            .collect();
        for view in views {
            if !cascade {
                let message = format!(
                    "cannot drop \"{name}\" because other objects depend on it: view \"{view}\""
                );
                return Err(SqlError::new(SqlState::DependentObjects, message)
                    .hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
            self.drop_one("view", &view, true, true)?;
        }
        Ok(())
    }

    /// Everything that is declared, as this session sees it.
    pub(super) fn objects(&self) -> Vec<(String, std::sync::Arc<Definition>)> {
        let overlay = self.overlay().unwrap_or_default();
        let shared = self.inner.catalog.list().into_iter();
        let shared = shared.filter(|(name, _)| !overlay.contains_key(name));
        let own = overlay.iter().filter_map(|(name, found)| Some((name.clone(), found.clone()?)));
        shared.chain(own.collect::<Vec<_>>()).collect()
    }

    /// The table that has an index of a name.
    pub(super) fn table_of_index(
        &self,
        index: &str,
    ) -> Option<(String, std::sync::Arc<Definition>, usize)> {
        self.objects().into_iter().find_map(|(name, definition)| match definition.as_ref() {
            Definition::Table(table) => {
                let at = table.uniques.iter().position(|unique| unique.name == index)?;
                Some((name, definition, at))
            }
            _ => None,
        })
    }

    fn drop_index(&mut self, names: &[ObjectName], if_exists: bool) -> Result<String, SqlError> {
        for name in names {
            let name = object_name(name)?;
            let Some((table, definition, at)) = self.table_of_index(&name) else {
                if if_exists {
                    let message = format!("index \"{name}\" does not exist, skipping");
                    self.notice("NOTICE", SqlState::UndefinedObject, message);
                    continue;
                }
                let message = format!("index \"{name}\" does not exist");
                return Err(SqlError::new(SqlState::UndefinedObject, message));
            };
            self.drop_unique(&table, &definition, at)?;
        }
        Ok("DROP INDEX".to_owned())
    }
}
