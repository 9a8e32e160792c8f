//! What the engine tells about itself.

use thalweg_log::LogReport;

/// Whether writes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Yes.
    Ok = 0,
    /// The disk is full: reads go on, writes are refused.
    Full = 1,
    /// The disk failed: nothing more is acknowledged.
    Failed = 2,
}

impl Health {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

/// What a node is to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// It decides, and writes the log.
    Leader = 0,
    /// It follows the log, and decides nothing.
    Standby = 1,
    /// It led until another node took over. What it had not made durable may or may not be in the
    /// log; it decides nothing more.
    Deposed = 2,
}

impl Role {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Standby => "standby",
            Self::Deposed => "deposed",
        }
    }
}

/// Figures of one lane.
#[derive(Clone, Debug)]
pub struct LaneReport {
    /// Its number.
    pub number: u16,
    /// First and last partition.
    pub partitions: (u16, u16),
    /// What this node is to it.
    pub role: Role,
    /// The newest epoch that this node knows of.
    pub epoch: u32,
    /// Whether its log takes writes.
    pub health: Health,
    /// The LSN up to which everything in it is as durable as the settings ask.
    pub settled_lsn: u64,
    /// Its log's figures.
    pub log: LogReport,
}

/// Figures of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionReport {
    /// Its number.
    pub number: u16,
    /// First and last slot.
    pub slots: (u16, u16),
    /// Keys, in memory or not.
    pub keys: u64,
    /// Keys in memory.
    pub hot_keys: u64,
    /// Keys in memory that expire.
    pub expiring_keys: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The LSN of the last change.
    pub last_lsn: u64,
    /// The LSN up to which the checkpoint store is complete.
    pub checkpoint_lsn: u64,
    /// Commands that changed something.
    pub writes: u64,
    /// Commands that did not.
    pub reads: u64,
    /// Entries that left memory.
    pub evicted: u64,
}

/// Figures of a node.
#[derive(Clone, Debug)]
pub struct EngineReport {
    /// Whether writes are taken: the worst of all lanes.
    pub health: Health,
    /// One row a partition.
    pub partitions: Vec<PartitionReport>,
    /// One row a lane.
    pub lanes: Vec<LaneReport>,
    /// The sum of the logs' figures.
    pub log: LogReport,
    /// Bytes of the checkpoint store.
    pub store_bytes: u64,
    /// Checkpoints taken since the start.
    pub checkpoints: u64,
    /// Keys that had to be fetched from the store.
    pub loads: u64,
    /// Keys deleted because they expired.
    pub expired: u64,
    /// How long recovery took.
    pub recovery_ms: u64,
}

impl EngineReport {
    /// The sum of a figure over all partitions.
    pub fn total(&self, figure: impl Fn(&PartitionReport) -> u64) -> u64 {
        self.partitions.iter().map(figure).sum()
    }
}
