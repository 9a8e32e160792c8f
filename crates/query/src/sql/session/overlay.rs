//! What a session sees in addition to the catalog: its temporary tables, and what its open
//! transaction has declared and dropped.

use super::Session;
use crate::catalog::{Definition, Overlay};
use crate::tables::{Retired, Temporary, Transaction};
use parking_lot::Mutex;
use std::sync::Arc;

/// What an object holds in the engine.
pub(super) fn stored(name: &str, definition: &Definition) -> Option<Retired> {
    match definition {
        Definition::Table(table) => Some(Retired::Rows(table.storage(name).into_owned())),
        Definition::Sequence(sequence) => Some(Retired::Counter(sequence.storage(name).to_owned())),
        _ => None,
    }
}

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

    pub(super) fn new_transaction(&self) -> Arc<Mutex<Transaction>> {
        self.variables.lock().begin();
        let temporary = self.temporary.clone();
        Arc::new(Mutex::new(Transaction::new(&self.inner.engine, temporary)))
    }

    /// Forgets the session's temporary tables, and their rows.
    pub(super) fn drop_temporary(&mut self) {
        self.return_temporary(Temporary::new());
    }

    /// Makes the temporary objects again what they were: what has come since goes, with what it
    /// holds.
    pub(super) fn return_temporary(&mut self, before: Temporary) {
        let now = std::mem::replace(&mut self.temporary, before);
        for (name, definition) in now {
            let held = stored(&name, &definition);
            let is_kept = self.temporary.iter().any(|(name, kept)| stored(name, kept) == held);
            let Some(held) = held.filter(|_| !is_kept) else { continue };
            if let Err(error) = held.clear(&self.inner.engine) {
                tracing::warn!(%error, ?held, "the data of temporary tables could not be deleted");
            }
        }
    }
}
