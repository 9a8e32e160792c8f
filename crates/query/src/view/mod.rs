//! Materialized views: queries whose answers are kept up to date as records arrive.
//!
//! `compile.rs` cuts a query into what is done to each record (`rows.rs`), how records are grouped (`groups.rs`,
//! `sessions.rs`, `accumulate/`) and what is done with the groups when the view is read (`table.rs`). `state.rs` holds the
//! groups by window, `worker.rs` feeds it, `checkpoint.rs` keeps it. `lookup.rs` joins tables to the groups, `over.rs` builds a
//! view on another one.

mod accumulate;
mod changes;
mod checkpoint;
mod compile;
mod groups;
mod lookup;
mod over;
mod panes;
mod rows;
mod sessions;
mod state;
mod table;
mod worker;

use crate::catalog::{Definition, ViewDefinition};
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::statement::{CreateView, Statement, parse};
use checkpoint::Folder;
use compile::{Compiled, Source, compile};
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
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
use thalweg_node::Engine;
use worker::{Clock, Live, Progress, Reader};

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
        engine: &Engine,
        name: &str,
        definition: &ViewDefinition,
        compiled: Arc<Compiled>,
        folder: Option<PathBuf>,
    ) -> Result<Self, SqlError> {
        let partitions = match &compiled.source {
            Source::Stream { definition, .. } => usize::from(definition.partitions),
            Source::Files { .. } | Source::View { .. } => 0,
        };
        // What a view over another one has follows from that one's state, which is kept.
        let folder = folder.filter(|_| !matches!(compiled.source, Source::View { .. }));
        let mut folder = folder.map(Folder::open).transpose()?;
        let restored = match &mut folder {
            Some(folder) => folder.load(&compiled, definition.lateness_us)?,
            None => None,
        };
        let mut live = match restored {
            Some(restored) => Live {
                state: restored.state,
                progress: restored.progress,
                clocks: Vec::new(),
                misfits: restored.misfits,
                done: restored.done,
                spoilt: false,
                late_gate: 0,
            },
            None => Live {
                state: State::new(&compiled, definition.lateness_us)?,
                progress: Vec::new(),
                clocks: Vec::new(),
                misfits: 0,
                done: false,
                spoilt: false,
                late_gate: 0,
            },
        };
        live.progress.resize(partitions, Progress::START);
        live.clocks.resize(partitions, Clock::new());
        let status = match compiled.source {
            _ if live.done => Status::Done,
            Source::View { .. } => Status::Live,
            _ => Status::Backfill,
        };
        Ok(Self {
            name: name.to_owned(),
            engine: engine.clone(),
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

    /// Notes that a thread has nothing more to read; when all partitions were read to their end once, history is behind.
    fn note_live(&self) {
        if !self.live.lock().clocks.iter().all(Clock::has_caught_up) {
            return;
        }
        let mut status = self.status.lock();
        if matches!(*status, Status::Backfill) {
            *status = Status::Live;
        }
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
        let (capture, late_gate) = {
            let mut live = self.live.lock();
            if live.spoilt {
                return Ok(());
            }
            let Live { state, progress, misfits, done, .. } = &mut *live;
            (folder.capture(state, progress, *misfits, *done)?, live.late_gate)
        };
        self.engine.wait_settled(late_gate)?;
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
            let info = crate::stream::info(&inner.engine, &definition.key(name, number));
            let count = info.get("entries-added").and_then(|added| added.parse::<u64>().ok());
            added += count.unwrap_or(0);
            let last = info.get("last-generated-id");
            let last = last.and_then(|id| StreamId::parse(id.as_bytes(), 0));
            behind |= last.is_some_and(|last| last > self.progress(number).after());
        }
        if !behind {
            return 0;
        }
        // Records that were deleted before the view could see them count as added for ever: one is the least that is true.
        let live = self.live.lock();
        added.saturating_sub(live.state.rows_in + live.misfits).max(1)
    }
}

/// Refuses what would take a view from under another one.
fn unused(all: &BTreeMap<String, Arc<View>>, name: &str) -> Result<(), SqlError> {
    match all.values().find(|view| view.compiled.reads(name)) {
        Some(user) => {
            let message = format!("materialized view \"{}\" reads \"{name}\"", user.name);
            Err(SqlError::new(SqlState::DependentObjects, message))
        }
        None => Ok(()),
    }
}

/// All views of a node.
#[derive(Default)]
pub(crate) struct Views {
    all: RwLock<BTreeMap<String, Arc<View>>>,
    /// Views that could not be started, and why.
    broken: RwLock<BTreeMap<String, SqlError>>,
    /// Held while changes of a view go into its stream, and while that is dropped.
    telling: Mutex<()>,
    inner: std::sync::OnceLock<std::sync::Weak<Inner>>,
}

impl Views {
    fn get(&self, name: &str) -> Result<Arc<View>, SqlError> {
        if let Some(view) = self.all.read().get(name) {
            return Ok(view.clone());
        }
        match self.broken.read().get(name) {
            Some(error) => Err(error.clone()),
            None => Err(SqlError::unknown("materialized view", name)),
        }
    }

    /// The view as a table.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>, SqlError> {
        table::table(&self.get(name)?)
    }

    pub(crate) fn reports(&self) -> Vec<ViewReport> {
        let Some(inner) = self.inner.get().and_then(std::sync::Weak::upgrade) else {
            return Vec::new();
        };
        let views: Vec<Arc<View>> = self.all.read().values().cloned().collect();
        views.iter().map(|view| view.report(&inner)).collect()
    }

    /// A view that reads something.
    pub(crate) fn user_of(&self, source: &str) -> Option<String> {
        let all = self.all.read();
        all.values().find(|view| view.compiled.reads(source)).map(|view| view.name.clone())
    }

    /// Makes views wait, or go on, by the memory of all of them.
    pub(crate) fn watch_memory(&self, bytes_max: usize) {
        let views: Vec<Arc<View>> = self.all.read().values().cloned().collect();
        let bytes: usize = views.iter().map(|view| view.live.lock().state.bytes()).sum();
        let starved = bytes > bytes_max;
        for view in views {
            if view.starved.swap(starved, Ordering::SeqCst) != starved && starved {
                tracing::warn!(
                    view = view.name,
                    bytes,
                    bytes_max,
                    "the views' memory is spent; they wait until a view is dropped or the limit is raised"
                );
            }
        }
    }

    /// Stops a view and forgets what it had.
    pub(crate) fn drop(&self, name: &str) -> Result<(), SqlError> {
        self.broken.write().remove(name);
        let removed = {
            let mut all = self.all.write();
            // Somebody may have built on it since that was asked for.
            unused(&all, name)?;
            all.remove(name)
        };
        let Some(view) = removed else { return Ok(()) };
        self.remove(&view);
        Ok(())
    }

    /// Takes up a view that has just been started, if the views that it reads are still there.
    fn add(&self, name: &str, view: Arc<View>) -> Result<(), SqlError> {
        let mut all = self.all.write();
        let is_there =
            |below: &Arc<View>| all.get(&below.name).is_some_and(|other| Arc::ptr_eq(other, below));
        if !view.compiled.views().all(is_there) {
            let message = "a view that it reads was replaced or dropped meanwhile";
            return Err(SqlError::new(SqlState::SerializationFailure, message));
        }
        all.insert(name.to_owned(), view);
        Ok(())
    }

    fn remove(&self, view: &View) {
        view.stop();
        if let Some(path) =
            self.inner.get().and_then(|inner| inner.upgrade()?.view_folder(view.incarnation))
        {
            Folder::remove(&path);
        }
    }

    /// Stops all views without a last checkpoint.
    pub(crate) fn abandon(&self) {
        for view in self.all.read().values() {
            view.abandoned.store(true, Ordering::SeqCst);
        }
        self.close();
    }

    /// Stops all views; they go on where they are when the node starts again.
    pub(crate) fn close(&self) {
        let views: Vec<Arc<View>> = self.all.read().values().cloned().collect();
        for view in &views {
            view.stopping.store(true, Ordering::SeqCst);
        }
        for view in views {
            view.stop();
        }
    }
}

