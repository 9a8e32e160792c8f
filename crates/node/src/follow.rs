//! Following a lane's log: the one loop that applies what a log holds. Recovery runs it over all
//! that is kept before the node serves; a standby runs it again and again over what has come since.
//!
//! Everything that is read is looked at first: whether it is of this cluster and this lane, whether
//! its leader may follow the one before, whether its partition is one of the lane's. What does not
//! fit is refused, never skipped.

use crate::error::EngineError;
use crate::partition::{Partition, Partitions};
use parking_lot::MutexGuard;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use thalweg_log::{Batch, Log, LogError, MANY_PARTITIONS, Origin, Position};
use thalweg_machine::{Effect, Effects, Loaded, Lsn};
use thalweg_store::Store;

/// Batches on their way to a thread that applies them.
const QUEUE_BATCHES: usize = 256;

/// Where the effects go.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) partitions: &'a Partitions,
    pub(crate) store: Option<&'a Store>,
    /// Keeps a partition that has grown within the memory budget.
    pub(crate) keep_room: &'a (dyn Fn(&mut Partition) + Sync),
}

/// How far a lane's log was followed.
pub(crate) struct Following {
    lane: u16,
    /// The lane's partitions.
    range: Range<usize>,
    /// The cluster whose batches these must be; the first batch says it where nobody else did.
    cluster: Option<u64>,
    /// Who wrote the newest batch.
    newest: Origin,
    position: Position,
    last_lsn: Lsn,
    /// Of each of the partitions, the LSN up to which the checkpoint has everything.
    checkpoint_lsns: Vec<Lsn>,
}

/// A batch's effects, for the thread that has its partitions.
#[derive(Clone)]
struct Work {
    partition: u16,
    payload: Arc<[u8]>,
}

impl Following {
    /// Begins where a log begins, over partitions that are as their checkpoint left them.
    pub(crate) fn new(
        lane: u16,
        range: Range<usize>,
        cluster: Option<u64>,
        target: Target<'_>,
        log: &dyn Log,
    ) -> Result<Self, EngineError> {
        let checkpoint_lsns = read_marks(range.clone(), target)?;
        let last_lsn = checkpoint_lsns.iter().copied().max().unwrap_or(0);
        let (newest, position) = (Origin::default(), log.oldest());
        Ok(Self { lane, range, cluster, newest, position, last_lsn, checkpoint_lsns })
    }

    /// The highest LSN that was read, or that the checkpoint has.
    pub(crate) fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Who wrote the newest batch that was read.
    pub(crate) fn newest(&self) -> Origin {
        self.newest
    }

    /// The cluster, as far as it is known.
    pub(crate) fn cluster(&self) -> Option<u64> {
        self.cluster
    }

    pub(crate) fn checkpoint_lsns(&self) -> &[Lsn] {
        &self.checkpoint_lsns
    }

