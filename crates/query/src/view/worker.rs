//! What keeps a view up to date: threads that read its stream's partitions, take records into its state, and write
//! checkpoints; or, where it reads files, tasks that read them once.

use super::compile::Source;
use super::state::{OwnWatermarks, State};
use super::{Status, View};
use crate::catalog::StreamDefinition;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::stream::{Decoder, Misfit, read_block};
use crate::window::times_us;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::logical_expr::LogicalPlan;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thalweg_machine::{Lsn, StreamId};
use thalweg_node::{Engine, RecordBlock};

/// A partition that brings nothing for this long does not hold the watermark back.
const IDLE: Duration = Duration::from_secs(5);
/// How long a worker sleeps when nobody wakes it.
const NAP: Duration = Duration::from_millis(100);

/// How far a view is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    after_ms: u64,
    after_sequence: u64,
    /// The latest event time of the partition.
    max_us: Option<i64>,
}

impl Progress {
    pub(crate) const START: Self = Self { after_ms: 0, after_sequence: 0, max_us: None };

    fn after(self) -> StreamId {
        StreamId { ms: self.after_ms, sequence: self.after_sequence }
    }
}

/// Reads a stream for a view: one thread's share of the partitions.
pub(super) struct Reader {
    view: Arc<View>,
    engine: Engine,
    stream: StreamDefinition,
    projection: Option<Vec<usize>>,
    decoder: Decoder,
    block: RecordBlock,
    /// Number and key.
    partitions: Vec<(u16, String)>,
    /// There are other threads: this one prepares its records by itself before it takes the state's lock.
    shares: bool,
    checkpoints: bool,
}

impl Reader {
    /// Starts the threads that read a view's stream.
    pub(super) fn start_all(inner: &Arc<Inner>, view: &Arc<View>) -> Result<(), SqlError> {
        let Source::Stream { name, definition, projection } = &view.compiled.source else {
            return Ok(());
        };
        let threads = usize::from(definition.partitions).min(inner.settings.threads).max(1);
        for thread in 0..threads {
            let own = (0..definition.partitions)
                .filter(|&number| usize::from(number) % threads == thread);
            let partitions = own.map(|number| (number, definition.key(name, number)));
            let reader = Self {
                view: view.clone(),
                engine: inner.engine.clone(),
                stream: definition.clone(),
                projection: projection.clone(),
                decoder: Decoder::new(definition),
                block: RecordBlock::default(),
                partitions: partitions.collect(),
                shares: threads > 1,
                checkpoints: thread == 0,
            };
            let interval = Duration::from_millis(inner.settings.checkpoint_interval_ms);
            let handle = std::thread::Builder::new()
                .name("thalweg-view".to_owned())
                .spawn(move || reader.run(interval))
                .map_err(SqlError::from)?;
            view.threads.lock().push(handle);
        }
        Ok(())
    }

