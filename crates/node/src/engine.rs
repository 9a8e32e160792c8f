//! The engine: opening, closing, and the few things that are done to a node as a whole.

mod start;
mod waiting;

use crate::admission::Admission;
use crate::channels::Channels;
use crate::error::EngineError;
use crate::lane::Lane;
use crate::load::Loader;
use crate::memory::MemoryQueue;
use crate::metrics::{EngineReport, Health, PartitionReport};
use crate::partition::Partitions;
use crate::recovery;
use crate::settings::{EngineSettings, Place};
use crate::waiters::{WaiterId, Waiters};
use parking_lot::Mutex;
use start::{hash_seed, lock_directory, start_threads};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use thalweg_base::fs::RealFs;
use thalweg_base::slot::SLOTS;
use thalweg_log::{LocalLog, LocalLogSettings, Log, MemoryLog};
use thalweg_machine::{Lsn, State, StreamReport};
use thalweg_store::Store;

/// A node. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
    _closer: Arc<Closer>,
}

pub(crate) struct Inner {
    pub(crate) settings: EngineSettings,
    pub(crate) partitions: Partitions,
    pub(crate) lane: Lane,
    pub(crate) store: Option<Arc<Store>>,
    pub(crate) waiters: Waiters,
    pub(crate) channels: Channels,
    pub(crate) admission: OnceLock<Admission>,
    pub(crate) loader: Loader,
    pub(crate) checkpoint_lsns: Mutex<Vec<Lsn>>,
    pub(crate) checkpoint_wanted: AtomicBool,
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) compaction_wanted: AtomicBool,
    pub(crate) memory_queue: MemoryQueue,
    /// Per partition, whether keys in the store may expire.
    pub(crate) stored_expiries: Box<[AtomicBool]>,
    /// What entries use of the memory budget, and what the checkpoint store does.
    pub(crate) entries_bytes: AtomicU64,
    pub(crate) store_bytes: AtomicU64,
    pub(crate) stopping: AtomicBool,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) random: AtomicU64,
    recovery_ms: u64,
    /// Locked as long as the data directory is in use.
    _directory_lock: Option<File>,
}

/// Told whenever the settled LSN moves, if it asked.
pub struct Listener {
    waiting: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Listener {
    /// A listener that calls `wake`, from any thread; it must not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { waiting: AtomicBool::new(false), wake: Box::new(wake) })
    }

    /// Asks to be told once. To be called before looking at [`Engine::is_settled`] for the last
    /// time.
    pub fn arm(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    pub(crate) fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) && self.waiting.swap(false, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

/// Stops the node's threads when the last engine goes.
struct Closer {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::SeqCst);
        self.inner.loader.stop();
        self.inner.lane.stop();
        for thread in self.threads.lock().drain(..) {
            // A background thread that panicked has said so; closing goes on.
            let _already_reported = thread.join();
        }
    }
}

impl Engine {
    /// Opens a node: recovers its state from checkpoint and log, then starts its threads.
    pub fn open(settings: EngineSettings) -> Result<Self, EngineError> {
        let log: Arc<dyn Log> = match &settings.place {
            Place::Memory => Arc::new(MemoryLog::new(0)),
            Place::Directory(path) => {
                // Held until the process has looked at nothing else in the directory.
                let local = LocalLogSettings {
                    directory: path.join("log"),
                    segment_bytes: settings.segment_bytes,
                    compress_min_bytes: settings.compress_min_bytes,
                };
                let lock = lock_directory(path)?;
                let log = LocalLog::open(Arc::new(RealFs), local)?;
                return Self::open_on(settings, Arc::new(log), Some(lock));
            }
        };
        Self::open_on(settings, log, None)
    }

    /// Opens a node on a log that the caller provides: for simulated disks, and other logs.
    pub fn open_with_log(settings: EngineSettings, log: Arc<dyn Log>) -> Result<Self, EngineError> {
        Self::open_on(settings, log, None)
    }

    fn open_on(
        settings: EngineSettings,
        log: Arc<dyn Log>,
        directory_lock: Option<File>,
    ) -> Result<Self, EngineError> {
        let count = settings.partitions;
        if !count.is_power_of_two() || count > 1_024 {
            let what = format!("{count} partitions: choose a power of two up to 1024");
            return Err(EngineError::Setting(what));
        }
        let store = match &settings.place {
            Place::Memory => None,
            Place::Directory(path) => {
                let cache_bytes = (settings.memory_max_bytes / 16).clamp(8 << 20, 1 << 30);
                Some(Arc::new(Store::open(&path.join("store"), count, cache_bytes)?))
            }
        };
        let seed = hash_seed();
        let partitions =
            Partitions::new(count, |_number| State::new(seed, settings.eviction, settings.limits));
        let started_us = settings.clock.monotonic_us();
        let recovered = recovery::recover(&partitions, log.as_ref(), store.as_deref())?;
        let recovery_ms = (settings.clock.monotonic_us() - started_us) / 1_000;
        let inner = Arc::new(Inner {
            lane: Lane::new(log, settings.durability, recovered.last_lsn),
            partitions,
            store,
            waiters: Waiters::default(),
            channels: Channels::default(),
            admission: OnceLock::new(),
            loader: Loader::default(),
            checkpoint_lsns: Mutex::new(recovered.checkpoint_lsns),
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
            _directory_lock: directory_lock,
        });
        inner.weigh_store();
        inner.weigh_entries();
        let threads = Mutex::new(start_threads(&inner)?);
        let closer = Arc::new(Closer { inner: inner.clone(), threads });
        Ok(Self { inner, _closer: closer })
    }