    /// Applies everything that the log holds, before anybody looks. Partitions are filled side by
    /// side, each in its own order.
    pub(crate) fn recover(&mut self, target: Target<'_>, log: &dyn Log) -> Result<(), EngineError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 16);
        let (range, lsns) = (self.range.clone(), std::mem::take(&mut self.checkpoint_lsns));
        let fold = Fold { target, range, checkpoint_lsns: &lsns };
        let outcome = std::thread::scope(|scope| {
            let mut senders: Vec<SyncSender<Work>> = Vec::new();
            let mut workers = Vec::new();
            for index in 0..threads {
                let (sender, receiver) = sync_channel(QUEUE_BATCHES);
                senders.push(sender);
                let fold = &fold;
                workers.push(scope.spawn(move || fold.run(&receiver, index, threads)));
            }
            let read = log.follow(self.position, &mut |position, batch| {
                self.accept(position, batch, target.partitions.count())?;
                distribute(batch, &senders)
            });
            drop(senders);
            for worker in workers {
                match worker.join() {
                    Ok(outcome) => outcome?,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(read.map(drop)?)
        });
        self.checkpoint_lsns = lsns;
        outcome
    }

    /// Applies what has come since. Whoever looks meanwhile sees each batch whole.
    pub(crate) fn step(&mut self, target: Target<'_>, log: &dyn Log) -> Result<(), EngineError> {
        let (range, lsns) = (self.range.clone(), self.checkpoint_lsns.clone());
        let fold = Fold { target, range, checkpoint_lsns: &lsns };
        let mut failure = None;
        let read = log.follow(self.position, &mut |position, batch| {
            self.check(batch, target.partitions.count())?;
            fold.apply(batch.partition, batch.payload, &|_| true).map_err(|error| {
                let what = error.to_string();
                failure = Some(error);
                LogError::Replay { lsn: batch.first_lsn, what }
            })?;
            // Only now: what was not applied is read again.
            self.note(position, batch);
            Ok(())
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(read.map(drop)?),
        }
    }

    /// Looks at a batch, and counts it as read.
    fn accept(
        &mut self,
        position: Position,
        batch: &Batch<'_>,
        partitions: usize,
    ) -> Result<(), LogError> {
        self.check(batch, partitions)?;
        self.note(position, batch);
        Ok(())
    }

    fn note(&mut self, position: Position, batch: &Batch<'_>) {
        self.position = position;
        self.last_lsn = self.last_lsn.max(batch.last_lsn);
        if batch.origin.cluster != 0 {
            self.cluster = Some(batch.origin.cluster);
            self.newest = batch.origin;
        } else {
            self.newest.epoch = self.newest.epoch.max(batch.origin.epoch);
        }
    }

    /// Whether a batch may stand here.
    fn check(&self, batch: &Batch<'_>, partitions: usize) -> Result<(), LogError> {
        let what = self
            .origin_misfit(batch)
            .or_else(|| self.partition_misfit(usize::from(batch.partition), partitions));
        match what {
            Some(what) => Err(LogError::Replay { lsn: batch.first_lsn, what }),
            None => Ok(()),
        }
    }

    fn origin_misfit(&self, batch: &Batch<'_>) -> Option<String> {
        let origin = &batch.origin;
        if origin.cluster == 0 {
            // As version 0.1 wrote it, which had one lane; or the mark of an empty log.
            let fits = self.newest.cluster == 0 && (self.lane == 0 || batch.count == 0);
            return (!fits).then(|| "it does not say of which cluster it is".to_owned());
        }
        match self.cluster {
            Some(cluster) if cluster != origin.cluster => Some(format!(
                "it is of cluster {:016x}, and this is cluster {cluster:016x}; the log belongs to \
                 another data directory",
                origin.cluster
            )),
            _ if self.lane != origin.lane => Some(format!(
                "it is of lane {}, and this is the log of lane {}",
                origin.lane, self.lane
            )),
            _ => self.newest.misfit(origin),
        }
    }

    fn partition_misfit(&self, number: usize, count: usize) -> Option<String> {
        if number == usize::from(MANY_PARTITIONS) || self.range.contains(&number) {
            None
        } else if number >= count {
            Some(format!(
                "it belongs to partition {number}, but there are {count}; start with the number \
                 of partitions that the data directory was created with"
            ))
        } else {
            Some(format!("it belongs to partition {number}, which lane {} has not", self.lane))
        }
    }
}

/// Tells the partitions how far the checkpoint goes; gives the LSNs up to which it does.
fn read_marks(range: Range<usize>, target: Target<'_>) -> Result<Vec<Lsn>, EngineError> {
    let mut checkpoint_lsns = Vec::new();
    for number in range {
        let mark = match target.store {
            Some(store) => store.mark(number as u16)?,
            None => thalweg_store::Mark::default(),
        };
        let mut partition = target.partitions.lock(number);
        partition.state.set_stored_count(mark.keys);
        partition.state.set_last_lsn(mark.lsn);
        checkpoint_lsns.push(mark.lsn);
    }
    Ok(checkpoint_lsns)
}

/// Sends a batch to the threads that have its partitions: to all of them where it is of many.
fn distribute(batch: &Batch<'_>, senders: &[SyncSender<Work>]) -> Result<(), LogError> {
    let work = Work { partition: batch.partition, payload: batch.payload.into() };
    let (number, threads) = (usize::from(batch.partition), senders.len());
    let wanted = |index: usize| batch.partition == MANY_PARTITIONS || number % threads == index;
    for (index, sender) in senders.iter().enumerate().filter(|(index, _)| wanted(*index)) {
        if sender.send(work.clone()).is_err() {
            let what = format!("applying thread {index} has stopped");
            return Err(LogError::Replay { lsn: batch.first_lsn, what });
        }
    }
    Ok(())
}

/// What applying needs to know.
struct Fold<'a> {
    target: Target<'a>,
    range: Range<usize>,
    checkpoint_lsns: &'a [Lsn],
}

impl Fold<'_> {
    /// An applying thread's life: it has the partitions whose numbers leave its index.
    fn run(&self, work: &Receiver<Work>, index: usize, threads: usize) -> Result<(), EngineError> {
        for Work { partition, payload } in work {
            self.apply(partition, &payload, &|number| number % threads == index)?;
        }
        Ok(())
    }

    /// Applies those of a batch's effects that belong to wanted partitions, all of which are locked
    /// meanwhile.
    fn apply(
        &self,
        partition: u16,
        payload: &[u8],
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<(), EngineError> {
        let partitions = self.target.partitions;
        let numbers = match partition {
            MANY_PARTITIONS => self.range.clone(),
            number => usize::from(number)..usize::from(number) + 1,
        };
        let numbers = numbers.filter(|&number| wanted(number));
        let mut held: Vec<(usize, MutexGuard<'_, Partition>)> =
            numbers.map(|number| (number, partitions.lock(number))).collect();
        for effect in Effects::new(payload) {
            let (lsn, effect) =
                effect.map_err(|what| LogError::Replay { lsn: 0, what: what.to_owned() })?;
            let number = self.concerned(partition, lsn, &effect)?;
            let concerned = match number.map(|number| held.binary_search_by_key(&number, |h| h.0)) {
                None => held.as_mut_slice(),
                Some(Ok(at)) => held.get_mut(at..=at).unwrap_or_default(),
                // Another thread has it.
                Some(Err(_)) => continue,
            };
            for (number, partition) in concerned {
                self.apply_to(*number, partition, lsn, &effect)?;
            }
        }
        Ok(())
    }

    /// The partition that an effect of a batch concerns; nothing where it has no key and concerns
    /// all of them. A key that is another partition's was written by a node with another number of
    /// partitions.
    fn concerned(
        &self,
        partition: u16,
        lsn: Lsn,
        effect: &Effect<'_>,
    ) -> Result<Option<usize>, LogError> {
        let batch = (partition != MANY_PARTITIONS).then_some(usize::from(partition));
        let Some(key) = effect.key() else { return Ok(batch) };
        let number = self.target.partitions.of(key);
        if batch.map_or(self.range.contains(&number), |batch| batch == number) {
            return Ok(Some(number));
        }
        let what = format!(
            "it has a key of partition {number}, which is not one of its own; the log was written \
             with another number of partitions"
        );
        Err(LogError::Replay { lsn, what })
    }

    fn apply_to(
        &self,
        number: usize,
        partition: &mut Partition,
        lsn: Lsn,
        effect: &Effect<'_>,
    ) -> Result<(), EngineError> {
        let checkpoint = number.checked_sub(self.range.start);
        let checkpoint = checkpoint.and_then(|index| self.checkpoint_lsns.get(index));
        if checkpoint.is_some_and(|&checkpoint| lsn <= checkpoint) {
            return Ok(());
        }
        if let (Some(key), Some(store)) = (effect.key(), self.target.store)
            && partition.state.is_cold(key)
        {
            let found = store.load(number as u16, key, Loaded::head_has_elements)?;
            let loaded = Loaded { head: found.head, elements: found.elements };
            partition
                .state
                .install(key, loaded)
                .map_err(|what| LogError::Replay { lsn, what: what.to_owned() })?;
        }
        partition.state.apply(lsn, effect);
        (self.target.keep_room)(partition);
        Ok(())
    }
}