    fn run(mut self, interval: Duration) {
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.read(interval)));
        let error = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => {
                SqlError::new(SqlState::Internal, "a fault in the view's worker; see the log")
            }
        };
        self.view.fail(error);
    }

    fn read(&mut self, interval: Duration) -> Result<(), SqlError> {
        let thread = std::thread::current();
        let waiter = self.engine.add_waiter(Arc::new(move || thread.unpark()));
        let keys: Vec<Vec<u8>> =
            self.partitions.iter().map(|(_, key)| key.clone().into_bytes()).collect();
        let outcome = self.read_until_stopped(waiter, &keys, interval);
        self.engine.remove_waiter(waiter, &keys);
        outcome?;
        if self.checkpoints { self.view.save() } else { Ok(()) }
    }

    fn read_until_stopped(
        &mut self,
        waiter: u64,
        keys: &[Vec<u8>],
        interval: Duration,
    ) -> Result<(), SqlError> {
        let mut saved = Instant::now();
        while !self.view.stopping.load(Ordering::SeqCst) {
            if self.checkpoints && saved.elapsed() >= interval {
                self.view.save()?;
                saved = Instant::now();
            }
            if self.view.paused.load(Ordering::SeqCst) || self.view.has_failed() {
                std::thread::park_timeout(NAP);
                continue;
            }
            // Before reading: a record that comes while we look must wake us.
            self.engine.wait_for(waiter, keys);
            let mut any = false;
            for index in 0..self.partitions.len() {
                any |= self.step(index)?;
            }
            if any {
                continue;
            }
            self.view.note_live();
            self.advance_idle()?;
            std::thread::park_timeout(NAP);
            let delay_ms = self.view.batch_delay_ms.load(Ordering::Relaxed);
            if delay_ms > 0 {
                // What comes together is taken together.
                std::thread::sleep(Duration::from_millis(delay_ms));
            }
        }
        Ok(())
    }

    /// Takes in the next records of a partition; false if there are none.
    fn step(&mut self, index: usize) -> Result<bool, SqlError> {
        let Some((number, key)) = self.partitions.get(index) else { return Ok(false) };
        let before = self.view.progress(*number);
        let rows = self.view.batch_rows.load(Ordering::Relaxed);
        read_block(&self.engine, key, before.after(), rows, &mut self.block)?;
        let Some(&last) = self.block.ids.last() else {
            if let Some(clock) = self.view.live.lock().clocks.get_mut(usize::from(*number)) {
                clock.caught_up = true;
            }
            return Ok(false);
        };
        let (number, key) = (*number, key.clone());
        let (batch, misfits) = self.decoder.decode(&self.block, number);
        let (own, max_us) = own_watermarks(&self.stream, &batch, before.max_us)?;
        let batch = match &self.projection {
            Some(columns) => {
                batch.project(columns).map_err(datafusion::common::DataFusionError::from)?
            }
            None => batch,
        };
        let after = Progress { after_ms: last.ms, after_sequence: last.sequence, max_us };
        self.take_in((number, &key), batch, own, after, &misfits)?;
        Ok(true)
    }

    fn take_in(
        &mut self,
        (number, key): (u16, &str),
        batch: RecordBatch,
        own: Option<OwnWatermarks>,
        after: Progress,
        misfits: &[Misfit],
    ) -> Result<(), SqlError> {
        let view = self.view.clone();
        let prepared = if self.shares {
            let mut part = State::new(&view.compiled, view.lateness_us)?;
            part.watermark_us = view.live.lock().state.watermark_us;
            let late = part.ingest(batch.clone(), own.as_ref())?;
            Some((part, late))
        } else {
            None
        };
        let mut live = view.live.lock();
        let late = live.take(|state| match prepared {
            Some((part, late)) => state.absorb(part).map(|()| late),
            None => state.ingest(batch, own.as_ref()),
        })?;
        if !late.is_empty() {
            // Before a checkpoint can say that these records were dealt with.
            let gate = self.set_aside(key, &late, misfits);
            live.spoilt |= gate.is_err();
            live.late_gate = live.late_gate.max(gate?);
        }
        if let Some(progress) = live.progress.get_mut(usize::from(number)) {
            *progress = after;
        }
        live.misfits += misfits.len() as u64;
        if let Some(clock) = live.clocks.get_mut(usize::from(number)) {
            *clock = Clock { caught_up: false, active: Instant::now() };
        }
        live.advance(self.stream.watermark.as_ref().map(|watermark| watermark.delay_us))?;
        Ok(())
    }

    /// Lets event time go on past partitions that bring nothing.
    fn advance_idle(&mut self) -> Result<(), SqlError> {
        let delay_us = self.stream.watermark.as_ref().map(|watermark| watermark.delay_us);
        self.view.live.lock().advance(delay_us)
    }

    /// Appends records that came too late to the view's late stream, each once whatever happens; gives the LSN at which
    /// they are there for good.
    fn set_aside(&self, key: &str, late: &[usize], misfits: &[Misfit]) -> Result<Lsn, SqlError> {
        let target = format!("{}.late", self.view.name);
        let producer = format!("view {}", self.view.incarnation);
        // Positions count the records that fit.
        let fits =
            self.block.iter().filter(|(id, _)| !misfits.iter().any(|misfit| misfit.id == *id));
        let fits: Vec<_> = fits.collect();
        let mut gate = 0;
        for &position in late {
            let Some((id, fields)) = fits.get(position) else { continue };
            let request = format!("{key}/{}-{}", id.ms, id.sequence);
            let mut args: Vec<&[u8]> = vec![
                b"XADD",
                target.as_bytes(),
                b"IDMP",
                producer.as_bytes(),
                request.as_bytes(),
                b"*",
            ];
            args.extend(thalweg_machine::unpack_fields(fields));
            let mut session = thalweg_node::Session::default();
            match self.engine.run_in(&mut session, &args)? {
                (thalweg_machine::Reply::Error(error), _) => return Err(error.into()),
                (_, lsn) => gate = gate.max(lsn),
            }
        }
        self.engine.flush();
        Ok(gate)
    }
}

