//! How a database is opened, and what it is given.

use super::*;

/// How SQL is run.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// Where views keep their checkpoints; nothing: they are not kept.
    pub folder: Option<PathBuf>,
    /// Where streams' older records are sealed, a folder or `s3://bucket/prefix`; nothing: all of
    /// them stay in memory.
    pub segments: Option<String>,
    /// Memory that all queries may use together, a quarter of it for pieces of Parquet files;
    /// sorts, joins and groups beyond it go to disk, the rest is refused.
    pub memory_max_bytes: usize,
    /// Memory that the states of all views may have together; beyond it views over streams wait,
    /// and their streams keep what comes.
    pub view_memory_max_bytes: usize,
    /// Threads that run queries, and partitions that a query is cut into.
    pub threads: usize,
    /// How often a view writes its checkpoint.
    pub checkpoint_interval_ms: u64,
    /// A stream's partition that is silent for this long while others bring records does not hold
    /// windows open.
    pub idle_ms: u64,
    /// Gives memory that nobody uses back to the system; called when the process has more than it
    /// may have.
    pub give_memory_back: fn(),
}

impl Default for SqlSettings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            folder: None,
            segments: None,
            memory_max_bytes: 1 << 30,
            view_memory_max_bytes: 1 << 30,
            threads,
            checkpoint_interval_ms: 5_000,
            idle_ms: 5_000,
            give_memory_back: || {},
        }
    }
}

/// Rows of system tables that others know: one text for each column.
pub type SystemRows = Box<dyn Fn() -> Vec<Vec<Option<String>>> + Send + Sync>;

/// Where system tables that are not about SQL get their rows from.
pub struct Sources {
    /// For `sys.clients`.
    pub clients: SystemRows,
    /// For `sys.settings`.
    pub settings: SystemRows,
}

impl Default for Sources {
    fn default() -> Self {
        Self { clients: Box::new(Vec::new), settings: Box::new(Vec::new) }
    }
}

/// A statement that took long.
pub(crate) struct SlowQuery {
    pub(crate) ended_ms: u64,
    pub(crate) duration_us: u64,
    pub(crate) rows: u64,
    pub(crate) sql: String,
}
