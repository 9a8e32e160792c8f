//! A checkpoint store as an ordered map.

use std::collections::BTreeMap;
use thalweg_machine::{ElementChange, KeyChange, Loaded, State};

#[derive(Clone, Default)]
pub(crate) struct Store {
    keys: BTreeMap<Vec<u8>, Stored>,
}

#[derive(Clone, Default)]
struct Stored {
    head: Vec<u8>,
    elements: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What was collected from a state, on its way into the store.
pub(crate) struct Collected {
    cleared_lsn: Option<u64>,
    changes: Vec<KeyChange>,
}

impl Collected {
    pub(crate) fn begin(state: &mut State) -> Self {
        let cleared_lsn = state.begin_storing();
        let mut changes = state.collect_deleted();
        let mut start = Some(0);
        while let Some(at) = start {
            start = state.collect_changed(at, 3, &mut changes);
        }
        Self { cleared_lsn, changes }
    }

    /// The store takes the changes and the state is told so.
    pub(crate) fn end(
        &self,
        state: &mut State,
        store: &mut Store,
        cleared_since: bool,
        about: &str,
    ) {
        let expected = state.stored_after(self.cleared_lsn, &self.changes);
        store.take(self);
        // All that was cleared since is counted once more; the next checkpoint clears the store.
        let counted = (store.len(), expected);
        assert!(cleared_since || counted.0 == counted.1, "{about}: keys stored: {counted:?}");
        state.stored(self.cleared_lsn, &self.changes);
        state.end_storing();
    }

    /// The store fails, before or after it has taken the changes.
    pub(crate) fn fail(&self, state: &mut State, store: &mut Store, taken: bool) {
        if taken {
            store.take(self);
        }
        state.abandon_storing();
    }
}

impl Store {
    pub(crate) fn len(&self) -> u64 {
        self.keys.len() as u64
    }

    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        self.keys.keys().cloned().collect()
    }

    fn take(&mut self, collected: &Collected) {
        if collected.cleared_lsn.is_some() {
            self.keys.clear();
        }
        for change in &collected.changes {
            let Some(head) = &change.head else {
                let gone = self.keys.remove(&change.key).unwrap_or_default();
                let about = "elements stay behind a key that is gone";
                assert!(change.drop_elements || gone.elements.is_empty(), "{about}");
                continue;
            };
            let stored = self.keys.entry(change.key.clone()).or_default();
            stored.head.clone_from(head);
            if change.drop_elements {
                stored.elements.clear();
            }
            for ElementChange { suffix, value } in &change.elements {
                match value {
                    Some(value) => drop(stored.elements.insert(suffix.clone(), value.clone())),
                    None => drop(stored.elements.remove(suffix)),
                }
            }
            assert_eq!(change.has_elements, Loaded::head_has_elements(head));
            assert!(change.has_elements || stored.elements.is_empty(), "elements of a string");
        }
    }

    pub(crate) fn load(&self, key: &[u8]) -> Loaded {
        match self.keys.get(key) {
            None => Loaded::default(),
            Some(stored) => Loaded {
                head: Some(stored.head.clone()),
                elements: stored.elements.clone().into_iter().collect(),
            },
        }
    }
}