/// The watermark that each record finds in its partition, and the partition's latest time after all of them.
fn own_watermarks(
    stream: &StreamDefinition,
    batch: &RecordBatch,
    max_us: Option<i64>,
) -> Result<(Option<OwnWatermarks>, Option<i64>), SqlError> {
    let Some(watermark) = &stream.watermark else { return Ok((None, None)) };
    let Some(column) = batch.column_by_name(&watermark.column) else { return Ok((None, None)) };
    let times = times_us(column)?;
    let mut latest = max_us;
    let own = (0..times.len()).map(|row| {
        if times.is_valid(row) {
            latest = Some(latest.map_or(times.value(row), |latest| latest.max(times.value(row))));
        }
        latest.map_or(i64::MIN, |latest| latest.saturating_sub(watermark.delay_us))
    });
    let own = OwnWatermarks(own.collect());
    Ok((Some(own), latest))
}

/// Whether a partition holds the watermark back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// There was nothing more to read.
    caught_up: bool,
    /// When it last brought anything, or reading began.
    active: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { caught_up: false, active: Instant::now() }
    }

    fn is_idle(&self) -> bool {
        self.caught_up && self.active.elapsed() >= IDLE
    }
}

/// What changes as a view runs, under one lock: a checkpoint is a moment of all of it.
pub(super) struct Live {
    pub(super) state: State,
    pub(super) progress: Vec<Progress>,
    pub(super) clocks: Vec<Clock>,
    pub(super) misfits: u64,
    pub(super) done: bool,
    /// Taking in a batch failed halfway: what is here now must never be written down.
    pub(super) spoilt: bool,
    /// Where the late records are in the log that were set aside.
    pub(super) late_gate: Lsn,
}

impl Live {
    /// Changes the state; a change that fails leaves it spoilt.
    fn take<T>(
        &mut self,
        change: impl FnOnce(&mut State) -> datafusion::common::Result<T>,
    ) -> Result<T, SqlError> {
        let outcome = change(&mut self.state);
        self.spoilt |= outcome.is_err();
        Ok(outcome?)
    }

    /// Lets the watermark follow the partitions.
    fn advance(&mut self, delay_us: Option<i64>) -> Result<(), SqlError> {
        let Some(delay_us) = delay_us else { return Ok(()) };
        let times = self.progress.iter().map(|progress| progress.max_us);
        let busy: Vec<Option<i64>> = times
            .clone()
            .zip(&self.clocks)
            .filter(|(_, clock)| !clock.is_idle())
            .map(|(time, _)| time)
            .collect();
        let slowest = match busy.is_empty() {
            // Where all are idle, nobody holds anybody back.
            true => times.flatten().max(),
            // A partition that may still bring its first record holds everything.
            false => busy.into_iter().min().flatten(),
        };
        let Some(slowest) = slowest else { return Ok(()) };
        self.take(|state| state.advance(slowest.saturating_sub(delay_us)))
    }
}

/// Reads a view's files, to their end.
pub(super) async fn read_files(inner: Arc<Inner>, view: Arc<View>, scan: LogicalPlan) {
    let outcome = read_all(&inner, &view, scan).await;
    let saved = match outcome {
        Ok(()) => tokio::task::block_in_place(|| view.save()),
        Err(error) => Err(error),
    };
    match saved {
        Ok(()) => *view.status.lock() = Status::Done,
        Err(error) => view.fail(error),
    }
}

async fn read_all(inner: &Arc<Inner>, view: &Arc<View>, scan: LogicalPlan) -> Result<(), SqlError> {
    let state = inner.context()?.state();
    let plan = state.create_physical_plan(&scan).await?;
    let context = state.task_ctx();
    let count = plan.properties().partitioning.partition_count();
    let mut tasks = Vec::with_capacity(count);
    for partition in 0..count {
        let mut rows = plan.execute(partition, context.clone())?;
        let view = view.clone();
        tasks.push(inner.runtime.spawn(async move {
            let mut part = State::new(&view.compiled, view.lateness_us)?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                view.files_rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                part.ingest(batch, None)?;
                while view.paused.load(Ordering::SeqCst) && !view.stopping.load(Ordering::SeqCst) {
                    tokio::time::sleep(NAP).await;
                }
                if view.stopping.load(Ordering::SeqCst) {
                    return Err(SqlError::new(SqlState::QueryCanceled, "the view was stopped"));
                }
            }
            Ok(part)
        }));
    }
    for task in tasks {
        let part =
            task.await.map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))??;
        view.live.lock().take(|state| state.absorb(part))?;
    }
    let mut live = view.live.lock();
    // There is no more: every window is complete.
    live.take(|state| state.advance(i64::MAX))?;
    live.done = true;
    Ok(())
}
