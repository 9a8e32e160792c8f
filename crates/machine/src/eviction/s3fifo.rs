//! S3-FIFO (Yang et al., SOSP 2023): a small queue for new entries, a main queue for entries that
//! were used again, and a memory of keys that left the small queue. A key that comes back soon
//! after it left goes straight into the main queue. A hit only raises a counter.

use super::Policy;
use crate::table::{Position, Table};
use foldhash::HashSet;
use std::collections::VecDeque;

const FREQUENCY_MAX: u8 = 3;

#[derive(Default)]
pub(super) struct S3Fifo {
    small: VecDeque<Position>,
    main: VecDeque<Position>,
    ghosts: VecDeque<u32>,
    ghost_set: HashSet<u32>,
}

impl S3Fifo {
    fn remember(&mut self, hash: u32) {
        if self.ghost_set.insert(hash) {
            self.ghosts.push_back(hash);
        }
        while self.ghosts.len() > self.main.len().max(64) {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.ghost_set.remove(&oldest);
            }
        }
    }

    /// A newcomer that was used goes to the main queue; one that was not is the victim.
    fn victim_from_small(&mut self, table: &mut Table, keep: usize) -> Option<Position> {
        while self.small.len() > keep {
            let position = self.small.pop_front()?;
            let Some(entry) = table.entry_mut(position) else {
                table.set_queued(position, false);
                continue;
            };
            if entry.frequency() > 0 {
                entry.set_frequency(0);
                self.main.push_back(position);
                continue;
            }
            entry.set_queued(false);
            let hash = entry.hash;
            self.remember(hash);
            return Some(position);
        }
        None
    }

    fn victim_from_main(&mut self, table: &mut Table) -> Option<Position> {
        while let Some(position) = self.main.pop_front() {
            let Some(entry) = table.entry_mut(position) else {
                table.set_queued(position, false);
                continue;
            };
            let frequency = entry.frequency();
            if frequency == 0 {
                entry.set_queued(false);
                return Some(position);
            }
            // Every round takes one off, so this ends.
            entry.set_frequency(frequency - 1);
            self.main.push_back(position);
        }
        None
    }
}

impl Policy for S3Fifo {
    fn inserted(&mut self, table: &mut Table, position: Position) {
        let entry = table.live_mut(position);
        let returned = self.ghost_set.remove(&entry.hash);
        // A reused slot that still stands in a queue inherits its place; merit shows when its turn
        // comes.
        entry.set_frequency(u8::from(returned && entry.is_queued()));
        if entry.is_queued() {
            return;
        }
        entry.set_queued(true);
        if returned {
            self.main.push_back(position);
        } else {
            self.small.push_back(position);
        }
    }

    fn touched(&mut self, table: &mut Table, position: Position) {
        let entry = table.live_mut(position);
        if entry.frequency() < FREQUENCY_MAX {
            entry.set_frequency(entry.frequency() + 1);
        }
    }

    fn victim(&mut self, table: &mut Table) -> Option<Position> {
        self.victim_from_small(table, table.len() / 10)
            .or_else(|| self.victim_from_main(table))
            .or_else(|| self.victim_from_small(table, 0))
    }

    fn spared(&mut self, table: &mut Table, position: Position) {
        table.set_queued(position, true);
        self.main.push_back(position);
    }

    fn bytes(&self) -> usize {
        (self.small.capacity() + self.main.capacity() + self.ghosts.capacity())
            * size_of::<Position>()
            + self.ghost_set.capacity() * 5
    }
}
