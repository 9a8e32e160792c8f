//! What keeps a view up to date: threads that read its stream's partitions, take records into its
//! state, and write checkpoints.

mod idle_time;

use super::View;
use super::compile::Source;
use super::live::Live;
use super::state::{OwnWatermarks, State};
use crate::catalog::StreamDefinition;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::sql::window::times_us;
use crate::streams::{Fields, Mark, Misfit, PartitionReader, columns_of, pick};
use crate::values::types::loose_schema_of;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use idle_time::own_watermarks;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thalweg_machine::StreamId;
use thalweg_node::{Engine, Gates};

/// How long a worker sleeps when nobody wakes it.
pub(super) const NAP: Duration = Duration::from_millis(100);
/// Batches of history that are grouped together before their groups are added to the view's.
const HISTORY_BATCHES: usize = 16;
/// And about how many records at most.
const HISTORY_ROWS: u64 = 128 * 1024;
/// In an idle time it is looked so often for partitions that are idle.
const LOOKS_IN_IDLE_TIME: u32 = 5;

/// How far a view is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    after_ms: u64,
    after_sequence: u64,
    /// The latest event time of the partition.
    pub(super) max_us: Option<i64>,
}

impl Progress {
    pub(crate) const START: Self = Self { after_ms: 0, after_sequence: 0, max_us: None };

    /// Passes IDs of records that are not there any more.
    fn pass(&mut self, id: StreamId) {
        if id > self.after() {
            (self.after_ms, self.after_sequence) = (id.ms, id.sequence);
        }
    }

    pub(super) fn after(self) -> StreamId {
        StreamId { ms: self.after_ms, sequence: self.after_sequence }
    }
}

/// Records of a partition, as they were read.
struct Records {
    batch: RecordBatch,
    own: Option<OwnWatermarks>,
    misfits: Vec<Misfit>,
    /// How far the partition has been read with them.
    after: Progress,
}

/// What there is to note about records that were taken in.
struct Taken {
    /// Those that came too late, with their IDs.
    aside: Vec<(StreamId, Fields)>,
    misfits: u64,
    after: Progress,
}

