//! What a key holds beside its entry, if it holds more than a string, and what all such values have
//! in common: bytes in memory, elements in the checkpoint store, a digest, effects that make a
//! copy.
//!
//! To add a kind: a variant of `Kind` and one here, an [`Elements`] of its own, its effects
//! (`effect.rs`) and what they do (`apply.rs`). The compiler finds the rest.

use crate::effect::Effect;
use crate::hash::HashObject;
use crate::state::{ElementChange, KeyChange, Lsn};
use crate::stream::StreamObject;
use crate::table::Kind;

/// The value of a key that is no string.
pub(crate) enum Collection {
    Hash(HashObject),
    Stream(Box<StreamObject>),
}

/// Which life of a key a collection belongs to, for the checkpoint.
pub(crate) struct Incarnation {
    /// When it was made; 0 for one that was read from the store.
    pub(crate) born_lsn: Lsn,
    /// Nothing of it is known to be stored: whatever elements the store has go first, and all that
    /// there are are written.
    pub(crate) fresh: bool,
}

impl Incarnation {
    pub(crate) fn born(lsn: Lsn) -> Self {
        Self { born_lsn: lsn, fresh: true }
    }
}

/// What every kind of collection can do.
pub(crate) trait Elements {
    fn incarnation(&self) -> &Incarnation;
    fn incarnation_mut(&mut self) -> &mut Incarnation;

    /// Bytes in memory.
    fn bytes(&self) -> usize;

    /// Gives everything in it to a digest, in an order that depends on nothing else.
    fn digest(&self, field: &mut dyn FnMut(&[u8]));

    /// Appends what the key's head in the store says of the collection as a whole.
    fn put_head(&self, head: &mut Vec<u8>);

    /// The elements that the store does not have as they are; all of a fresh one.
    fn collect(&self, elements: &mut Vec<ElementChange>);

    /// The store has taken elements that were collected. What changed since stays to be collected.
    fn stored(&mut self, change: &KeyChange);

    /// Fills an empty collection from the store: the rest of the key's head, and its elements.
    /// Gives nothing where the bytes make no sense.
    fn install(
        &mut self,
        lsn: Lsn,
        head: &mut &[u8],
        elements: &[(Vec<u8>, Vec<u8>)],
    ) -> Option<()>;

    /// The effects that make the same collection at a key that is not there.
    fn describe(&self, key: &[u8], emit: &mut dyn FnMut(&Effect<'_>));
}

impl Collection {
    /// An empty collection; nothing for a kind that is none.
    pub(crate) fn new(kind: Kind, hash_seed: u64, born_lsn: Lsn) -> Option<Self> {
        match kind {
            Kind::String => None,
            Kind::Hash => Some(Self::Hash(HashObject::new(hash_seed, born_lsn))),
            Kind::Stream => Some(Self::Stream(Box::new(StreamObject::born(born_lsn)))),
        }
    }

    /// What all kinds can do.
    pub(crate) fn elements(&self) -> &dyn Elements {
        match self {
            Self::Hash(hash) => hash,
            Self::Stream(stream) => stream.as_ref(),
        }
    }

    /// The same for changes.
    pub(crate) fn elements_mut(&mut self) -> &mut dyn Elements {
        match self {
            Self::Hash(hash) => hash,
            Self::Stream(stream) => stream.as_mut(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.elements().bytes()
    }

    pub(crate) fn as_hash(&self) -> Option<&HashObject> {
        match self {
            Self::Hash(hash) => Some(hash),
            Self::Stream(_) => None,
        }
    }

    pub(crate) fn as_hash_mut(&mut self) -> Option<&mut HashObject> {
        match self {
            Self::Hash(hash) => Some(hash),
            Self::Stream(_) => None,
        }
    }

    pub(crate) fn as_stream(&self) -> Option<&StreamObject> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Hash(_) => None,
        }
    }

    pub(crate) fn as_stream_mut(&mut self) -> Option<&mut StreamObject> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Hash(_) => None,
        }
    }
}

/// The name of an element in the store: a letter that says what it is, and its own name.
pub(crate) fn suffix(tag: u8, name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 1);
    out.push(tag);
    out.extend_from_slice(name);
    out
}