impl Inner {
    fn view_folder(&self, incarnation: u64) -> Option<PathBuf> {
        Some(self.settings.folder.as_ref()?.join("views").join(incarnation.to_string()))
    }

    /// Starts the views that the catalog names.
    pub(crate) fn start_views(self: &Arc<Self>) {
        self.views.inner.get_or_init(|| Arc::downgrade(self));
        let all = self.catalog.list().into_iter();
        let mut waiting: Vec<_> =
            all.filter(|(_, definition)| matches!(**definition, Definition::View(_))).collect();
        // A view over another one starts after it, whatever their names: as long as any could be started, others may follow.
        loop {
            let count = waiting.len();
            waiting.retain(|(name, definition)| {
                let Definition::View(definition) = definition.as_ref() else { return false };
                match self.runtime.block_on(self.start_view(name, definition)) {
                    Ok(view) => {
                        self.views.broken.write().remove(name);
                        self.views.all.write().insert(name.clone(), view);
                        false
                    }
                    Err(error) => {
                        self.views.broken.write().insert(name.clone(), error);
                        true
                    }
                }
            });
            if waiting.is_empty() || waiting.len() == count {
                break;
            }
        }
        for (name, error) in self.views.broken.read().iter() {
            tracing::error!(view = name, %error, "a materialized view could not be started");
        }
    }

    async fn start_view(
        self: &Arc<Self>,
        name: &str,
        definition: &ViewDefinition,
    ) -> Result<Arc<View>, SqlError> {
        let compiled = Arc::new(compile(self, &query_of(&definition.query)?).await?);
        let folder = self.view_folder(definition.incarnation);
        let view = match View::new(&self.engine, name, definition, compiled.clone(), folder.clone())
        {
            Ok(view) => view,
            // The state follows from the stream: a checkpoint that is damaged costs time, not data.
            Err(error) => {
                tracing::error!(view = name, %error, "a view's checkpoint cannot be read; it is built anew");
                if let Some(path) = &folder {
                    Folder::remove(path);
                }
                View::new(&self.engine, name, definition, compiled, folder)?
            }
        };
        let view = Arc::new(view);
        match &view.compiled.source {
            Source::Stream { .. } => Reader::start_all(self, &view)?,
            Source::View { .. } => {}
            Source::Files { .. } if matches!(*view.status.lock(), Status::Done) => {}
            Source::Files { scan, .. } => {
                self.runtime.spawn(worker::read_files(self.clone(), view.clone(), scan.clone()));
            }
        }
        Ok(view)
    }

