//! First in, first out.

use super::Policy;
use crate::table::{Position, Table};
use std::collections::VecDeque;

#[derive(Default)]
pub(super) struct Fifo {
    queue: VecDeque<Position>,
}

impl Policy for Fifo {
    fn inserted(&mut self, table: &mut Table, position: Position) {
        let entry = table.live_mut(position);
        // A reused slot that still stands in the queue inherits its place.
        if !entry.is_queued() {
            entry.set_queued(true);
            self.queue.push_back(position);
        }
    }

    fn touched(&mut self, _table: &mut Table, _position: Position) {}

    fn victim(&mut self, table: &mut Table) -> Option<Position> {
        while let Some(position) = self.queue.pop_front() {
            table.set_queued(position, false);
            if table.entry(position).is_some() {
                return Some(position);
            }
        }
        None
    }

    fn spared(&mut self, table: &mut Table, position: Position) {
        self.inserted(table, position);
    }

    fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<Position>()
    }
}
