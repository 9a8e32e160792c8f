//! The lane: the way from the partitions' open batches into the log, and the gate.
//!
//! **LSNs.** An LSN has the number of a *commit group* in its high 44 bits and a position in its
//! low 20. A change gets `max(last LSN of its partition + 1, open group << 20)`, read under the
//! partition's lock. To commit, the lane first opens the next group. Then it visits every partition
//! under its lock and takes what is there.
//!
//! After the visits, everything with an LSN of the group before has been taken. For whoever read
//! the old group number held a partition's lock at that time, and the visit had to wait for that
//! lock. When those batches are durable, so is every LSN below `(group + 1) << 20`. So one number
//! answers for all partitions, and giving out an LSN needs no counter that cores share. (A
//! partition that makes more than a million changes in one group continues with the numbers of the
//! next group, and waits for that one.)
//!
//! **Order.** Batches are in the log in the order in which they were taken from their partition. A
//! transaction over several partitions has all their locks. It takes what those partitions hold and
//! puts itself behind, so it is one batch and in order everywhere.
//!
//! **The gate.** A reply that depends on an LSN may leave when [`Lane::settled_lsn`] has reached
//! it.

mod backlog;
mod commit;

use crate::engine::Listener;
use crate::error::EngineError;
use crate::metrics::Health;
use crate::partition::Partitions;
use crate::request::{Round, Wake};
use crate::settings::Durability;
use backlog::Backlog;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;
use thalweg_base::Clock;
use thalweg_log::{Batch, Log, MANY_PARTITIONS};
use thalweg_machine::{EffectBuffer, Lsn};

const POSITION_BITS: u32 = 20;
/// At durability `none` nobody waits, so changes are collected for this long.
const LINGER: Duration = Duration::from_millis(2);
/// How long to wait before a full disk is looked at again.
const FULL_RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Lane {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) durability: Durability,
    open_group: AtomicU64,
    settled: AtomicU64,
    /// Something was changed since the commit thread last looked.
    work: AtomicBool,
    /// The commit thread sleeps until somebody wakes it.
    idle: AtomicBool,
    taken: Mutex<Vec<Taken>>,
    /// Bytes of effects in `taken`.
    taken_bytes: AtomicUsize,
    /// Writers that wait until it is taken.
    backlog: Backlog,
    /// Buffers to give back to partitions.
    spare: Mutex<Vec<EffectBuffer>>,
    health: AtomicU8,
    commit_thread: OnceLock<Thread>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    /// Tasks that wait at the gate, each for an LSN.
    settling: Mutex<Vec<(Lsn, Wake)>>,
    settled_changed: (Mutex<()>, Condvar),
    stopping: AtomicBool,
}

struct Taken {
    partition: u16,
    effects: EffectBuffer,
}

impl Lane {
    /// A lane whose next LSN is above `last_lsn`.
    pub(crate) fn new(log: Arc<dyn Log>, durability: Durability, last_lsn: Lsn) -> Self {
        let group = (last_lsn >> POSITION_BITS) + 1;
        Self {
            log,
            durability,
            open_group: AtomicU64::new(group),
            settled: AtomicU64::new((group << POSITION_BITS) - 1),
            work: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            taken: Mutex::default(),
            taken_bytes: AtomicUsize::new(0),
            backlog: Backlog::default(),
            spare: Mutex::default(),
            health: AtomicU8::new(Health::Ok as u8),
            commit_thread: OnceLock::new(),
            listeners: Mutex::default(),
            settling: Mutex::default(),
            settled_changed: (Mutex::new(()), Condvar::new()),
            stopping: AtomicBool::new(false),
        }
    }

    /// The LSN of the next change in a partition whose last one is known. Only under the
    /// partition's lock.
    #[inline]
    pub(crate) fn next_lsn(&self, last_lsn: Lsn) -> Lsn {
        (last_lsn + 1).max(self.open_group.load(Ordering::SeqCst) << POSITION_BITS)
    }

    /// Every LSN up to this one is as durable as the settings ask.
    #[inline]
    pub(crate) fn settled_lsn(&self) -> Lsn {
        self.settled.load(Ordering::Acquire)
    }

    /// Whether a reply that depends on an LSN may leave.
    #[inline]
    pub(crate) fn is_settled(&self, lsn: Lsn) -> bool {
        self.durability == Durability::None || lsn <= self.settled_lsn()
    }

    /// Notes that there is something to commit.
    #[inline]
    pub(crate) fn note_work(&self) {
        if !self.work.load(Ordering::Relaxed) {
            self.work.store(true, Ordering::SeqCst);
            if self.durability == Durability::None {
                self.wake_if_idle();
            }
        }
    }

