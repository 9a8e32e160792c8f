//! The log: the only truth. Batches go in at the end, are made durable, and can be read again in
//! order.
//!
//! [`Log`] is the one interface between Thalweg and the store of its bytes. It has two
//! implementations here, [`MemoryLog`] and [`LocalLog`], and both pass [`battery`], whose tests are
//! the trait's specification.

mod batch;
pub mod battery;
mod error;
mod local;
mod memory;
mod origin;
mod position;

pub use batch::{Batch, MANY_PARTITIONS, decode_batch_header, fuzz_decode};
pub use error::LogError;
pub use local::{LocalLog, LocalLogSettings};
pub use memory::MemoryLog;
pub use origin::Origin;
pub use position::Position;

/// A position in a partition's log. It only grows.
pub type Lsn = u64;

/// What a reader does with a batch, and the position behind it.
pub type Visit<'a> = dyn FnMut(Position, &Batch<'_>) -> Result<(), LogError> + 'a;

/// An append-only sequence of batches.
///
/// One thread appends and syncs (the node's commit thread); any thread may read.
pub trait Log: Send + Sync + 'static {
    /// Appends batches in order, as one write; gives the position behind them. They are not durable
    /// before [`Log::sync`] has given that position, or a later one.
    ///
    /// An error leaves the log as it was: the same batches may be appended again, except after an
    /// error that [`LogError::is_fatal`]. A log remembers the newest origin that it holds. Batches
    /// of an older epoch, or of the same epoch and another writer, are refused
    /// ([`LogError::Fenced`]).
    fn append(&self, batches: &[Batch<'_>]) -> Result<Position, LogError>;

    /// Makes everything appended so far durable, and gives the position up to which everything is.
    /// A failure is fatal: what was appended may or may not be there.
    fn sync(&self) -> Result<Position, LogError>;

    /// The position of the oldest batch that is kept.
    fn oldest(&self) -> Position;

    /// Gives every durable batch from a position on to `visit`, oldest first; gives the position
    /// where the durable log ends. From there a reader goes on later. Others may append meanwhile.
    ///
    /// Batches without effects are given, too. An error of `visit` ends it. A position that is not
    /// held is refused ([`LogError::NotHeld`]).
    fn follow(&self, from: Position, visit: &mut Visit<'_>) -> Result<Position, LogError>;

    /// A position below which no batch has an LSN of at least `lsn`, as high as the log knows one.
    fn position_of(&self, lsn: Lsn) -> Position;

    /// Allows the log to forget what is below a position. It may keep more than it must.
    fn trim(&self, below: Position) -> Result<(), LogError>;

    /// Whether there is room for what the node still holds in memory. While false, the node takes
    /// no new writes. Asking makes the log look again, so room that came back is found without a
    /// restart.
    fn has_room(&self) -> bool;

    /// Figures for people and metrics.
    fn report(&self) -> LogReport;
}

/// What a log tells about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogReport {
    /// Bytes on disk (or in memory) now.
    pub size_bytes: u64,
    /// Segment files now.
    pub segments: u64,
    /// Batches appended since the log was opened.
    pub appended_batches: u64,
    /// Payload bytes appended since the log was opened, before compression.
    pub appended_bytes: u64,
    /// The same after compression.
    pub stored_bytes: u64,
    /// Syncs since the log was opened.
    pub syncs: u64,
    /// Bytes of a torn tail that were cut when the log was opened.
    pub torn_bytes: u64,
}

impl LogReport {
    /// The figures of two logs together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            size_bytes: self.size_bytes + other.size_bytes,
            segments: self.segments + other.segments,
            appended_batches: self.appended_batches + other.appended_batches,
            appended_bytes: self.appended_bytes + other.appended_bytes,
            stored_bytes: self.stored_bytes + other.stored_bytes,
            syncs: self.syncs + other.syncs,
            torn_bytes: self.torn_bytes + other.torn_bytes,
        }
    }

    /// Payload bytes before compression for each byte after it; 1.0 while nothing was appended.
    pub fn compression_ratio(&self) -> f64 {
        if self.stored_bytes == 0 {
            1.0
        } else {
            self.appended_bytes as f64 / self.stored_bytes as f64
        }
    }
}
