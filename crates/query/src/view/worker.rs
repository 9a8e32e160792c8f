//! What keeps a view up to date: threads that read its stream's partitions, take records into its state, and write
//! checkpoints; or, where it reads files, tasks that read them once.

use super::compile::Source;
use super::state::{OwnWatermarks, State};
use super::{Status, View};
use crate::catalog::StreamDefinition;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::stream::{Misfit, PartitionReader, columns_of, pick};
use crate::types::loose_schema_of;
use crate::window::times_us;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thalweg_machine::{Lsn, StreamId};
use thalweg_node::Engine;

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

    pub(super) fn after(self) -> StreamId {
        StreamId { ms: self.after_ms, sequence: self.after_sequence }
    }
}

/// Reads a stream for a view: one thread's share of the partitions.
pub(super) struct Reader {
    view: Arc<View>,
    engine: Engine,
    stream: StreamDefinition,
    /// The columns that the view's first step finds.
    wanted: SchemaRef,
    partitions: Vec<PartitionReader>,
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
        let wanted = loose_schema_of(&columns_of(definition));
        let wanted = match projection {
            Some(projection) => {
                Arc::new(wanted.project(projection).map_err(DataFusionError::from)?)
            }
            None => wanted,
        };
        let mut columns: Vec<String> =
            wanted.fields().iter().map(|field| field.name().clone()).collect();
        // Event time is read even where the query does not.
        columns.extend(definition.watermark.iter().map(|watermark| watermark.column.clone()));
        let threads = usize::from(definition.partitions).min(inner.settings.threads).max(1);
        for thread in 0..threads {
            let own = (0..definition.partitions)
                .filter(|&number| usize::from(number) % threads == thread);
            let partitions = own.map(|number| {
                let (engine, key) = (&inner.engine, definition.key(name, number));
                let columns = Some(columns.clone());
                PartitionReader::new(engine, &inner.segments, (key, number), definition, columns)
            });
            let reader = Self {
                view: view.clone(),
                engine: inner.engine.clone(),
                stream: definition.clone(),
                wanted: wanted.clone(),
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
            self.partitions.iter().map(|reader| reader.key().as_bytes().to_vec()).collect();
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
            let waits = [&self.view.paused, &self.view.starved];
            if waits.iter().any(|wait| wait.load(Ordering::SeqCst)) || self.view.has_failed() {
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
        let Some(reader) = self.partitions.get_mut(index) else { return Ok(false) };
        let number = reader.number();
        let before = self.view.progress(number);
        let rows = self.view.batch_rows.load(Ordering::Relaxed);
        let Some(piece) = reader.next(before.after(), rows)? else {
            if let Some(clock) = self.view.live.lock().clocks.get_mut(usize::from(number)) {
                clock.caught_up = true;
                clock.has_caught_up = true;
            }
            return Ok(false);
        };
        let (own, max_us) = own_watermarks(&self.stream, &piece.batch, before.max_us)?;
        let batch = pick(&piece.batch, &self.wanted)?;
        let after =
            Progress { after_ms: piece.last.ms, after_sequence: piece.last.sequence, max_us };
        self.take_in(index, batch, own, after, &piece.misfits)?;
        Ok(true)
    }

    fn take_in(
        &mut self,
        index: usize,
        batch: RecordBatch,
        own: Option<OwnWatermarks>,
        after: Progress,
        misfits: &[Misfit],
    ) -> Result<(), SqlError> {
        let Some(reader) = self.partitions.get(index) else { return Ok(()) };
        let number = usize::from(reader.number());
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
            let gate = self.set_aside(reader, &late, misfits);
            live.spoilt |= gate.is_err();
            live.late_gate = live.late_gate.max(gate?);
        }
        if let Some(progress) = live.progress.get_mut(number) {
            *progress = after;
        }
        live.misfits += misfits.len() as u64;
        if let Some(clock) = live.clocks.get_mut(number) {
            *clock = Clock { caught_up: false, active: Instant::now(), ..*clock };
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
    fn set_aside(
        &self,
        reader: &PartitionReader,
        late: &[usize],
        misfits: &[Misfit],
    ) -> Result<Lsn, SqlError> {
        let target = format!("{}.late", self.view.name);
        let producer = format!("view {}", self.view.incarnation);
        let mut gate = 0;
        for (id, fields) in reader.records(late, misfits)? {
            let request = format!("{}/{}-{}", reader.key(), id.ms, id.sequence);
            let mut args: Vec<&[u8]> = vec![
                b"XADD",
                target.as_bytes(),
                b"IDMP",
                producer.as_bytes(),
                request.as_bytes(),
                b"*",
            ];
            args.extend(fields.iter().flat_map(|(name, value)| [name.as_slice(), value]));
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
    /// There was nothing more to read at some time since reading began.
    has_caught_up: bool,
    /// When it last brought anything, or reading began.
    active: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { caught_up: false, has_caught_up: false, active: Instant::now() }
    }

    /// Whether history is behind it.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
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
