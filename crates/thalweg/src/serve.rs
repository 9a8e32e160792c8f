//! `thalweg serve`: a node with its doors, until a signal ends it.

use crate::settings::ServeArgs;
use crate::sql::Service;
use anyhow::Context;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thalweg_doors::Shared;
use thalweg_doors::resp::RespDoor;
use thalweg_node::{Engine, Health};
use thalweg_query::{Database, PgDoor, PgSettings};
use tokio::runtime::{Builder, Runtime};

/// How long connections have to take their last replies.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a node until SIGTERM or SIGINT, or until its disk fails.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    start_logging();
    let settings = args.resolve()?;
    raise_file_limit();
    let engine = Engine::open(settings.engine).context("open the data")?;
    let recovery_ms = engine.report().recovery_ms;
    if recovery_ms > 100 {
        tracing::info!(recovery_ms, "recovered");
    }
    let shared = Shared::new(engine.clone(), settings.doors);
    let sql_runtime = start_sql_threads(settings.sql.threads)?;
    let sources = crate::sql::sources(&shared, args.describe());
    let handle = sql_runtime.handle().clone();
    let database =
        Database::open(engine.clone(), settings.sql, sources, handle).context("open SQL")?;
    shared.set_sql(Arc::new(Service(database.clone())));
    let resp = RespDoor::open(shared.clone(), settings.resp, settings.threads)?;
    let runtime = start_door_threads()?;
    let postgres = match settings.postgres {
        Some(address) => {
            let pg = postgres_settings(&shared, address);
            Some(runtime.block_on(PgDoor::open(database.clone(), pg))?)
        }
        None => None,
    };
    let http = match settings.http {
        Some(address) => {
            Some(runtime.block_on(thalweg_doors::http::open(shared.clone(), address))?)
        }
        None => None,
    };
    if let Some(postgres) = &postgres {
        announce("postgres", &format!("{}", postgres.address()));
    }
    announce("resp", &format!("{}", resp.address()));
    if let Some(http) = &http {
        announce("http", &format!("http://{}/", http.address()));
    }
    let outcome = runtime.block_on(wait_for_end(&engine));
    resp.close(DRAIN_PATIENCE);
    database.close();
    sql_runtime.shutdown_timeout(Duration::from_secs(1));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn start_sql_threads(threads: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads.max(2))
        .thread_name("thalweg-sql")
        // Plans are trees, and what walks them recurses.
        .thread_stack_size(8 << 20)
        // A statement over many tables has many threads that read; what they hold goes when they
        // go.
        .thread_keep_alive(Duration::from_secs(2))
        .on_thread_start(thalweg_base::priority::lower)
        .enable_all()
        .build()
        .context("start the threads for SQL")
}

fn start_door_threads() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("thalweg-doors")
        .enable_all()
        .build()
        .context("start the threads of the doors")
}

/// The Postgres door asks for the password and for room with each connection.
fn postgres_settings(shared: &Arc<Shared>, address: SocketAddr) -> PgSettings {
    let (for_password, for_limit) = (shared.clone(), shared.clone());
    PgSettings {
        address,
        password: Box::new(move || for_password.settings().password.clone()),
        admit: Box::new(move || Some(Box::new(for_limit.admit()?))),
    }
}

/// One line for each door, when it is ready; programs that start us read them.
fn announce(door: &str, address: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading.
    let _nobody_reads = writeln!(out, "ready {door} {address}").and_then(|()| out.flush());
}

async fn wait_for_end(engine: &Engine) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = look.tick() => {
                if engine.health() == Health::Failed {
                    anyhow::bail!("the log's disk failed; check the disk, then start again");
                }
            }
        }
    }
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("THALWEG_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,lsm_tree=warn"));
    // A second start in one process keeps the first one's logging.
    let _already_started =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// As many open files as the operating system allows: ten thousand connections need them.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
}
