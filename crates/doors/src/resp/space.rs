//! The memory for replies. All connections share one budget, and a large reply takes its share of
//! it before it is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a connection's buffer may hold without asking.
const FREE_BYTES: usize = 1 << 20;

/// The bytes of large replies, of all connections.
pub(crate) struct ReplyBudget {
    used: AtomicUsize,
    max: usize,
}

impl ReplyBudget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|&used| used <= self.max)
        });
        taken.is_ok()
    }
}

/// One connection's part of the budget.
pub(crate) struct ReplySpace {
    budget: Arc<ReplyBudget>,
    taken: usize,
}

impl ReplySpace {
    pub(super) fn new(budget: Arc<ReplyBudget>) -> Self {
        Self { budget, taken: 0 }
    }

    /// How long the connection's buffer may be.
    pub(super) fn room(&self) -> usize {
        FREE_BYTES + self.taken
    }

    /// Takes room for a buffer of so many bytes, twice what there was if that is to be had.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(self.room());
        for more in [wanted.max(self.room()), wanted] {
            if self.budget.take(more) {
                self.taken += more;
                return true;
            }
        }
        false
    }

    /// Gives back what a buffer of so many bytes does not need.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let unused = self.taken.saturating_sub(bytes.saturating_sub(FREE_BYTES));
        self.taken -= unused;
        self.budget.used.fetch_sub(unused, Ordering::Relaxed);
    }
}

impl Drop for ReplySpace {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::RespWriter;
    use super::*;
    use thalweg_machine::Answer;

    #[test]
    fn a_reply_beyond_the_budget_is_refused() {
        let budget = Arc::new(ReplyBudget::new(8 << 20));
        let mut space = ReplySpace::new(budget.clone());
        let (mut out, value) = (b"+OK\r\n".to_vec(), vec![b'x'; 1 << 20]);
        let mut writer = RespWriter::within(&mut out, false, &mut space);
        writer.array(4);
        (0..4).for_each(|_| writer.bulk(&value));
        assert!(writer.finish(5).is_empty());
        assert!(out.len() > 4 << 20 && budget.used.load(Ordering::Relaxed) > 3 << 20);
        let mut other_space = ReplySpace::new(budget.clone());
        let mut other = b"+OK\r\n".to_vec();
        let mut writer = RespWriter::within(&mut other, false, &mut other_space);
        writer.array(1_000);
        (0..1_000).for_each(|_| writer.bulk(&value));
        writer.finish(5);
        assert!(other.starts_with(b"+OK\r\n-OOM the reply of 10"), "{:?}", other.get(..60));
        drop(other_space);
        space.shrink(0);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0, "all is given back");
    }
}