/// Reads a stream for a view: one thread's share of the partitions.
pub(super) struct Reader {
    view: Arc<View>,
    engine: Engine,
    stream: StreamDefinition,
    /// The columns that the view's first step finds.
    wanted: SchemaRef,
    partitions: Vec<PartitionReader>,
    /// There are other threads: this one prepares its records by itself before it takes the state's
    /// lock.
    shares: bool,
    checkpoints: bool,
    /// When idle partitions were last looked for, and how often they are.
    marked: Instant,
    mark_interval: Duration,
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
        let idle_time = Duration::from_millis(inner.settings.idle_ms);
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
                marked: Instant::now(),
                mark_interval: idle_time / LOOKS_IN_IDLE_TIME,
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
        thalweg_base::priority::lower();
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.read(interval)));
        let error = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => SqlError::new(
                SqlState::Internal,
                "a fault in the view's worker; the messages of the node say where",
            ),
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
            if self.view.is_held() || self.view.has_failed() {
                std::thread::park_timeout(NAP);
                continue;
            }
            // Before reading: a record that comes while we look must wake us.
            self.engine.wait_for(waiter, keys);
            let mut any = false;
            for index in 0..self.partitions.len() {
                any |= self.step(index)?;
            }
            self.mark_idle()?;
            if any {
                continue;
            }
            self.view.note_live();
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
        let Some(number) = self.partitions.get(index).map(PartitionReader::number) else {
            return Ok(false);
        };
        let before = self.view.progress(number);
        // Asked for before it is found that there is no more: what was given out by then has been
        // read, or is deleted.
        let newest = match (self.delay_us(), self.partitions.get(index)) {
            (Some(_), Some(reader)) if self.stream.partitions > 1 => Some(reader.newest_id()?),
            _ => None,
        };
        let Some(records) = self.read_next(index, before)? else {
            self.note_end(index, newest)?;
            return Ok(false);
        };
        match self.shares {
            true => self.take_in_apart(index, records)?,
            false => self.take_in(index, records)?,
        }
        Ok(true)
    }

    /// The next records of a partition; nothing if there are none.
    fn read_next(&mut self, index: usize, before: Progress) -> Result<Option<Records>, SqlError> {
        let Some(reader) = self.partitions.get_mut(index) else { return Ok(None) };
        let rows = self.view.batch_rows.load(Ordering::Relaxed);
        let Some(piece) = reader.next(before.after(), rows)? else { return Ok(None) };
        let marks = match self.stream.watermark {
            Some(_) if self.stream.partitions > 1 => reader.marks(before.after(), &piece)?,
            _ => Vec::new(),
        };
        let (own, max_us) = own_watermarks(&self.stream, &piece.batch, before.max_us, &marks)?;
        Ok(Some(Records {
            batch: pick(&piece.batch, &self.wanted)?,
            own,
            misfits: piece.misfits,
            after: Progress {
                after_ms: piece.last.ms,
                after_sequence: piece.last.sequence,
                max_us,
            },
        }))
    }

    /// Takes records straight into the view's state.
    fn take_in(&self, index: usize, records: Records) -> Result<(), SqlError> {
        let Some(reader) = self.partitions.get(index) else { return Ok(()) };
        self.view.live.lock().change(|live| {
            let late = live.state.ingest(records.batch, records.own.as_ref())?;
            let aside = match late.is_empty() {
                true => Vec::new(),
                false => reader.records(&late, &records.misfits)?,
            };
            let misfits = records.misfits.len() as u64;
            self.settle(live, reader, Taken { aside, misfits, after: records.after })
        })
    }

    /// Groups records beside the view's state, which other threads use meanwhile, then adds the
    /// groups to it. What follows in history is taken along: where keys are many, groups of few
    /// records would be as many as the records.
    fn take_in_apart(&mut self, index: usize, first: Records) -> Result<(), SqlError> {
        let view = self.view.clone();
        let mut part = State::new(&view.compiled, view.lateness_us)?;
        part.watermark_us = view.live.lock().state.watermark_us;
        let batches_max = if view.is_in_history() { HISTORY_BATCHES } else { 1 };
        let mut taken = Taken { aside: Vec::new(), misfits: 0, after: first.after };
        let mut next = Some(first);
        let mut batches = 0;
        while let Some(records) = next.take() {
            let late = part.ingest(records.batch, records.own.as_ref())?;
            if let (false, Some(reader)) = (late.is_empty(), self.partitions.get(index)) {
                taken.aside.extend(reader.records(&late, &records.misfits)?);
            }
            taken.misfits += records.misfits.len() as u64;
            taken.after = records.after;
            batches += 1;
            if batches < batches_max && part.rows_in < HISTORY_ROWS && !view.is_held() {
                next = self.read_next(index, taken.after)?;
            }
        }
        let Some(reader) = self.partitions.get(index) else { return Ok(()) };
        view.live.lock().change(|live| {
            live.state.absorb(part)?;
            self.settle(live, reader, taken)
        })
    }

    /// Notes what has become of records whose groups are in the state, under the same lock.
    fn settle(
        &self,
        live: &mut Live,
        reader: &PartitionReader,
        taken: Taken,
    ) -> Result<(), SqlError> {
        let number = usize::from(reader.number());
        if !taken.aside.is_empty() {
            // Before a checkpoint can say that these records were dealt with.
            let gates = self.set_aside(reader, taken.aside)?;
            live.late_gates.join(&gates);
        }
        if let Some(progress) = live.progress.get_mut(number) {
            *progress = taken.after;
        }
        live.misfits += taken.misfits;
        live.activities.note_taken(number, Instant::now());
        live.advance(self.delay_us())
    }
}