    /// How the node is set up.
    pub fn settings(&self) -> &EngineSettings {
        &self.inner.settings
    }

    /// The time in milliseconds since 1970, by the node's clock.
    pub fn now_ms(&self) -> u64 {
        self.inner.settings.clock.now_ms()
    }

    /// Whether a reply that depends on an LSN may leave.
    #[inline]
    pub fn is_settled(&self, lsn: Lsn) -> bool {
        self.inner.lane.is_settled(lsn)
    }

    /// Every LSN up to this one is as durable as the settings ask.
    pub fn settled_lsn(&self) -> Lsn {
        self.inner.lane.settled_lsn()
    }

    /// Starts committing what has accumulated. To be called when a batch of requests is done.
    #[inline]
    pub fn flush(&self) {
        self.inner.lane.flush();
    }

    /// Waits until an LSN is settled; blocks the thread.
    pub fn wait_settled(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.inner.lane.wait_settled(lsn)
    }

    /// Whether writes are taken.
    pub fn health(&self) -> Health {
        self.inner.lane.health()
    }

    /// Fetches the memory of keys that commands are about to use, all of them side by side. Worth
    /// it from a few keys on.
    pub fn prefetch(&self, keys: &[&[u8]]) {
        const AT_ONCE: usize = 32;
        let partitions = &self.inner.partitions;
        for keys in keys.chunks(AT_ONCE) {
            let mut places = [(0usize, 0u32); AT_ONCE];
            for (place, key) in places.iter_mut().zip(keys) {
                let number = partitions.of(key);
                let partition = partitions.lock(number);
                let hash = partition.state.hash(key);
                partition.state.prefetch_index(hash);
                *place = (number, hash);
            }
            let mut positions = [None; AT_ONCE];
            for (position, (number, hash)) in positions.iter_mut().zip(places).take(keys.len()) {
                *position = partitions.lock(number).state.prefetch_entry(hash);
            }
            for (position, (number, _)) in positions.into_iter().zip(places).take(keys.len()) {
                if let Some(position) = position {
                    partitions.lock(number).state.prefetch_bytes(position);
                }
            }
        }
    }

    /// The commands a table entry's keys are in: which partition holds a key.
    pub fn partition_of(&self, key: &[u8]) -> usize {
        self.inner.partitions.of(key)
    }

    /// Writes what changed to the checkpoint store and trims the log, now. Also done in the
    /// background.
    pub fn checkpoint(&self) -> Result<(), EngineError> {
        self.inner.checkpoint()
    }

    /// Figures for people and metrics.
    pub fn report(&self) -> EngineReport {
        let inner = &self.inner;
        let checkpoint_lsns = inner.checkpoint_lsns.lock().clone();
        let slots = SLOTS / inner.settings.partitions;
        let partitions = (0..inner.partitions.count()).map(|number| {
            let partition = inner.partitions.lock(number);
            let first = number as u16 * slots;
            PartitionReport {
                number: number as u16,
                slots: (first, first + (slots - 1)),
                keys: partition.state.key_count(),
                hot_keys: partition.state.hot_key_count(),
                expiring_keys: partition.state.expiring_key_count(),
                memory_bytes: partition.state.memory_bytes() as u64,
                last_lsn: partition.state.last_lsn(),
                checkpoint_lsn: checkpoint_lsns.get(number).copied().unwrap_or(0),
                writes: partition.writes,
                reads: partition.reads,
                evicted: partition.state.evicted_count(),
            }
        });
        EngineReport {
            health: self.health(),
            partitions: partitions.collect(),
            settled_lsn: self.settled_lsn(),
            log: inner.lane.log.report(),
            store_bytes: inner.store.as_ref().map_or(0, |store| store.disk_bytes()),
            checkpoints: inner.checkpoints.load(Ordering::Relaxed),
            loads: inner.loader.loads(),
            expired: inner.expired.load(Ordering::Relaxed),
            recovery_ms: inner.recovery_ms,
        }
    }

    /// The largest streams in memory, at most `limit`.
    pub fn stream_reports(&self, limit: usize) -> Vec<StreamReport> {
        let partitions = &self.inner.partitions;
        let mut reports: Vec<_> = (0..partitions.count())
            .flat_map(|number| partitions.lock(number).state.stream_reports(limit))
            .collect();
        reports.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.key.cmp(&b.key)));
        reports.truncate(limit);
        reports
    }

    /// A digest of the whole state in memory: equal for equal data.
    pub fn digest(&self) -> u64 {
        let states = 0..self.inner.partitions.count();
        states.fold(0, |sum, number| {
            let digest = self.inner.partitions.lock(number).state.digest();
            (sum ^ digest).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    }
}
