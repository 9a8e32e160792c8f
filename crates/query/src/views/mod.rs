//! Materialized views: queries whose answers are kept up to date as records arrive.
//!
//! `compile.rs` cuts a query into what is done to each record (`rows.rs`), how records are grouped
//! (`groups.rs`, `sessions.rs`, `accumulate/`) and what is done with the groups when the view is
//! read (`table.rs`). `state.rs` holds the groups by window, `worker.rs` and `files.rs` feed it,
//! `live.rs` says how far it is, `checkpoint.rs` keeps it, `define.rs` makes and replaces views.
//! `lookup.rs` joins tables to the groups, `over.rs` builds a view on another one.

mod accumulate;
mod all;
mod changes;
mod checkpoint;
mod compile;
mod define;
mod files;
mod groups;
mod idle;
mod live;
mod lookup;
mod over;
mod panes;
mod rows;
mod sessions;
mod state;
mod table;
mod worker;

use crate::catalog::ViewDefinition;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
pub(crate) use all::Views;
use all::unused;
use checkpoint::{Folder, Restored};
use compile::{Compiled, Source};
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use idle::{Activities, Activity};
use live::Live;
use over::Above;
use parking_lot::{Mutex, RwLock};
use state::State;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thalweg_machine::StreamId;
use thalweg_node::{Engine, Gates};
use worker::Progress;

/// How a view is doing.
#[derive(Clone, Debug)]
enum Status {
    /// It reads what was there before it was made.
    Backfill,
    Live,
    /// Its files are read.
    Done,
    Failed(SqlError),
}

/// A view at work.
pub(crate) struct View {
    name: String,
    engine: Engine,
    query: String,
    incarnation: u64,
    compiled: Arc<Compiled>,
    lateness_us: i64,
    closed_only: bool,
    /// Changes that its stream of changes keeps, if it has one.
    changes_kept: Option<u64>,
    batch_rows: AtomicUsize,
    batch_delay_ms: AtomicU64,
    live: Mutex<Live>,
    folder: Option<Mutex<Folder>>,
    status: Mutex<Status>,
    paused: AtomicBool,
    /// All views together have more memory than they may.
    starved: AtomicBool,
    stopping: AtomicBool,
    /// No more checkpoints.
    abandoned: AtomicBool,
    checkpoint_ms: AtomicU64,
    files_rows: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// How far it is in the view that it reads, if it reads one.
    above: tokio::sync::Mutex<Above>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "view {}", self.name)
    }
}

/// Figures of a view.
pub(crate) struct ViewReport {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) state: String,
    pub(crate) rows_in: u64,
    pub(crate) groups: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) lag: u64,
    pub(crate) watermark_us: Option<i64>,
    pub(crate) late: u64,
    pub(crate) misfits: u64,
    pub(crate) checkpoint_ms: u64,
    pub(crate) error: Option<String>,
    pub(crate) query: String,
}

impl View {
    fn new(
        inner: &Inner,
        name: &str,
        definition: &ViewDefinition,
        compiled: Arc<Compiled>,
        folder: Option<PathBuf>,
    ) -> Result<Self, SqlError> {
        let partitions = match &compiled.source {
            Source::Stream { definition, .. } => usize::from(definition.partitions),
            Source::Files { .. } | Source::View { .. } => 0,
        };
        let activities = Activities::new(partitions, Duration::from_millis(inner.settings.idle_ms));
        // What a view over another one has follows from that one's state, which is kept.
        let folder = folder.filter(|_| !matches!(compiled.source, Source::View { .. }));
        let mut folder = folder.map(Folder::open).transpose()?;
        let restored = match &mut folder {
            Some(folder) => folder.load(&compiled, definition.lateness_us)?,
            None => None,
        };
        let mut live = live_of(restored, &compiled, definition.lateness_us, activities)?;
        live.progress.resize(partitions, Progress::START);
        let status = match compiled.source {
            _ if live.done => Status::Done,
            Source::View { .. } => Status::Live,
            _ => Status::Backfill,
        };
        Ok(Self {
            name: name.to_owned(),
            engine: inner.engine.clone(),
            query: definition.query.clone(),
            incarnation: definition.incarnation,
            compiled,
            lateness_us: definition.lateness_us,
            closed_only: definition.emit == crate::catalog::Emit::Close,
            changes_kept: definition.changes,
            batch_rows: AtomicUsize::new(definition.batch_rows),
            batch_delay_ms: AtomicU64::new(definition.batch_delay_ms),
            live: Mutex::new(live),
            folder: folder.map(Mutex::new),
            status: Mutex::new(status),
            paused: AtomicBool::new(definition.paused),
            starved: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            checkpoint_ms: AtomicU64::new(0),
            files_rows: AtomicU64::new(0),
            threads: Mutex::default(),
            above: tokio::sync::Mutex::default(),
        })
    }

    /// The groups' rows as they are now.
    async fn rows(&self, session: &dyn Session) -> DfResult<Vec<RecordBatch>> {
        let now = self.now(session, 0).await?;
        Ok(now.closed.into_iter().chain(now.open).collect())
    }

    /// Whether it changes only by what it takes in.
    fn stands_alone(&self) -> bool {
        self.compiled.lookup.is_none() && !matches!(self.compiled.source, Source::View { .. })
    }

