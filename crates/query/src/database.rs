//! The database: a node's data as SQL sees them. One for a node; sessions come and go.

mod context;
mod settings;

use crate::catalog::postgres::relation_name;
use crate::catalog::{
    Catalog, Definition, Overlay, QueryDefinition, StreamDefinition, gone, own_catalog,
};
use crate::error::SqlError;
use crate::files::csv::{ReadPlainCsv, Survey};
use crate::files::ndjson::ExactJsonFactory;
use crate::files::stores::Stores;
use crate::functions::HideLarge;
use crate::sql::backends::Backends;
use crate::sql::cut::CutLarge;
use crate::sql::dialect::{
    ApplyCorrelated, CheckedArithmetic, HideGrouped, HoistSubqueries, Operators, PostgresCasts,
    PullUpLateral, ReadMicroseconds, Types,
};
use crate::sql::session::{Points, Session};
use crate::sql::statement::{Statement, check_plan, parse};
use crate::sql::watch::{MemoryWatch, Watched};
use crate::sql::window::{LowerWindows, WindowPlanner};
use crate::streams::segment::Segments;
use crate::tables::advisory::AdvisoryLocks;
use crate::views::Views;
use context::make_context;
use datafusion::catalog::{MemoryCatalogProvider, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::datasource::ViewTable;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionState, SessionStateDefaults};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::prelude::{SessionConfig, SessionContext};
use parking_lot::Mutex;
pub(crate) use settings::SlowQuery;
pub use settings::{Sources, SqlSettings, SystemRows};
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use thalweg_node::{Admitted, Engine, Gates};

/// The name of the one database.
pub(crate) const DATABASE: &str = "thalweg";
/// Slow queries that are remembered.
const SLOW_QUERIES: usize = 128;
/// How often streams are looked at: are there records to seal, or older ones than are kept?
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);
/// How often changes of views are looked for.
const CHANGES_INTERVAL: Duration = Duration::from_millis(50);
/// The part of the queries' memory that is for pieces of files: one in so many.
const CACHE_SHARE: usize = 4;
/// How often the memory of views is looked at.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);
/// What counts as slow.
const SLOW_US: u64 = 100_000;

/// A node's data as SQL sees them. Clones share it.
#[derive(Clone)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) settings: SqlSettings,
    pub(crate) catalog: Catalog,
    pub(crate) views: Views,
    pub(crate) segments: Arc<Segments>,
    pub(crate) sources: Sources,
    pub(crate) slow_queries: Mutex<VecDeque<SlowQuery>>,
    /// Connections of the Postgres door.
    pub(crate) backends: Backends,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Cancels statements before the process has no memory left.
    pub(crate) watch: Arc<MemoryWatch>,
    /// Counts records that are dealt out to partitions in turn.
    pub(crate) turn: AtomicU64,
    pub(crate) csv_survey: Arc<Survey>,
    pub(crate) locks: Arc<AdvisoryLocks>,
    /// Statements that ask for one row, planned for all keys.
    pub(crate) points: Points,
    context: OnceLock<SessionContext>,
    /// The same without a catalog: the statement of an external table names the table that is being
    /// looked up.
    pub(crate) bare: OnceLock<SessionState>,
}

impl Database {
    /// Opens SQL over a node, on a runtime that is given, and starts its views.
    pub fn open(
        engine: Engine,
        settings: SqlSettings,
        sources: Sources,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, SqlError> {
        if engine.settings().lanes > 1 {
            // A table's rows are in all partitions, and a transaction is one batch of one lane.
            return Err(SqlError::unsupported("SQL over a node of several lanes is not supported"));
        }
        let catalog = Catalog::open(&engine)?;
        let address = settings.segments.as_deref();
        let segments = Arc::new(Segments::open(&engine, runtime.clone(), address)?);
        segments.load(&catalog.list())?;
        let inner = Arc::new(Inner {
            engine,
            catalog,
            views: Views::default(),
            segments,
            sources,
            slow_queries: Mutex::default(),
            backends: Backends::default(),
            runtime,
            watch: Arc::default(),
            turn: AtomicU64::new(0),
            csv_survey: Arc::default(),
            locks: Arc::default(),
            points: Points::default(),
            context: OnceLock::new(),
            bare: OnceLock::new(),
            settings,
        });
        inner.watch_process();
        crate::sql::stop::carry();
        let context = make_context(&inner)?;
        inner.context.get_or_init(|| context);
        let database = Self { inner };
        let admitting = Arc::downgrade(&database.inner);
        database.inner.engine.admit_records(move |key, words| match admitting.upgrade() {
            Some(inner) => inner.admit(key, words),
            None => Admitted::Here,
        });
        database.inner.start_views();
        database.inner.runtime.spawn(tell_changes(Arc::downgrade(&database.inner)));
        database.inner.runtime.spawn(watch_memory(Arc::downgrade(&database.inner)));
        database.inner.runtime.spawn(maintain(Arc::downgrade(&database.inner)));
        Ok(database)
    }

    /// A session: what one connection remembers.
    pub fn session(&self) -> Session {
        Session::new(self.inner.clone())
    }

    /// The runtime that queries run on.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.inner.runtime
    }

    /// Stops views where they are, as a crash would. For tests.
    #[doc(hidden)]
    pub fn abandon(&self) {
        self.inner.views.abandon();
    }

