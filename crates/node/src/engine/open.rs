//! Opening a node: its store and its logs, recovery, its threads.

use super::start::{hash_seed, lock_directory, random_number, start_threads};
use super::{Closer, Engine, Inner};
use crate::admission::Admission;
use crate::channels::Channels;
use crate::error::EngineError;
use crate::follow::{Following, Target};
use crate::lane::Lane;
use crate::lanes::{Lanes, partitions_of};
use crate::load::Loader;
use crate::memory::MemoryQueue;
use crate::metrics::Role;
use crate::partition::{Partition, Partitions};
use crate::settings::{EngineSettings, Place};
use crate::waiters::Waiters;
use parking_lot::Mutex;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use thalweg_base::fs::RealFs;
use thalweg_log::{LocalLog, LocalLogSettings, Log, MemoryLog, Origin};
use thalweg_machine::{Lsn, State};
use thalweg_store::{Layout, Store};

/// A lane's log, to be opened or given.
type LaneLog = Arc<dyn Log>;

impl Engine {
    /// Opens a node: recovers its state from checkpoint and log, then starts its threads.
    pub fn open(settings: EngineSettings) -> Result<Self, EngineError> {
        let place = Opened::new(&settings)?;
        let logs = (0..settings.lanes).map(|lane| open_log(&settings, lane));
        let logs = logs.collect::<Result<Vec<_>, _>>()?;
        Self::open_on(settings, place, logs, Role::Leader)
    }

    /// Opens a node of one lane on a log that the caller provides: for simulated disks, and other
    /// logs.
    pub fn open_with_log(settings: EngineSettings, log: Arc<dyn Log>) -> Result<Self, EngineError> {
        Self::open_with_logs(settings, vec![log])
    }

    /// Opens a node on logs that the caller provides, one for each lane.
    pub fn open_with_logs(
        settings: EngineSettings,
        logs: Vec<Arc<dyn Log>>,
    ) -> Result<Self, EngineError> {
        let place = Opened::new(&settings)?;
        Self::open_on(settings, place, logs, Role::Leader)
    }

    /// Opens a node that follows logs which other nodes write, one for each lane, and serves reads
    /// ([`Engine::follow`]).
    pub fn open_standby(
        settings: EngineSettings,
        logs: Vec<Arc<dyn Log>>,
    ) -> Result<Self, EngineError> {
        let place = Opened::new(&settings)?;
        Self::open_on(settings, place, logs, Role::Standby)
    }

    fn open_on(
        settings: EngineSettings,
        place: Opened,
        logs: Vec<LaneLog>,
        role: Role,
    ) -> Result<Self, EngineError> {
        if logs.len() != usize::from(settings.lanes) {
            let what =
                format!("{} logs for {} lanes: give each its own", logs.len(), settings.lanes);
            return Err(EngineError::Setting(what));
        }
        let Opened { lock, store } = place;
        let count = settings.partitions;
        let seed = hash_seed();
        let partitions =
            Partitions::new(count, |_number| State::new(seed, settings.eviction, settings.limits));
        let started_us = settings.clock.monotonic_us();
        // Recovery brings what the node had in memory, which was within its budget.
        let keep_room = |_: &mut Partition| {};
        let target =
            Target { partitions: &partitions, store: store.as_deref(), keep_room: &keep_room };
        let (lanes, checkpoint_lsns) = recover_lanes(&settings, target, logs, role)?;
        let recovery_ms = (settings.clock.monotonic_us() - started_us) / 1_000;
        let inner = Arc::new(Inner {
            lanes: Lanes::new(lanes, partitions.count()),
            partitions,
            store,
            waiters: Waiters::default(),
            channels: Channels::default(),
            admission: OnceLock::<Admission>::new(),
            loader: Loader::default(),
            checkpoint_lsns: Mutex::new(checkpoint_lsns),
            checkpoint_wanted: AtomicBool::new(false),
            checkpointing: Mutex::new(()),
            compaction_wanted: AtomicBool::new(false),
            memory_queue: MemoryQueue::default(),
            stored_expiries: crate::cold_expiry::unknown(count),
            entries_bytes: AtomicU64::new(0),
            store_bytes: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            checkpoints: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            random: AtomicU64::new(seed | 1),
            recovery_ms,
            settings,
            _directory_lock: lock,
        });
        inner.weigh_store();
        inner.weigh_entries();
        let threads = Mutex::new(start_threads(&inner)?);
        let closer = Arc::new(Closer { inner: inner.clone(), threads });
        Ok(Self { inner, _closer: closer })
    }
}

