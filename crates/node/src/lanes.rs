//! The lanes of a node, and which of them a partition belongs to.
//!
//! A lane has a run of neighbouring partitions, and so a run of slots. Their numbers ascend with
//! those of their partitions: whoever locks partitions in order visits lanes in order.

use crate::gate::Gates;
use crate::lane::Lane;
use crate::metrics::Health;
use crate::partition::Partitions;
use std::ops::Range;

/// All lanes of a node: a power of two of them.
pub(crate) struct Lanes {
    all: Box<[Lane]>,
    /// How far to shift a partition's number to get its lane's.
    shift: u32,
}

impl Lanes {
    /// Lanes in the order of their numbers, over so many partitions.
    pub(crate) fn new(all: Vec<Lane>, partitions: usize) -> Self {
        let shift = (partitions / all.len().max(1)).trailing_zeros();
        Self { all: all.into(), shift }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Lane> {
        self.all.iter()
    }

    /// The lane of a partition.
    #[inline]
    pub(crate) fn of(&self, partition: usize) -> &Lane {
        self.at(partition >> self.shift)
    }

    #[inline]
    pub(crate) fn at(&self, number: usize) -> &Lane {
        match self.all.get(number) {
            Some(lane) => lane,
            None => unreachable!("lane numbers come from partitions, which are in range"),
        }
    }

    /// The lane of these partitions, which ascend, if it is one lane.
    #[inline]
    pub(crate) fn common(&self, partitions: &[usize]) -> Option<&Lane> {
        let (first, last) = (partitions.first()?, partitions.last()?);
        (first >> self.shift == last >> self.shift).then(|| self.of(*first))
    }

    /// Whether a reply that waits for these may leave.
    #[inline]
    pub(crate) fn are_settled(&self, gates: &Gates) -> bool {
        gates.all(|gate| self.at(usize::from(gate.lane())).is_settled(gate.lsn()))
    }

    /// The worst health of all.
    pub(crate) fn health(&self) -> Health {
        let rank = |health: &Health| *health as u8;
        self.iter().map(Lane::health).max_by_key(rank).unwrap_or(Health::Ok)
    }

    /// Starts a commit in each lane that has something to commit.
    #[inline]
    pub(crate) fn flush(&self) {
        for lane in &self.all {
            lane.flush();
        }
    }
}

/// The partitions of a lane, where so many are cut into so many lanes.
pub(crate) fn partitions_of(lane: usize, lanes: usize, partitions: usize) -> Range<usize> {
    let each = partitions / lanes.max(1);
    lane * each..(lane + 1) * each
}

impl Partitions {
    /// The highest last LSN of some partitions.
    pub(crate) fn last_lsn(&self, numbers: Range<usize>) -> u64 {
        numbers.map(|number| self.lock(number).state.last_lsn()).max().unwrap_or(0)
    }
}
