//! What can go wrong with a node.

use thalweg_log::LogError;
use thalweg_store::StoreError;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The log failed, or refused to open.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The checkpoint store failed, or refused to open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
    /// Another process uses the data directory.
    #[error("{0} is in use by another process; stop it, or choose another directory with --data")]
    InUse(String),
    /// The operating system refused something at start-up.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The disk failed; nothing more is acknowledged.
    #[error(
        "the log failed and the node has stopped acknowledging writes; see its log, check the \
         disk, restart"
    )]
    Failed,
    /// Another node leads the lane now. Whether what was waited for was done, its log says.
    #[error(
        "another node leads lane {lane} now; whether this was done is not known: ask the new leader"
    )]
    Deposed {
        /// The lane.
        lane: u16,
    },
    /// The node is being shut down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// A command that only makes sense on a connection.
    #[error("this command needs a connection; it is not part of the embedded library")]
    NeedsConnection,
}
