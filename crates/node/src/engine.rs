//! The engine: opening, closing, and the few things that are done to a node as a whole.

mod open;
mod report;
mod start;
mod waiting;

use crate::admission::Admission;
use crate::channels::Channels;
use crate::error::EngineError;
use crate::gate::{Gate, Gates};
use crate::lane::Lane;
use crate::lanes::Lanes;
use crate::load::Loader;
use crate::memory::MemoryQueue;
use crate::metrics::Health;
use crate::partition::Partitions;
use crate::settings::EngineSettings;
use crate::waiters::Waiters;
use parking_lot::Mutex;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use thalweg_machine::Lsn;
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
    pub(crate) lanes: Lanes,
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
        self.inner.lanes.iter().for_each(Lane::stop);
        for thread in self.threads.lock().drain(..) {
            // A background thread that panicked has said so; closing goes on.
            let _already_reported = thread.join();
        }
    }
}

impl Engine {
    /// How the node is set up.
    pub fn settings(&self) -> &EngineSettings {
        &self.inner.settings
    }

    /// The time in milliseconds since 1970, by the node's clock.
    pub fn now_ms(&self) -> u64 {
        self.inner.settings.clock.now_ms()
    }

    /// Whether a reply that waits for these may leave.
    #[inline]
    pub fn is_settled(&self, gates: &Gates) -> bool {
        self.inner.lanes.are_settled(gates)
    }

    /// Whether a reply that waits for these will never leave, because a log has failed or another
    /// node leads its lane.
    pub fn is_lost(&self, gates: &Gates) -> bool {
        let lanes = &self.inner.lanes;
        !gates.all(|gate| {
            let lane = lanes.at(usize::from(gate.lane()));
            lane.is_settled(gate.lsn()) || lane.lost().is_none()
        })
    }

    /// Starts committing what has accumulated. To be called when a batch of requests is done.
    #[inline]
    pub fn flush(&self) {
        self.inner.lanes.flush();
    }

    /// Waits until a reply that waits for these may leave; blocks the thread.
    pub fn wait_settled(&self, gates: &Gates) -> Result<(), EngineError> {
        let mut all = gates.iter();
        all.try_for_each(|gate| self.lane_of(gate).wait_settled(gate.lsn()))
    }

    /// Everything in a lane up to this LSN is as durable as the settings ask; `None` where there is
    /// no such lane.
    pub fn settled_lsn(&self, lane: u16) -> Option<Lsn> {
        let mut lanes = self.inner.lanes.iter();
        lanes.find(|other| other.number == lane).map(Lane::settled_lsn)
    }

    /// The lane of a partition; `None` where there is no such partition.
    pub fn lane_of_partition(&self, partition: u16) -> Option<u16> {
        let number = usize::from(partition);
        let lanes = &self.inner.lanes;
        (number < self.inner.partitions.count()).then(|| lanes.of(number).number)
    }

    /// Whether writes are taken: the worst of all lanes.
    pub fn health(&self) -> Health {
        self.inner.lanes.health()
    }

    /// Whether no lane can be written any more: the node is of no further use.
    pub fn has_failed(&self) -> bool {
        self.inner.lanes.iter().all(|lane| lane.health() == Health::Failed)
    }

    fn lane_of(&self, gate: Gate) -> &Lane {
        self.inner.lanes.at(usize::from(gate.lane()))
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

    /// A digest of the whole state in memory: equal for equal data.
    pub fn digest(&self) -> u64 {
        let states = 0..self.inner.partitions.count();
        states.fold(0, |sum, number| {
            let digest = self.inner.partitions.lock(number).state.digest();
            (sum ^ digest).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    }
}
