//! What a reply waits for: in each lane that it depends on, an LSN.

use thalweg_machine::Lsn;

/// An LSN of a lane. Whoever waits for it waits until it is settled there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    lane: u16,
    lsn: Lsn,
}

impl Gate {
    /// The gate at an LSN of a lane; LSN 0 is always settled.
    #[inline]
    pub fn new(lane: u16, lsn: Lsn) -> Self {
        Self { lane, lsn }
    }

    /// The lane.
    #[inline]
    pub fn lane(self) -> u16 {
        self.lane
    }

    /// The LSN in that lane.
    #[inline]
    pub fn lsn(self) -> Lsn {
        self.lsn
    }
}

/// What one reply, or several, wait for: the highest LSN of each lane. Nearly all wait in one lane,
/// and then this is a gate and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    first: Gate,
    /// Those of other lanes, each lane once; never without a first.
    others: Option<Box<Others>>,
}

/// Boxed, so that the usual case is small.
type Others = smallvec::SmallVec<[Gate; 4]>;

impl From<Gate> for Gates {
    #[inline]
    fn from(first: Gate) -> Self {
        Self { first, others: None }
    }
}

impl Gates {
    /// Nothing to wait for.
    pub const NONE: Self = Self { first: Gate { lane: 0, lsn: 0 }, others: None };

    /// Waits for this as well.
    #[inline]
    pub fn add(&mut self, gate: Gate) {
        if gate.lane == self.first.lane {
            self.first.lsn = self.first.lsn.max(gate.lsn);
        } else if gate.lsn > 0 {
            self.add_other(gate);
        }
    }

    /// Waits for all of these as well.
    #[inline]
    pub fn join(&mut self, more: &Self) {
        self.add(more.first);
        if let Some(others) = &more.others {
            others.iter().for_each(|gate| self.add(*gate));
        }
    }

    #[inline(never)]
    fn add_other(&mut self, gate: Gate) {
        if self.first.lsn == 0 {
            self.first = gate;
            return;
        }
        let others = self.others.get_or_insert_default();
        match others.iter_mut().find(|other| other.lane == gate.lane) {
            Some(other) => other.lsn = other.lsn.max(gate.lsn),
            None => others.push(gate),
        }
    }

    /// Whether all gates fulfil a condition.
    #[inline]
    pub(crate) fn all(&self, mut condition: impl FnMut(Gate) -> bool) -> bool {
        condition(self.first)
            && self.others.as_ref().is_none_or(|others| others.iter().all(|gate| condition(*gate)))
    }

    /// The gates, each of another lane.
    pub fn iter(&self) -> impl Iterator<Item = Gate> {
        let others = self.others.iter().flat_map(|others| others.iter().copied());
        std::iter::once(self.first).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(gates: &Gates) -> Vec<(u16, Lsn)> {
        let mut all: Vec<_> = gates.iter().map(|gate| (gate.lane, gate.lsn)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn gates_keep_the_highest_lsn_of_each_lane() {
        let mut gates = Gates::NONE;
        gates.add(Gate::new(3, 0));
        assert_eq!(gates, Gates::NONE, "nothing to wait for is no gate");
        for (lane, lsn) in [(2, 7), (2, 5), (0, 9), (1, 4), (0, 3), (1, 6)] {
            gates.add(Gate::new(lane, lsn));
        }
        assert_eq!(sorted(&gates), [(0, 9), (1, 6), (2, 7)]);
        let mut more = Gates::from(Gate::new(1, 8));
        more.add(Gate::new(5, 1));
        gates.join(&more);
        assert_eq!(sorted(&gates), [(0, 9), (1, 8), (2, 7), (5, 1)]);
        assert!(gates.all(|gate| gate.lsn > 0) && !gates.all(|gate| gate.lane < 5));
    }
}
