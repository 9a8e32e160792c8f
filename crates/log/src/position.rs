//! Positions in a log.

/// A place between two batches of a log. Only the log gives them; they are its own, and another log
/// of the same lane has others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Where it is. It only grows.
    pub at: u64,
    /// What stands before it: the checksum of the batch that ends here, or 0 where a log has none.
    /// A reader that comes back finds out whether the log is still the one that it has read.
    pub chain: u32,
}
