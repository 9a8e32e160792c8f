//! Least frequently used, as Redis does it. Each entry has a logarithmic counter. Of a sample of
//! entries the one with the lowest counter leaves. The counters of the others in the sample become
//! a little lower, so that entries which were used much long ago leave in the end.

use super::Policy;
use crate::table::{Position, Table};

const SAMPLE: usize = 16;
/// New entries start here, so that they are not gone before their second use.
const START: u8 = 5;

pub(super) struct Lfu {
    random: u64,
}

impl Default for Lfu {
    fn default() -> Self {
        Self { random: 0x2545_F491_4F6C_DD1D }
    }
}

impl Lfu {
    fn next(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

impl Policy for Lfu {
    fn inserted(&mut self, table: &mut Table, position: Position) {
        table.live_mut(position).set_frequency(START);
    }

    fn touched(&mut self, table: &mut Table, position: Position) {
        let random = self.next();
        let entry = table.live_mut(position);
        // The higher the counter, the rarer it counts.
        let scale = u64::from(entry.frequency().saturating_sub(START)) * 2 + 1;
        if random.is_multiple_of(scale) {
            entry.set_frequency(entry.frequency() + 1);
        }
    }

    fn victim(&mut self, table: &mut Table) -> Option<Position> {
        if table.len() == 0 {
            return None;
        }
        let mut sampled = [None; SAMPLE];
        for slot in &mut sampled {
            let start = (self.next() % u64::from(table.end().max(1))) as Position;
            *slot = table
                .iter_from(start)
                .next()
                .or_else(|| table.iter().next())
                .map(|(position, entry)| (entry.frequency(), position));
        }
        let (_, victim) =
            sampled.iter().flatten().min_by_key(|(frequency, _)| *frequency).copied()?;
        for (_, position) in sampled.into_iter().flatten() {
            if position != victim
                && self.next().is_multiple_of(SAMPLE as u64)
                && let Some(entry) = table.entry_mut(position)
            {
                entry.set_frequency(entry.frequency().saturating_sub(1));
            }
        }
        Some(victim)
    }

    fn spared(&mut self, table: &mut Table, position: Position) {
        // It must not be the lowest of every sample until it can leave.
        let entry = table.live_mut(position);
        entry.set_frequency(entry.frequency() + 1);
    }

    fn bytes(&self) -> usize {
        0
    }
}
