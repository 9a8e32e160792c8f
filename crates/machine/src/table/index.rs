//! Hash to slab position: open addressing with linear probing, eight bytes a slot, half of them the
//! hash.
//!
//! A lookup touches one cache line nearly always, and the line's address follows from the hash
//! alone, so it can be fetched ahead. Growing needs no look at the keys. Capacities grow by half,
//! not to powers of two: less empty space.

use super::Position;
use thalweg_base::prefetch::prefetch;

#[derive(Default)]
pub(super) struct Index {
    /// 0 is empty; else the hash in the high half and the position plus one in the low half.
    slots: Vec<u64>,
    len: usize,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }

    /// Where a hash would stand. Keeps the order of hashes, so growing walks both tables forward.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: u32) {
        if let Some(slot) = self.slots.get(self.home(hash)) {
            prefetch(slot);
        }
    }

    /// The first position with this hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u32,
        mut is_it: impl FnMut(Position) -> bool,
    ) -> Option<Position> {
        let mut at = self.home(hash);
        loop {
            let slot = *self.slots.get(at)?;
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let position = slot as u32 - 1;
                if is_it(position) {
                    return Some(position);
                }
            }
            at = self.after(at);
        }
    }

    /// Adds a position that is not there.
    pub(super) fn insert(&mut self, hash: u32, position: Position) {
        // At most four fifths full: longer runs would cost more than the space is worth.
        if (self.len + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        self.place(u64::from(hash) << 32 | u64::from(position + 1));
        self.len += 1;
    }

    fn place(&mut self, slot: u64) {
        let mut at = self.home((slot >> 32) as u32);
        while self.slots.get(at).is_some_and(|&other| other != 0) {
            at = self.after(at);
        }
        if let Some(empty) = self.slots.get_mut(at) {
            *empty = slot;
        }
    }

    fn grow(&mut self) {
        let capacity = (self.slots.len() + self.slots.len() / 2).max(8);
        let old = std::mem::replace(&mut self.slots, vec![0; capacity]);
        for slot in old {
            if slot != 0 {
                self.place(slot);
            }
        }
    }

    /// Takes a position out and closes the gap, so that no lookup has to step over graves.
    pub(super) fn remove(&mut self, hash: u32, position: Position) {
        let wanted = u64::from(hash) << 32 | u64::from(position + 1);
        let mut gap = self.home(hash);
        loop {
            match self.slots.get(gap) {
                Some(&slot) if slot == wanted => break,
                Some(&slot) if slot != 0 => gap = self.after(gap),
                Some(_) | None => panic!("the index does not know position {position}"),
            }
        }
        self.len -= 1;
        let mut at = gap;
        loop {
            at = self.after(at);
            let Some(&slot) = self.slots.get(at).filter(|&&slot| slot != 0) else { break };
            let home = self.home((slot >> 32) as u32);
            // It may move into the gap unless its home lies between the two, going round.
            let between =
                if gap <= at { gap < home && home <= at } else { gap < home || home <= at };
            if !between {
                if let Some(target) = self.slots.get_mut(gap) {
                    *target = slot;
                }
                gap = at;
            }
        }
        if let Some(target) = self.slots.get_mut(gap) {
            *target = 0;
        }
    }
}
