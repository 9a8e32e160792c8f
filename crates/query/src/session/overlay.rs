//! What a session sees beside the catalog: its temporary tables, and what its transaction has declared and dropped.

use super::Session;
use crate::catalog::{Definition, Overlay};
use crate::error::SqlError;
use std::sync::Arc;

impl Session {
    /// What differs from the catalog; nothing where nothing does.
    pub(crate) fn overlay(&self) -> Option<Overlay> {
        let declared = self.transaction.as_ref().map(|transaction| transaction.lock().declared());
        let declared = declared.filter(|declared| !declared.is_empty());
        if declared.is_none() && self.temporary.is_empty() {
            return None;
        }
        let mut overlay = declared.unwrap_or_default();
        let temporary = self.temporary.iter();
        overlay.extend(temporary.map(|(name, found)| (name.clone(), Some(found.clone()))));
        Some(overlay)
    }

    /// What a name means here.
    pub(crate) fn definition(&self, name: &str) -> Option<Arc<Definition>> {
        if let Some(found) = self.temporary.get(name) {
            return Some(found.clone());
        }
        if let Some(transaction) = &self.transaction
            && let Some(declared) = transaction.lock().declared_as(name)
        {
            return declared;
        }
        self.inner.catalog.get(name)
    }

    /// Forgets the session's temporary tables, and their rows.
    pub(super) fn drop_temporary(&mut self) {
        for (_, definition) in std::mem::take(&mut self.temporary) {
            if let Definition::Table(table) = definition.as_ref()
                && let Err(error) = self.clear(table.storage("").as_ref())
            {
                tracing::warn!(%error, "the rows of a temporary table could not be deleted");
            }
        }
    }

    /// Deletes the rows that stand under a name.
    pub(super) fn clear(&self, storage: &str) -> Result<(), SqlError> {
        crate::table::clear(&self.inner.engine, storage)
    }
}
