//! What can go wrong with a log, and what somebody can do about it.

use std::io;
use std::path::PathBuf;

/// An error of a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No room for another segment. Nothing was written; try again when there is space.
    #[error("the disk is full: no room for another log segment in {directory}; free some space")]
    Full {
        /// Where the segments are.
        directory: PathBuf,
    },
    /// The operating system failed to make bytes durable. The log takes nothing more.
    #[error(
        "the disk failed while making the log durable ({source}); what was not acknowledged may be \
         lost. Check the \
         disk, then start again: the log is read back and only whole batches are kept"
    )]
    SyncFailed {
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier failure closed the log.
    #[error("the log is closed after an earlier disk failure; restart after checking the disk")]
    Poisoned,
    /// Another leader has written to the log since. Nothing was written.
    #[error(
        "the log has a leader of epoch {newer}, so an append of epoch {epoch} is refused: this \
         node leads the lane no longer"
    )]
    Fenced {
        /// The epoch of the append.
        epoch: u32,
        /// The newest epoch that the log holds.
        newer: u32,
    },
    /// A position that the log does not hold: trimmed, or never reached.
    #[error("the log holds positions {oldest} to {newest}, and nothing at {position}")]
    NotHeld {
        /// What was asked for.
        position: u64,
        /// Where the log begins.
        oldest: u64,
        /// How far it is durable.
        newest: u64,
    },
    /// Bytes that were durable are not what was written.
    #[error(
        "{file} is damaged at byte {offset}: {what}. These bytes had been acknowledged, so Thalweg \
         does not start by \
         leaving them out. Restore the data directory from a backup; to look at it, copy it first"
    )]
    Damaged {
        /// The segment file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// The log was written by a later version.
    #[error(
        "{file} has log format {found}; this version reads format {known}. Start the newer version"
    )]
    Version {
        /// The segment file.
        file: PathBuf,
        /// The format in the file.
        found: u32,
        /// The format that this version writes.
        known: u32,
    },
    /// Whoever read the log could not make sense of a batch.
    #[error("batch at LSN {lsn} cannot be applied: {what}")]
    Replay {
        /// The batch's first LSN.
        lsn: u64,
        /// What the reader said.
        what: String,
    },
    /// Any other failure of the file system.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl LogError {
    /// Whether the log can still be used after this error.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Full { .. })
    }
}