    /// Stops views after a last checkpoint. Blocks the thread.
    pub fn close(&self) {
        self.inner.views.close();
    }
}

/// Seals what streams have much of, and deletes what their retention says is too old, as long as
/// the database is there.
async fn maintain(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(MAINTENANCE_INTERVAL).await;
        let Some(inner) = inner.upgrade() else { return };
        // It only ends early with the node.
        let _ended = tokio::task::spawn_blocking(move || inner.maintain_streams()).await;
    }
}

/// Lets views wait while all of them together have more memory than they may, as long as the
/// database is there.
async fn watch_memory(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(MEMORY_INTERVAL).await;
        let Some(inner) = inner.upgrade() else { return };
        let watched = tokio::task::spawn_blocking(move || {
            inner.views.watch_memory(inner.settings.view_memory_max_bytes);
        });
        // It only ends early with the node.
        let _ended = watched.await;
    }
}

/// Tells those who follow views what has changed, as long as the database is there.
async fn tell_changes(inner: Weak<Inner>) {
    let mut told = HashMap::new();
    let mut pause = CHANGES_INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let Some(inner) = inner.upgrade() else { return };
        let started = std::time::Instant::now();
        inner.tell_changes(&mut told).await;
        // Large views are looked at more rarely: whoever follows them must not take the processors
        // from those who feed them.
        pause = CHANGES_INTERVAL.max(started.elapsed() * 4);
    }
}

impl Inner {
    pub(crate) fn context(&self) -> DfResult<&SessionContext> {
        self.context.get().ok_or_else(gone)
    }

    /// A query under a name, as a table.
    pub(crate) async fn query_view(
        &self,
        definition: &QueryDefinition,
    ) -> DfResult<Arc<dyn TableProvider>> {
        let plan = self.plan(&definition.query).await?;
        check_plan(&plan)?;
        Ok(Arc::new(ViewTable::new(plan, Some(definition.query.clone()))))
    }

    /// The logical plan of a query's text.
    pub(crate) async fn plan(&self, query: &str) -> DfResult<LogicalPlan> {
        let state = self.context()?.state();
        let mut statements = parse(query)?;
        match statements.pop() {
            // Views on views recurse here, each level through the heap.
            Some(Statement::Df(mut statement)) => {
                if let datafusion::sql::parser::Statement::Statement(inner) = statement.as_mut() {
                    crate::sql::dialect::rewrite_query(inner)?;
                }
                let plan = Box::pin(crate::sql::dialect::repair::plan(&state, *statement)).await?;
                crate::sql::dialect::narrow_literals(plan)
            }
            _ => Err(DataFusionError::Plan("not a query".to_owned())),
        }
    }

    /// Waits until nobody can take back what was seen, without holding a thread where there is
    /// anything to wait for.
    pub(crate) async fn settled(&self, gates: Gates) -> Result<(), SqlError> {
        if self.engine.is_settled(&gates) {
            return Ok(());
        }
        let engine = self.engine.clone();
        let waited = tokio::task::spawn_blocking(move || engine.wait_settled(&gates)).await;
        waited.map_err(|error| {
            SqlError::new(crate::error::SqlState::Internal, error.to_string())
        })??;
        Ok(())
    }

    /// Declares a stream; false if it is there already and that is no error.
    pub(crate) fn create_stream(
        &self,
        name: &str,
        stream: StreamDefinition,
        if_not_exists: bool,
    ) -> Result<bool, SqlError> {
        let definition = Definition::Stream(stream.clone());
        let prepare = || self.segments.drop_stream(name, &stream);
        self.catalog.create_after(name, definition, if_not_exists, prepare)
    }

    fn maintain_streams(&self) {
        self.segments.remove_retired();
        for (name, definition) in self.catalog.list() {
            let Definition::Stream(stream) = definition.as_ref() else { continue };
            // One that cannot be sealed must not keep the others from it.
            if let Err(error) = self.maintain_stream(&name, stream) {
                tracing::warn!(stream = name, %error, "records could not be sealed, or not be \
                                                       deleted where they are too old");
            }
        }
    }

    fn maintain_stream(&self, name: &str, stream: &StreamDefinition) -> Result<(), SqlError> {
        for partition in 0..stream.partitions {
            self.segments.seal(&self.catalog, name, partition, false)?;
        }
        let now_ms = self.engine.now_ms();
        let oldest_ms = stream.retention_ms.map(|kept_ms| now_ms.saturating_sub(kept_ms));
        self.segments.retain(name, stream, oldest_ms)?;
        let Some(oldest_ms) = oldest_ms else { return Ok(()) };
        let oldest = oldest_ms.to_string();
        for partition in 0..stream.partitions {
            let key = stream.key(name, partition);
            let args: [&[u8]; 4] = [b"XTRIM", key.as_bytes(), b"MINID", oldest.as_bytes()];
            if let thalweg_machine::Reply::Error(error) = self.engine.call(&args)? {
                return Err(error.into());
            }
        }
        Ok(())
    }

    pub(crate) fn note_duration(&self, sql: &str, duration_us: u64, rows: u64) {
        if duration_us < SLOW_US {
            return;
        }
        let mut slow = self.slow_queries.lock();
        if slow.len() >= SLOW_QUERIES {
            slow.pop_front();
        }
        let sql = sql.chars().take(1_000).collect();
        slow.push_back(SlowQuery { ended_ms: self.engine.now_ms(), duration_us, rows, sql });
    }
}
