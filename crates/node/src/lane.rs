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
//!
//! **Several lanes.** A node has one lane or several, each with partitions of its own. They share
//! nothing: an LSN says something only together with its lane, and that is what a [`Gate`] is.
//!
//! **Leading.** Only the leader of a lane decides, and only where a lane is led is a group open. So
//! whoever asks for an LSN learns at the same time whether it may decide anything.
//!
//! [`Gate`]: crate::Gate

mod backlog;
mod commit;
mod standing;
mod waiting;

use crate::error::EngineError;
use crate::follow::{Following, Target};
use crate::metrics::{Health, Role};
use crate::partition::Partitions;
use crate::request::{Round, Wake};
use crate::settings::Durability;
use backlog::Backlog;
use parking_lot::Mutex;
pub(crate) use standing::NOT_LED;
use standing::Standing;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;
use thalweg_base::Clock;
use thalweg_log::{Batch, Log, MANY_PARTITIONS, Origin};
use thalweg_machine::{CommandError, EffectBuffer, Lsn};
use waiting::Waiting;

const POSITION_BITS: u32 = 20;
/// At durability `none` nobody waits, so changes are collected for this long.
const LINGER: Duration = Duration::from_millis(2);
/// How long to wait before a full disk is looked at again.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// What all cores read and the commit thread writes has cache lines to itself.
#[repr(align(128))]
pub(crate) struct Lane {
    pub(crate) number: u16,
    pub(crate) partitions: Range<usize>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) durability: Durability,
    /// What this node writes into its batches.
    origin: Origin,
    /// The newest epoch that this node knows of.
    epoch: AtomicU32,
    /// How far this node has followed the log, where it does not lead.
    following: Option<Mutex<Following>>,
    /// 0 where this node does not lead the lane.
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
    standing: Standing,
    commit_thread: OnceLock<Thread>,
    waiting: Waiting,
    stopping: AtomicBool,
}

/// How a lane begins.
struct Begun {
    origin: Origin,
    group: u64,
    settled: Lsn,
    role: Role,
    following: Option<Mutex<Following>>,
}

struct Taken {
    partition: u16,
    effects: EffectBuffer,
}

impl Lane {
    /// A lane that this node leads from now on, behind what its log holds.
    pub(crate) fn led(
        log: Arc<dyn Log>,
        durability: Durability,
        origin: Origin,
        partitions: Range<usize>,
        last_lsn: Lsn,
    ) -> Self {
        let group = (last_lsn >> POSITION_BITS) + 1;
        let settled = (group << POSITION_BITS) - 1;
        let begun = Begun { origin, group, settled, role: Role::Leader, following: None };
        Self::new(log, durability, partitions, begun)
    }

    /// A lane whose log this node follows.
    pub(crate) fn followed(
        log: Arc<dyn Log>,
        durability: Durability,
        origin: Origin,
        partitions: Range<usize>,
        following: Following,
    ) -> Self {
        let settled = following.last_lsn();
        let following = Some(Mutex::new(following));
        let begun = Begun { origin, group: 0, settled, role: Role::Standby, following };
        Self::new(log, durability, partitions, begun)
    }

    fn new(
        log: Arc<dyn Log>,
        durability: Durability,
        partitions: Range<usize>,
        begun: Begun,
    ) -> Self {
        let Begun { origin, group, settled, role, following } = begun;
        Self {
            number: origin.lane,
            partitions,
            log,
            origin,
            epoch: AtomicU32::new(origin.epoch),
            following,
            durability,
            open_group: AtomicU64::new(group),
            settled: AtomicU64::new(settled),
            work: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            taken: Mutex::default(),
            taken_bytes: AtomicUsize::new(0),
            backlog: Backlog::default(),
            spare: Mutex::default(),
            standing: Standing::new(role),
            commit_thread: OnceLock::new(),
            waiting: Waiting::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The LSN of the next change in a partition whose last one is known; none where this node does
    /// not lead the lane. Only under the partition's lock.
    #[inline]
    pub(crate) fn next_lsn(&self, last_lsn: Lsn) -> Option<NonZero<Lsn>> {
        let group = NonZero::new(self.open_group.load(Ordering::SeqCst))?;
        NonZero::new((last_lsn + 1).max(group.get() << POSITION_BITS))
    }

    /// Every LSN up to this one is as durable as the settings ask.
    #[inline]
    pub(crate) fn settled_lsn(&self) -> Lsn {
        self.settled.load(Ordering::Acquire)
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
        self.standing.health()
    }

    pub(crate) fn role(&self) -> Role {
        self.standing.role()
    }

    /// Why writes are refused, if they are.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<CommandError> {
        self.standing.refusal()
    }

    /// The newest epoch that this node knows of.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Begins this node's term: its epoch stands in the log from now on, behind all that was read,
    /// and whoever led before is refused.
    pub(crate) fn begin_term(&self, time_ms: u64, last_lsn: Lsn) -> Result<(), EngineError> {
        self.log.append(&[Batch {
            partition: MANY_PARTITIONS,
            first_lsn: last_lsn,
            last_lsn,
            time_ms,
            origin: self.origin,
            count: 0,
            payload: &[],
        }])?;
        self.log.sync()?;
        Ok(())
    }

    /// Applies what has come into the log since the last time, where this node follows it.
    pub(crate) fn follow(&self, target: Target<'_>) -> Result<(), EngineError> {
        let Some(following) = &self.following else { return Ok(()) };
        let mut following = following.lock();
        let outcome = following.step(target, self.log.as_ref());
        self.epoch.store(following.newest().epoch, Ordering::Relaxed);
        self.settle(following.last_lsn());
        outcome
    }

    fn set_health(&self, health: Health) {
        self.standing.set_health(health);
        // Writers that wait for the log are refused now, or taken again.
        self.backlog.end_round();
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
        Round { lane: self.number, count: self.backlog.rounds() }
    }

    /// Calls `wake` when it has done so once more. False: it has since, and `wake` is not called.
    pub(crate) fn catch_up(&self, since: Round, wake: Wake) -> bool {
        let waits = self.backlog.wait(since.count, wake);
        if waits {
            self.wake();
        }
        waits
    }

    fn spare_buffer(&self) -> EffectBuffer {
        self.spare.lock().pop().unwrap_or_default()
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