    /// Starts a commit if there is something to commit. To be called when a batch of requests is
    /// done.
    #[inline]
    pub(crate) fn flush(&self) {
        if self.durability != Durability::None && self.work.load(Ordering::Relaxed) {
            self.wake_if_idle();
        }
    }

    /// A thread that is awake finds the work by itself.
    fn wake_if_idle(&self) {
        if self.idle.load(Ordering::SeqCst) && self.idle.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.commit_thread.get() {
            thread.unpark();
        }
    }

    pub(crate) fn health(&self) -> Health {
        match self.health.load(Ordering::SeqCst) {
            0 => Health::Ok,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::SeqCst);
        // Writers that wait for the log are refused now, or taken again.
        self.backlog.end_round();
    }

    pub(crate) fn add_listener(&self, listener: Arc<Listener>) {
        self.listeners.lock().push(listener);
    }

    pub(crate) fn remove_listener(&self, listener: &Arc<Listener>) {
        self.listeners.lock().retain(|other| !Arc::ptr_eq(other, listener));
    }

    /// Puts a transaction over several partitions behind what those partitions hold. The caller has
    /// all their locks.
    pub(crate) fn take_transaction<'a>(
        &self,
        parts: impl Iterator<Item = (u16, &'a mut EffectBuffer)>,
        transaction: EffectBuffer,
    ) {
        let mut taken = self.taken.lock();
        let mut bytes = transaction.bytes().len();
        for (partition, pending) in parts {
            if !pending.is_empty() {
                let effects = std::mem::replace(pending, self.spare_buffer());
                bytes += effects.bytes().len();
                taken.push(Taken { partition, effects });
            }
        }
        taken.push(Taken { partition: MANY_PARTITIONS, effects: transaction });
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        drop(taken);
        self.note_work();
    }

    /// Bytes of effects that transactions have put in line for the log.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    /// How often the commit thread has taken what partitions hold.
    pub(crate) fn round(&self) -> Round {
        self.backlog.round()
    }

    /// Calls `wake` when it has done so once more. False: it has since, and `wake` is not called.
    pub(crate) fn catch_up(&self, since: Round, wake: Wake) -> bool {
        let waits = self.backlog.wait(since, wake);
        if waits {
            self.wake();
        }
        waits
    }

    fn spare_buffer(&self) -> EffectBuffer {
        self.spare.lock().pop().unwrap_or_default()
    }

    /// Whether a reply that depends on an LSN may leave, or never will; `None` where it must wait.
    pub(crate) fn passed(&self, lsn: Lsn) -> Option<Result<(), EngineError>> {
        if self.is_settled(lsn) {
            Some(Ok(()))
        } else if self.health() == Health::Failed {
            Some(Err(EngineError::Failed))
        } else if self.stopping.load(Ordering::Acquire) {
            Some(Err(EngineError::ShuttingDown))
        } else {
            None
        }
    }

    /// Calls `wake` when an LSN is settled, or never will be. Look at [`Lane::passed`] once more
    /// after this.
    pub(crate) fn add_settling(&self, lsn: Lsn, wake: Wake) {
        self.settling.lock().push((lsn, wake));
    }

    /// Waits until a reply that depends on an LSN may leave.
    pub(crate) fn wait_settled(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.flush();
        let (mutex, changed) = &self.settled_changed;
        let mut guard = mutex.lock();
        loop {
            match self.passed(lsn) {
                Some(outcome) => return outcome,
                None => changed.wait_for(&mut guard, Duration::from_millis(50)),
            };
        }
    }

    /// Waits until everything up to an LSN is in the log for good, whatever the durability.
    pub(crate) fn wait_logged(&self, lsn: Lsn) -> Result<(), EngineError> {
        let (mutex, changed) = &self.settled_changed;
        let mut guard = mutex.lock();
        while lsn > self.settled_lsn() {
            match self.health() {
                Health::Failed => return Err(EngineError::Failed),
                _ if self.stopping.load(Ordering::Acquire) => {
                    return Err(EngineError::ShuttingDown);
                }
                _ => self.wake(),
            }
            changed.wait_for(&mut guard, Duration::from_millis(5));
        }
        drop(guard);
        if self.durability != Durability::Sync {
            self.log.sync()?;
        }
        Ok(())
    }

    /// Tells the commit thread to commit what is there and end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    fn finish(&self, partitions: &Partitions, clock: &dyn Clock) {
        if self.commit(partitions, clock) {
            self.sync();
        }
        self.tell_everybody();
    }
}
