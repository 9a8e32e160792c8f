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

pub use batch::{Batch, MANY_PARTITIONS, decode_batch_header, fuzz_decode};
pub use error::LogError;
pub use local::{LocalLog, LocalLogSettings};
pub use memory::MemoryLog;

/// A position in a partition's log. It only grows.
pub type Lsn = u64;

/// An append-only sequence of batches.
///
/// One thread appends and syncs (the node's commit thread); any thread may ask for [`Log::report`].
pub trait Log: Send + Sync + 'static {
    /// Appends batches in order, as one write. They are not durable before [`Log::sync`] returns.
    ///
    /// An error leaves the log as it was: the same batches may be appended again, except after an
    /// error that [`LogError::is_fatal`].
    fn append(&self, batches: &[Batch<'_>]) -> Result<(), LogError>;

    /// Makes everything appended so far durable. A failure is fatal: what was appended may or may
    /// not be there.
    fn sync(&self) -> Result<(), LogError>;

    /// Gives every kept batch, oldest first, to `visit`.
    fn replay(
        &self,
        visit: &mut dyn FnMut(&Batch<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError>;

    /// Allows the log to forget batches whose last LSN is below `lsn`. It may keep more than it
    /// must.
    fn trim(&self, lsn: Lsn) -> Result<(), LogError>;

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
    /// Payload bytes before compression for each byte after it; 1.0 while nothing was appended.
    pub fn compression_ratio(&self) -> f64 {
        if self.stored_bytes == 0 {
            1.0
        } else {
            self.appended_bytes as f64 / self.stored_bytes as f64
        }
    }
}
