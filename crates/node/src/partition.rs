//! A partition: its state, and its effects that are not in the log yet.

use parking_lot::{Mutex, MutexGuard};
use thalweg_base::slot::{SLOTS, slot_of};
use thalweg_machine::{EffectBuffer, State};

/// What a partition's lock protects.
pub(crate) struct Partition {
    pub(crate) state: State,
    /// Effects that the commit thread has not taken yet.
    pub(crate) pending: EffectBuffer,
    /// Bytes of memory as they were last counted in the node's total.
    pub(crate) counted_bytes: usize,
    /// Since when writes have found no memory here.
    pub(crate) pressed_since_us: Option<u64>,
    pub(crate) writes: u64,
    pub(crate) reads: u64,
}

/// All partitions of a node. Each lock has cache lines to itself: neighbours are used by other
/// cores.
pub(crate) struct Partitions {
    all: Box<[Padded]>,
    /// How far to shift a slot to get its partition.
    shift: u32,
}

#[repr(align(128))]
struct Padded(Mutex<Partition>);

impl Partitions {
    /// `count` partitions, a power of two, from a function that makes states.
    pub(crate) fn new(count: u16, mut make: impl FnMut(u16) -> State) -> Self {
        let mut partition = |number| Partition {
            state: make(number),
            pending: EffectBuffer::default(),
            counted_bytes: 0,
            pressed_since_us: None,
            writes: 0,
            reads: 0,
        };
        let all = (0..count).map(|number| Padded(Mutex::new(partition(number)))).collect();
        Self { all, shift: (SLOTS / count).trailing_zeros() }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The partition that holds a key.
    #[inline]
    pub(crate) fn of(&self, key: &[u8]) -> usize {
        usize::from(slot_of(key) >> self.shift)
    }

    #[inline]
    pub(crate) fn lock(&self, number: usize) -> MutexGuard<'_, Partition> {
        match self.all.get(number) {
            Some(padded) => padded.0.lock(),
            None => unreachable!("partition numbers come from slots, which are in range"),
        }
    }
}
