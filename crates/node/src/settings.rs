//! How a node is set up.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use thalweg_base::{Clock, SystemClock, memory};
use thalweg_machine::{PolicyName, StateLimits};

/// When a reply may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync: survives a power cut.
    #[default]
    Sync,
    /// After the write has reached the operating system, which is told to write it out every so
    /// often: survives kill -9; a power cut may take the last interval.
    Interval,
    /// At once: a crash of the process may take the last milliseconds, a power cut more.
    None,
}

impl Durability {
    /// The names, as settings spell them.
    pub const NAMES: &'static [&'static str] = &["sync", "interval", "none"];

    /// The name, as settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Interval => "interval",
            Self::None => "none",
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sync" => Ok(Self::Sync),
            "interval" => Ok(Self::Interval),
            "none" => Ok(Self::None),
            _ => Err(format!("'{text}' is not a durability; there are {}", Self::NAMES.join(", "))),
        }
    }
}

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a directory: the log in `log/` (those of further lanes in `log-01/` and so on), the
    /// checkpoint store in `store/`.
    Directory(PathBuf),
    /// Only in memory: nothing survives the process.
    Memory,
}

/// How a node is set up.
#[derive(Clone)]
pub struct EngineSettings {
    /// Where the data is.
    pub place: Place,
    /// How many partitions; fixed when a data directory is created. A power of two, at most 1,024.
    pub partitions: u16,
    /// How many lanes, each with a log of its own; fixed when a data directory is created. A power
    /// of two, at most as many as partitions. A command or a transaction writes in one of them.
    pub lanes: u16,
    /// The number of the cluster that this node is of; none: that of the data directory, or a new
    /// one.
    pub cluster: Option<u64>,
    /// When a reply may leave.
    pub durability: Durability,
    /// How often to sync at durability `interval`.
    pub sync_interval_ms: u64,
    /// The memory budget for entries and the checkpoint store's filters and cache; the rest is on
    /// disk only.
    pub memory_max_bytes: u64,
    /// Which entries leave memory first.
    pub eviction: PolicyName,
    /// Size of a log segment.
    pub segment_bytes: u64,
    /// Batches of at least this size are compressed in the log.
    pub compress_min_bytes: usize,
    /// A checkpoint begins when the log has grown by this much since the last one.
    pub checkpoint_log_bytes: u64,
    /// What a partition may hold back while the log is busy; then writers wait.
    pub pending_max_bytes: usize,
    /// Limits on what a client may make large.
    pub limits: StateLimits,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl EngineSettings {
    /// The defaults, in a directory.
    pub fn in_directory(path: impl Into<PathBuf>) -> Self {
        Self {
            place: Place::Directory(path.into()),
            partitions: 32,
            lanes: 1,
            cluster: None,
            durability: Durability::Sync,
            sync_interval_ms: 1_000,
            memory_max_bytes: default_memory_bytes(),
            eviction: PolicyName::default(),
            segment_bytes: 64 << 20,
            compress_min_bytes: 64 << 10,
            checkpoint_log_bytes: 1 << 30,
            pending_max_bytes: 4 << 20,
            limits: StateLimits::default(),
            clock: Arc::new(SystemClock::default()),
        }
    }

    /// The defaults, in memory only.
    pub fn in_memory() -> Self {
        Self {
            place: Place::Memory,
            durability: Durability::None,
            ..Self::in_directory(PathBuf::new())
        }
    }
}

/// Six tenths of the machine's memory, or of what the control group allows, or of half of the
/// address space: threads and files take much of that.
fn default_memory_bytes() -> u64 {
    let space = memory::address_space_bytes().map(|bytes| bytes / 2);
    let total = [memory::machine_bytes(), space].into_iter().flatten().min().unwrap_or(1 << 30);
    total / 10 * 6
}
