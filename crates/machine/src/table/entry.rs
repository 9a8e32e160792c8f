//! An entry of the hot table: 32 bytes, and key and value in one allocation.

/// What an entry holds. For anything but a string the value lies in the state's side tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    String = 0,
    Hash = 1,
    Stream = 2,
}

impl Kind {
    /// The type's name as TYPE and XINFO say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }
}

const KIND: u8 = 0b0000_0011;
const LIVE: u8 = 0b0000_0100;
/// Has an expiry, which lies in the state's side table.
const EXPIRES: u8 = 0b0000_1000;
/// Differs from what the checkpoint store holds.
const DIRTY: u8 = 0b0001_0000;
/// The checkpoint store holds some version of this key.
const STORED: u8 = 0b0010_0000;
/// The slot stands in an eviction queue. Survives the slot's reuse.
const QUEUED: u8 = 0b0100_0000;
/// The checkpoint store holds elements of this key.
const ELEMENTS: u8 = 0b1000_0000;

pub(crate) struct Entry {
    /// The LSN of the last change: the version.
    pub(crate) lsn: u64,
    /// Key, then value.
    bytes: Box<[u8]>,
    pub(crate) hash: u32,
    key_bytes: u16,
    flags: u8,
    /// How often it was used, in the eviction policy's own measure.
    pub(crate) frequency: u8,
}

impl Entry {
    pub(super) fn new(key: &[u8], value: &[u8], kind: Kind, hash: u32, lsn: u64) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self {
            lsn,
            bytes: bytes.into_boxed_slice(),
            hash,
            // Longer keys are refused by `StateLimits` before they come here.
            key_bytes: key.len() as u16,
            flags: LIVE | DIRTY | kind as u8,
            frequency: 0,
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.key_bytes)).unwrap_or_default()
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.bytes.get(usize::from(self.key_bytes)..).unwrap_or_default()
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
        match self.flags & KIND {
            0 => Kind::String,
            1 => Kind::Hash,
            _ => Kind::Stream,
        }
    }

    pub(crate) fn set_kind(&mut self, kind: Kind) {
        self.flags = (self.flags & !KIND) | kind as u8;
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
        self.flags & LIVE != 0
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
        self.flags & QUEUED != 0
    }

    pub(crate) fn set_queued(&mut self, on: bool) {
        self.set(QUEUED, on);
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
        let queued = self.flags & QUEUED;
        let empty = Self {
            lsn: 0,
            bytes: Box::default(),
            hash: 0,
            key_bytes: 0,
            flags: queued,
            frequency: 0,
        };
        std::mem::replace(self, empty)
    }

    /// Puts a new entry into an empty slot.
    pub(super) fn reuse(&mut self, entry: Self) {
        let queued = self.flags & QUEUED;
        *self = entry;
        self.flags |= queued;
    }
}
