//! An entry of the hot table: 32 bytes, and key and value in one allocation.

use crate::coded::coded;

coded! {
    /// What an entry holds. For anything but a string the value is a
    /// [`Collection`](crate::collection::Collection) beside the table. The number is the kind's in
    /// the checkpoint store, so it never changes; there is room up to [`Kind::CODE_MAX`].
    pub(crate) enum Kind {
        String = 0,
        Hash = 1,
        Stream = 2,
    }
}

impl Kind {
    /// The highest number that an entry has room for.
    const CODE_MAX: u8 = KIND - 1;

    /// The type's name as TYPE and XINFO say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }

    /// The kind as an entry holds it: 0 is an empty slot.
    #[inline]
    const fn bits(self) -> u8 {
        let code = self as u8;
        assert!(code <= Self::CODE_MAX, "an entry has no room for this kind");
        code + 1
    }
}

/// 0 for an empty slot, else the kind's number plus one.
const KIND: u8 = 0b0000_1111;
/// Has an expiry, which lies in the state's side table.
const EXPIRES: u8 = 0b0001_0000;
/// Differs from what the checkpoint store holds.
const DIRTY: u8 = 0b0010_0000;
/// The checkpoint store holds some version of this key.
const STORED: u8 = 0b0100_0000;
/// The checkpoint store holds elements of this key.
const ELEMENTS: u8 = 0b1000_0000;

/// In the eviction policy's byte: the slot stands in an eviction queue. Survives the slot's reuse.
const QUEUED: u8 = 0b1000_0000;

pub(crate) struct Entry {
    /// The LSN of the last change: the version.
    pub(crate) lsn: u64,
    /// Key, then value.
    bytes: Box<[u8]>,
    pub(crate) hash: u32,
    key_bytes: u16,
    flags: u8,
    /// The eviction policy's: QUEUED, and how often the entry was used, in the policy's own
    /// measure.
    eviction: u8,
}