/// A place that is this process's own, with its store.
struct Opened {
    /// Held until the process has looked at nothing else in the directory.
    lock: Option<File>,
    store: Option<Arc<Store>>,
}

impl Opened {
    fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        check(settings)?;
        let lock = match &settings.place {
            Place::Memory => None,
            Place::Directory(path) => Some(lock_directory(path)?),
        };
        Ok(Self { lock, store: open_store(settings)? })
    }
}

/// Brings each lane's partitions to where its log ends; gives the lanes, and the LSNs up to which
/// the checkpoint has the partitions.
fn recover_lanes(
    settings: &EngineSettings,
    target: Target<'_>,
    logs: Vec<LaneLog>,
    role: Role,
) -> Result<(Vec<Lane>, Vec<Lsn>), EngineError> {
    let (count, partitions) = (usize::from(settings.lanes), usize::from(settings.partitions));
    let writer = random_number();
    let mut cluster = target.store.map(|store| store.layout().cluster).or(settings.cluster);
    let mut checkpoint_lsns = Vec::new();
    let mut lanes = Vec::with_capacity(count);
    for (lane, log) in (0..).zip(logs) {
        let range = partitions_of(usize::from(lane), count, partitions);
        let mut following = Following::new(lane, range.clone(), cluster, target, log.as_ref())?;
        following.recover(target, log.as_ref())?;
        checkpoint_lsns.extend(following.checkpoint_lsns());
        // Without a store the first batch says it, and where there is none it is a new cluster.
        cluster = cluster.or(following.cluster());
        let known = cluster.unwrap_or_else(random_number);
        let newest = following.newest().epoch;
        let origin = |epoch| Origin { cluster: known, lane, epoch, writer };
        if role == Role::Leader {
            cluster = Some(known);
            let last_lsn = following.last_lsn();
            let origin = origin(next_epoch(newest)?);
            let lane = Lane::led(log, settings.durability, origin, range, last_lsn);
            lane.begin_term(settings.clock.now_ms(), last_lsn)?;
            lanes.push(lane);
        } else {
            lanes.push(Lane::followed(log, settings.durability, origin(newest), range, following));
        }
    }
    Ok((lanes, checkpoint_lsns))
}

fn next_epoch(newest: u32) -> Result<u32, EngineError> {
    newest
        .checked_add(1)
        .ok_or_else(|| EngineError::Setting("the log has had all epochs that there are".to_owned()))
}

fn check(settings: &EngineSettings) -> Result<(), EngineError> {
    let (count, lanes) = (settings.partitions, settings.lanes);
    let what = if !count.is_power_of_two() || count > 1_024 {
        format!("{count} partitions: choose a power of two up to 1024")
    } else if !lanes.is_power_of_two() || lanes > count {
        format!("{lanes} lanes: choose a power of two up to the number of partitions, {count}")
    } else if settings.cluster == Some(0) {
        "cluster 0: batches with this number are those of version 0.1".to_owned()
    } else {
        return Ok(());
    };
    Err(EngineError::Setting(what))
}

fn open_store(settings: &EngineSettings) -> Result<Option<Arc<Store>>, EngineError> {
    let Place::Directory(path) = &settings.place else { return Ok(None) };
    let cache_bytes = (settings.memory_max_bytes / 16).clamp(8 << 20, 1 << 30);
    let cluster = settings.cluster.unwrap_or_else(random_number);
    let layout = Layout { partitions: settings.partitions, lanes: settings.lanes, cluster };
    let path = path.join("store");
    let store = Store::open(&path, layout, cache_bytes)?;
    let kept = store.layout().cluster;
    if settings.cluster.is_some_and(|asked| asked != kept) {
        let what = format!(
            "{} is of cluster {kept:016x}, and this is cluster {cluster:016x}; choose another \
             directory",
            path.display()
        );
        return Err(EngineError::Setting(what));
    }
    Ok(Some(Arc::new(store)))
}

fn open_log(settings: &EngineSettings, lane: u16) -> Result<LaneLog, EngineError> {
    let Place::Directory(path) = &settings.place else { return Ok(Arc::new(MemoryLog::new(0))) };
    let local = LocalLogSettings {
        directory: path.join(log_folder(lane)),
        segment_bytes: settings.segment_bytes,
        compress_min_bytes: settings.compress_min_bytes,
    };
    Ok(Arc::new(LocalLog::open(Arc::new(RealFs), local)?))
}

/// Where a lane's log is. The first one is where the only one was before there were lanes.
fn log_folder(lane: u16) -> std::path::PathBuf {
    match lane {
        0 => Path::new("log").to_owned(),
        lane => format!("log-{lane:02}").into(),
    }
}
