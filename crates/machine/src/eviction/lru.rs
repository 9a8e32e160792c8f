//! Least recently used: a doubly linked list threaded through an array by slab position.

use super::Policy;
use crate::table::{Position, Table};

const NONE: Position = Position::MAX;

#[derive(Clone, Copy)]
struct Link {
    older: Position,
    newer: Position,
    linked: bool,
}

pub(super) struct Lru {
    links: Vec<Link>,
    oldest: Position,
    newest: Position,
}

impl Default for Lru {
    fn default() -> Self {
        Self { links: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl Lru {
    fn unlink(&mut self, position: Position) {
        let Some(link) = self.links.get_mut(position as usize).filter(|link| link.linked) else {
            return;
        };
        link.linked = false;
        let Link { older, newer, .. } = *link;
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
    }

    fn push_newest(&mut self, position: Position) {
        let index = position as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, Link { older: NONE, newer: NONE, linked: false });
        }
        let older = self.newest;
        if let Some(link) = self.links.get_mut(index) {
            *link = Link { older, newer: NONE, linked: true };
        }
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = position,
            None => self.oldest = position,
        }
        self.newest = position;
    }
}

impl Policy for Lru {
    fn inserted(&mut self, table: &mut Table, position: Position) {
        self.touched(table, position);
    }

    fn touched(&mut self, _table: &mut Table, position: Position) {
        self.unlink(position);
        self.push_newest(position);
    }

    fn victim(&mut self, table: &mut Table) -> Option<Position> {
        while self.oldest != NONE {
            let position = self.oldest;
            self.unlink(position);
            if table.entry(position).is_some() {
                return Some(position);
            }
        }
        None
    }

    fn spared(&mut self, table: &mut Table, position: Position) {
        self.touched(table, position);
    }

    fn bytes(&self) -> usize {
        self.links.capacity() * size_of::<Link>()
    }
}