impl Entry {
    pub(super) fn new(key: &[u8], value: &[u8], kind: Kind, hash: u32, lsn: u64) -> Self {
        // `StateLimits` refuse longer keys: cut short, this would be another key.
        let Ok(key_bytes) = u16::try_from(key.len()) else {
            panic!("a key of {} bytes came to the table", key.len());
        };
        let mut bytes = Vec::with_capacity(key.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self {
            lsn,
            bytes: bytes.into_boxed_slice(),
            hash,
            key_bytes,
            flags: DIRTY | kind.bits(),
            eviction: 0,
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.key_and_value().0
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.key_and_value().1
    }

    #[inline]
    fn key_and_value(&self) -> (&[u8], &[u8]) {
        match self.bytes.split_at_checked(usize::from(self.key_bytes)) {
            Some(parts) => parts,
            None => panic!("an entry of the table is shorter than its key"),
        }
    }

    #[inline]
    pub(super) fn prefetch_bytes(&self) {
        // Key and value of a small entry lie in two cache lines.
        if let Some(byte) = self.bytes.first() {
            thalweg_base::prefetch::prefetch(byte);
        }
        if let Some(byte) = self.bytes.get(64) {
            thalweg_base::prefetch::prefetch(byte);
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match Kind::from_code((self.flags & KIND).wrapping_sub(1)) {
            Some(kind) => kind,
            None => panic!("an empty slot of the table has no kind"),
        }
    }

    /// Whether the entry is of this kind.
    #[inline]
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.flags & KIND == kind.bits()
    }

    pub(crate) fn set_kind(&mut self, kind: Kind) {
        self.flags = (self.flags & !KIND) | kind.bits();
    }

    pub(super) fn set_value(&mut self, value: &[u8]) {
        let start = usize::from(self.key_bytes);
        match self.bytes.get_mut(start..) {
            Some(old) if old.len() == value.len() => old.copy_from_slice(value),
            _ => {
                let mut bytes = Vec::with_capacity(start + value.len());
                bytes.extend_from_slice(self.key());
                bytes.extend_from_slice(value);
                self.bytes = bytes.into_boxed_slice();
            }
        }
    }

    pub(super) fn splice_value(&mut self, offset: usize, splice: &[u8]) {
        let start = usize::from(self.key_bytes) + offset;
        let end = start + splice.len();
        if self.bytes.len() < end {
            let mut bytes = std::mem::take(&mut self.bytes).into_vec();
            bytes.reserve_exact(end - bytes.len());
            bytes.resize(end, 0);
            self.bytes = bytes.into_boxed_slice();
        }
        if let Some(target) = self.bytes.get_mut(start..end) {
            target.copy_from_slice(splice);
        }
    }

    /// Bytes of the allocation, as the allocator rounds them.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len().next_multiple_of(8)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.flags & KIND != 0
    }

    pub(crate) fn expires(&self) -> bool {
        self.flags & EXPIRES != 0
    }

    pub(crate) fn set_expires(&mut self, on: bool) {
        self.set(EXPIRES, on);
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.flags & DIRTY != 0
    }

    pub(crate) fn set_dirty(&mut self, on: bool) {
        self.set(DIRTY, on);
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.flags & STORED != 0
    }

    pub(crate) fn set_stored(&mut self, on: bool) {
        self.set(STORED, on);
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.eviction & QUEUED != 0
    }

    pub(crate) fn set_queued(&mut self, on: bool) {
        if on {
            self.eviction |= QUEUED;
        } else {
            self.eviction &= !QUEUED;
        }
    }

    /// How often it was used, in the eviction policy's own measure: at most 127.
    pub(crate) fn frequency(&self) -> u8 {
        self.eviction & !QUEUED
    }

    /// Takes a new frequency; one that is too high counts as the highest.
    pub(crate) fn set_frequency(&mut self, frequency: u8) {
        self.eviction = (self.eviction & QUEUED) | frequency.min(!QUEUED);
    }

    pub(crate) fn has_stored_elements(&self) -> bool {
        self.flags & ELEMENTS != 0
    }

    pub(crate) fn set_stored_elements(&mut self, on: bool) {
        self.set(ELEMENTS, on);
    }

    fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// Empties the slot.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self {
            lsn: 0,
            bytes: Box::default(),
            hash: 0,
            key_bytes: 0,
            flags: 0,
            eviction: self.eviction & QUEUED,
        };
        std::mem::replace(self, empty)
    }

    /// Puts a new entry into an empty slot.
    pub(super) fn reuse(&mut self, entry: Self) {
        let queued = self.eviction & QUEUED;
        *self = entry;
        self.eviction |= queued;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading of an entry's bits, in a fixed order.
    fn bits(entry: &Entry) -> [bool; 5] {
        [
            entry.expires(),
            entry.is_dirty(),
            entry.is_stored(),
            entry.has_stored_elements(),
            entry.is_queued(),
        ]
    }

    #[test]
    fn kind_flags_and_frequency_do_not_touch_each_other() {
        let setters = [
            Entry::set_expires,
            Entry::set_dirty,
            Entry::set_stored,
            Entry::set_stored_elements,
            Entry::set_queued,
        ];
        for kind in [Kind::String, Kind::Hash, Kind::Stream] {
            assert_eq!(Kind::from_code(kind as u8), Some(kind));
            let mut entry = Entry::new(b"key", b"value", Kind::String, 1, 1);
            entry.set_kind(kind);
            let mut wanted = [false, true, false, false, false];
            for (round, at) in (0u8..20).zip((0..setters.len()).cycle()) {
                wanted[at] = round < 10;
                setters[at](&mut entry, wanted[at]);
                entry.set_frequency(round * 12);
                assert_eq!(bits(&entry), wanted, "{kind:?} in round {round}");
                assert_eq!(entry.frequency(), (round * 12).min(127));
                assert!(entry.is(kind) && entry.kind() == kind && entry.is_live());
            }
        }
        assert_eq!(Kind::from_code(3), None);
    }

    #[test]
    fn an_empty_slot_keeps_its_place_in_the_queue() {
        for queued in [true, false] {
            let mut slot = Entry::new(b"key", b"value", Kind::Stream, 1, 1);
            slot.set_queued(queued);
            slot.set_frequency(9);
            assert!(slot.take().is(Kind::Stream));
            assert!(!slot.is_live() && !slot.is(Kind::String) && slot.frequency() == 0);
            slot.reuse(Entry::new(b"other", b"", Kind::Hash, 2, 2));
            assert!(slot.is(Kind::Hash) && slot.key() == b"other" && slot.value().is_empty());
            assert_eq!(slot.is_queued(), queued);
        }
    }
}
