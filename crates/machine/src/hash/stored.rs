//! A hash as the checkpoint, the digest and a copy see it.
//!
//! In the store its elements are its fields: `f` and the field's name, with the value.

use super::HashObject;
use crate::collection::{Elements, Incarnation, suffix};
use crate::effect::Effect;
use crate::state::{ElementChange, KeyChange, Lsn};
use crate::table::Kind;

impl Elements for HashObject {
    fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    fn incarnation_mut(&mut self) -> &mut Incarnation {
        &mut self.incarnation
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.fields.bytes() + self.removed.len() * 48
    }

    fn digest(&self, field: &mut dyn FnMut(&[u8])) {
        let mut fields: Vec<_> = self.iter().collect();
        fields.sort_unstable();
        for (name, value) in fields {
            field(name);
            field(value);
        }
    }

    fn put_head(&self, _head: &mut Vec<u8>) {}

    fn collect(&self, elements: &mut Vec<ElementChange>) {
        for field in self.removed.keys() {
            elements.push(ElementChange { suffix: suffix(b'f', field), value: None });
        }
        let fresh = self.incarnation.fresh;
        for (_, field) in self.fields.iter().filter(|(_, field)| fresh || field.is_dirty()) {
            let value = Some(field.value().to_vec());
            elements.push(ElementChange { suffix: suffix(b'f', field.key()), value });
        }
    }

    fn stored(&mut self, change: &KeyChange) {
        for element in &change.elements {
            let Some(field) = element.suffix.strip_prefix(b"f") else {
                panic!("a hash collected an element that is no field: {:?}", element.suffix);
            };
            let position = self.fields.find(field);
            match (&element.value, position.map(|position| self.fields.live_mut(position))) {
                (Some(_), Some(entry)) => {
                    entry.set_stored(true);
                    if entry.lsn <= change.lsn {
                        entry.set_dirty(false);
                    }
                }
                // Deleted since it was collected: now there is something to delete in the store.
                (Some(_), None) => {
                    self.removed.insert(field.into(), change.lsn);
                }
                // There again since, but no longer in the store.
                (None, Some(entry)) => entry.set_stored(false),
                (None, None) => {
                    self.removed.remove(field);
                }
            }
        }
    }

    fn install(
        &mut self,
        lsn: Lsn,
        _head: &mut &[u8],
        elements: &[(Vec<u8>, Vec<u8>)],
    ) -> Option<()> {
        for (suffix, value) in elements {
            let field = suffix.strip_prefix(b"f")?;
            let position = self.fields.insert(field, value, Kind::String, lsn);
            let entry = self.fields.live_mut(position);
            entry.set_dirty(false);
            entry.set_stored(true);
        }
        Some(())
    }

    fn describe(&self, key: &[u8], emit: &mut dyn FnMut(&Effect<'_>)) {
        for (field, value) in self.iter() {
            emit(&Effect::HashPut { key, field, value });
        }
    }
}