    /// CREATE [OR REPLACE] MATERIALIZED VIEW.
    pub(crate) async fn create_view(self: &Arc<Self>, create: &CreateView) -> Result<(), SqlError> {
        let old = self.catalog.get(&create.name);
        if old.is_some() && create.if_not_exists {
            return Ok(());
        }
        // Refuses what cannot be maintained before anything is written down.
        compile(self, &create.query).await?;
        let definition = ViewDefinition {
            query: create.query.to_string(),
            incarnation: self.new_incarnation(),
            batch_rows: create.batch_rows,
            batch_delay_ms: create.batch_delay_ms,
            lateness_us: create.lateness_us,
            emit: create.emit,
            changes: create.changes,
            paused: false,
        };
        match old.as_deref() {
            Some(Definition::View(_)) if create.or_replace => {
                if let Some(user) = self.views.user_of(&create.name) {
                    let message = format!(
                        "cannot replace \"{}\": materialized view \"{user}\" reads it",
                        create.name
                    );
                    return Err(SqlError::new(SqlState::DependentObjects, message));
                }
                self.replace_view(create, old.as_deref(), definition).await
            }
            _ => {
                self.catalog.create(&create.name, Definition::View(definition.clone()), false)?;
                let started = self.start_view(&create.name, &definition).await;
                let added = started.and_then(|view| {
                    let added = self.views.add(&create.name, view.clone());
                    if added.is_err() {
                        self.discard(view);
                    }
                    added
                });
                if added.is_err() {
                    self.catalog.drop(&create.name)?;
                }
                added
            }
        }
    }

    fn new_incarnation(&self) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = self.engine.now_ms() * 1_000;
        LAST.fetch_max(now, Ordering::SeqCst);
        LAST.fetch_add(1, Ordering::SeqCst)
    }

    /// Builds the new view beside the old one, and puts it in its place when it has caught up.
    async fn replace_view(
        self: &Arc<Self>,
        create: &CreateView,
        old: Option<&Definition>,
        definition: ViewDefinition,
    ) -> Result<(), SqlError> {
        let Some(old) = old else { return Ok(()) };
        let view = self.start_view(&create.name, &definition).await?;
        loop {
            let status = view.status.lock().clone();
            match status {
                Status::Backfill => tokio::time::sleep(Duration::from_millis(5)).await,
                Status::Failed(error) => {
                    self.discard(view);
                    return Err(error);
                }
                Status::Live | Status::Done => break,
            }
        }
        let swapped = {
            let mut all = self.views.all.write();
            // Somebody may have built on the old one while this one was built.
            unused(&all, &create.name).and_then(|()| {
                self.catalog.replace(&create.name, old, Definition::View(definition))?;
                Ok(all.insert(create.name.clone(), view.clone()))
            })
        };
        let replaced = match swapped {
            Ok(replaced) => replaced,
            Err(error) => {
                self.discard(view);
                return Err(error);
            }
        };
        if let Some(replaced) = replaced {
            self.discard(replaced);
        }
        Ok(())
    }

    fn discard(self: &Arc<Self>, view: Arc<View>) {
        let inner = self.clone();
        self.runtime.spawn_blocking(move || inner.views.remove(&view));
    }

    /// What runs incrementally in a query.
    pub(crate) async fn explain_view(
        self: &Arc<Self>,
        create: &CreateView,
    ) -> Result<Vec<String>, SqlError> {
        Ok(compile(self, &create.query).await?.describe())
    }

    /// PAUSE and RESUME.
    pub(crate) async fn set_paused(
        self: &Arc<Self>,
        name: &str,
        paused: bool,
    ) -> Result<(), SqlError> {
        let view = self.views.get(name)?;
        if let Source::View { view: below, .. } = &view.compiled.source {
            let message =
                format!("\"{name}\" takes in nothing by itself: it reads \"{}\"", below.name);
            return Err(SqlError::unsupported(message).hint(format!("pause \"{}\"", below.name)));
        }
        let Some(old) = self.catalog.get(name) else { return Ok(()) };
        if let Definition::View(definition) = old.as_ref() {
            let new = ViewDefinition { paused, ..definition.clone() };
            self.catalog.replace(name, &old, Definition::View(new))?;
        }
        view.paused.store(paused, Ordering::SeqCst);
        Ok(())
    }
}

fn query_of(text: &str) -> Result<Query, SqlError> {
    let wrong = || SqlError::new(SqlState::Internal, "a view's query is not a query");
    match parse(text)?.pop() {
        Some(Statement::Df(statement)) => match *statement {
            DfStatement::Statement(statement) => match *statement {
                SqlStatement::Query(query) => Ok(*query),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}
