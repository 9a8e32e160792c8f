//! Recovery: the state is the checkpoint and the log after it.

use crate::error::EngineError;
use crate::partition::Partitions;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use thalweg_log::{Batch, Log, LogError, MANY_PARTITIONS};
use thalweg_machine::{Effects, Loaded, Lsn};
use thalweg_store::Store;

/// Batches on their way to a replaying thread.
const QUEUE_BATCHES: usize = 256;

pub(crate) struct Recovered {
    pub(crate) last_lsn: Lsn,
    pub(crate) checkpoint_lsns: Vec<Lsn>,
}

/// A batch's effects, for the thread that has its partitions.
#[derive(Clone)]
struct Work {
    partition: u16,
    payload: std::sync::Arc<[u8]>,
}

/// Brings the partitions to where the log ends. Partitions are replayed side by side, each in its
/// own order.
pub(crate) fn recover(
    partitions: &Partitions,
    log: &dyn Log,
    store: Option<&Store>,
) -> Result<Recovered, EngineError> {
    let checkpoint_lsns = read_marks(partitions, store)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 16);
    let mut last_lsn = checkpoint_lsns.iter().copied().max().unwrap_or(0);
    std::thread::scope(|scope| -> Result<(), EngineError> {
        let mut senders: Vec<SyncSender<Work>> = Vec::new();
        let mut workers = Vec::new();
        for index in 0..threads {
            let (sender, receiver) = sync_channel(QUEUE_BATCHES);
            senders.push(sender);
            let lsns = &checkpoint_lsns;
            workers.push(
                scope.spawn(move || replay(partitions, store, lsns, &receiver, index, threads)),
            );
        }
        let read = log.replay(&mut |batch| {
            last_lsn = last_lsn.max(batch.last_lsn);
            distribute(batch, partitions.count(), &senders)
        });
        drop(senders);
        for worker in workers {
            match worker.join() {
                Ok(outcome) => outcome?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(read?)
    })?;
    Ok(Recovered { last_lsn, checkpoint_lsns })
}

/// Tells the partitions how far the checkpoint goes; gives the LSNs up to which it does.
fn read_marks(partitions: &Partitions, store: Option<&Store>) -> Result<Vec<Lsn>, EngineError> {
    let mut checkpoint_lsns = Vec::new();
    for number in 0..partitions.count() {
        let mark = match store {
            Some(store) => store.mark(number as u16)?,
            None => thalweg_store::Mark::default(),
        };
        let mut partition = partitions.lock(number);
        partition.state.set_stored_count(mark.keys);
        partition.state.set_last_lsn(mark.lsn);
        checkpoint_lsns.push(mark.lsn);
    }
    Ok(checkpoint_lsns)
}

/// Sends a batch to the threads that have its partitions: to all of them where it is of many.
fn distribute(
    batch: &Batch<'_>,
    partition_count: usize,
    senders: &[SyncSender<Work>],
) -> Result<(), LogError> {
    let work = Work { partition: batch.partition, payload: batch.payload.into() };
    let number = usize::from(batch.partition);
    let threads = senders.len();
    let wanted = |index: usize| batch.partition == MANY_PARTITIONS || number % threads == index;
    if batch.partition != MANY_PARTITIONS && number >= partition_count {
        let what = format!(
            "it belongs to partition {number}, but there are {partition_count}; start with the \
             number of partitions that the data directory was created with"
        );
        return Err(LogError::Replay { lsn: batch.first_lsn, what });
    }
    for (index, sender) in senders.iter().enumerate().filter(|(index, _)| wanted(*index)) {
        if sender.send(work.clone()).is_err() {
            let what = format!("replaying thread {index} has stopped");
            return Err(LogError::Replay { lsn: batch.first_lsn, what });
        }
    }
    Ok(())
}

/// Applies the effects that belong to this thread's partitions.
fn replay(
    partitions: &Partitions,
    store: Option<&Store>,
    checkpoint_lsns: &[Lsn],
    work: &Receiver<Work>,
    index: usize,
    threads: usize,
) -> Result<(), EngineError> {
    for Work { partition, payload } in work {
        let mut held = (partition != MANY_PARTITIONS)
            .then(|| (usize::from(partition), partitions.lock(usize::from(partition))));
        for effect in Effects::new(&payload) {
            let (lsn, effect) =
                effect.map_err(|what| LogError::Replay { lsn: 0, what: what.to_owned() })?;
            let numbers = match (effect.key(), partition) {
                (Some(key), MANY_PARTITIONS) => {
                    let number = partitions.of(key);
                    number..number + 1
                }
                (None, MANY_PARTITIONS) => 0..partitions.count(),
                _ => usize::from(partition)..usize::from(partition) + 1,
            };
            for number in numbers.filter(|number| number % threads == index) {
                if checkpoint_lsns.get(number).is_some_and(|&checkpoint| lsn <= checkpoint) {
                    continue;
                }
                let mut guard;
                let partition = match &mut held {
                    Some((_, guard)) => guard,
                    None => {
                        guard = partitions.lock(number);
                        &mut guard
                    }
                };
                if let (Some(key), Some(store)) = (effect.key(), store)
                    && partition.state.is_cold(key)
                {
                    let found = store.load(number as u16, key, Loaded::head_has_elements)?;
                    let loaded = Loaded { head: found.head, elements: found.elements };
                    partition
                        .state
                        .install(key, loaded)
                        .map_err(|what| LogError::Replay { lsn, what: what.to_owned() })?;
                }
                partition.state.apply(lsn, &effect);
            }
        }
    }
    Ok(())
}