    fn progress(&self, partition: u16) -> Progress {
        let live = self.live.lock();
        live.progress.get(usize::from(partition)).copied().unwrap_or(Progress::START)
    }

    /// Notes that a thread has nothing more to read; when all partitions were read to their end
    /// once, history is behind.
    fn note_live(&self) {
        {
            let mut live = self.live.lock();
            if !live.activities.partitions.iter().all(Activity::has_caught_up) {
                return;
            }
            live.activities.note_live(Instant::now());
        }
        let mut status = self.status.lock();
        if matches!(*status, Status::Backfill) {
            *status = Status::Live;
        }
    }

    /// Whether it shall take in nothing for now, or nothing more.
    fn is_held(&self) -> bool {
        [&self.stopping, &self.paused, &self.starved].iter().any(|held| held.load(Ordering::SeqCst))
    }

    /// Whether it still reads what was there before it was made.
    fn is_in_history(&self) -> bool {
        matches!(*self.status.lock(), Status::Backfill)
    }

    /// Whether it says what it will say for good, and so do the views that it reads.
    fn is_current(&self) -> bool {
        let own = matches!(*self.status.lock(), Status::Live | Status::Done);
        own && self.compiled.views().all(|view| view.is_current())
    }

    fn has_failed(&self) -> bool {
        matches!(*self.status.lock(), Status::Failed(_))
    }

    /// Stops for good, with a reason; what it has stays readable.
    fn fail(&self, error: SqlError) {
        tracing::error!(view = self.name, %error, "a materialized view has stopped");
        *self.status.lock() = Status::Failed(error);
    }

    /// Writes a checkpoint.
    fn save(&self) -> Result<(), SqlError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.abandoned.load(Ordering::SeqCst) {
            return Ok(());
        }
        let started = Instant::now();
        let mut folder = folder.lock();
        let (capture, late_gates) = {
            let mut live = self.live.lock();
            if live.spoilt {
                return Ok(());
            }
            let Live { state, progress, misfits, done, .. } = &mut *live;
            (folder.capture(state, progress, *misfits, *done)?, live.late_gates.clone())
        };
        self.engine.wait_settled(&late_gates)?;
        folder.write(capture)?;
        self.checkpoint_ms.store(started.elapsed().as_millis() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for thread in self.threads.lock().drain(..) {
            thread.thread().unpark();
            // A worker that panicked has said so.
            let _already_reported = thread.join();
        }
    }

    fn report(&self, inner: &Inner) -> ViewReport {
        let status = self.status.lock().clone();
        let error = match &status {
            Status::Failed(error) => Some(error.message.clone()),
            _ => None,
        };
        let state = match status {
            Status::Failed(_) => "failed",
            Status::Done => "done",
            _ if self.paused.load(Ordering::SeqCst) => "paused",
            _ if self.starved.load(Ordering::SeqCst) => "starved",
            Status::Live => "live",
            Status::Backfill => "backfill",
        };
        let lag = self.lag(inner);
        let live = self.live.lock();
        ViewReport {
            name: self.name.clone(),
            source: self.compiled.source.name().to_owned(),
            state: state.to_owned(),
            rows_in: live.state.rows_in.max(self.files_rows.load(Ordering::Relaxed)),
            groups: live.state.groups() as u64,
            memory_bytes: live.state.bytes() as u64,
            lag,
            watermark_us: live.state.watermark_us.filter(|&us| us != i64::MAX),
            late: live.state.late,
            misfits: live.misfits,
            checkpoint_ms: self.checkpoint_ms.load(Ordering::Relaxed),
            error,
            query: self.query.clone(),
        }
    }

    /// Records that its stream has and it has not taken in.
    fn lag(&self, inner: &Inner) -> u64 {
        let Source::Stream { name, definition, .. } = &self.compiled.source else { return 0 };
        let mut added: u64 = 0;
        let mut behind = false;
        for number in 0..definition.partitions {
            let info = crate::streams::info(&inner.engine, &definition.key(name, number));
            let count = info.get("entries-added").and_then(|added| added.parse::<u64>().ok());
            added += count.unwrap_or(0);
            let last = info.get("last-generated-id");
            let last = last.and_then(|id| StreamId::parse(id.as_bytes(), 0));
            behind |= last.is_some_and(|last| last > self.progress(number).after());
        }
        if !behind {
            return 0;
        }
        // Records that were deleted before the view could see them count as added for ever: one is
        // the least that is true.
        let live = self.live.lock();
        added.saturating_sub(live.state.rows_in + live.misfits).max(1)
    }
}

/// What a view goes on with: what its checkpoint says, or nothing yet.
fn live_of(
    restored: Option<Restored>,
    compiled: &Arc<Compiled>,
    lateness_us: i64,
    activities: Activities,
) -> Result<Live, SqlError> {
    let restored = match restored {
        Some(restored) => restored,
        None => Restored {
            state: State::new(compiled, lateness_us)?,
            progress: Vec::new(),
            misfits: 0,
            done: false,
        },
    };
    let Restored { state, progress, misfits, done } = restored;
    Ok(Live { state, progress, activities, misfits, done, spoilt: false, late_gates: Gates::NONE })
}
