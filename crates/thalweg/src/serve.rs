//! `thalweg serve`: a node with its doors, until a signal ends it.

use crate::refusal;
use crate::settings::{ServeArgs, Settings, parameters};
use crate::sql::Service;
use anyhow::{Context, anyhow};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_doors::http::HttpDoor;
use thalweg_doors::resp::{RespDoor, RespSettings};
use thalweg_doors::{DoorError, Shared};
use thalweg_listen::{Tls, TlsAddress};
use thalweg_node::Engine;
use thalweg_query::{Database, PgDoor, PgSettings};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long connections have to take their last replies.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a node until SIGTERM or SIGINT, or until its disk fails.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    start_logging();
    let settings = Arc::new(args.resolve()?);
    raise_file_limit();
    let tls = settings.tls_files()?.map(Tls::open).transpose();
    let tls = tls.map_err(|error| anyhow!(refusal::tls(&error)))?;
    let engine = Engine::open(settings.engine.clone())
        .map_err(|error| anyhow!(refusal::data(&error, &settings.engine.place)))?;
    let recovery_ms = engine.report().recovery_ms;
    if recovery_ms > 100 {
        tracing::info!(recovery_ms, "recovered");
    }
    let shared = Shared::new(engine.clone(), settings.doors.clone(), parameters(&settings));
    let sql_runtime = start_sql_threads(settings.sql.threads)?;
    let sources = crate::sql::sources(&shared, settings.clone());
    let handle = sql_runtime.handle().clone();
    let database = Database::open(engine.clone(), settings.sql.clone(), sources, handle)
        .map_err(|error| anyhow!(refusal::sql(&error)))?;
    shared.set_sql(Arc::new(Service(database.clone())));
    let resp = open_resp(&shared, &settings, tls.as_ref())?;
    let runtime = start_door_threads()?;
    // Before anybody is told that the node is there, and may end it.
    let (others, signals) = {
        let _threads = runtime.enter();
        (open_other_doors(&shared, &database, &settings, tls.as_ref())?, EndSignals::new()?)
    };
    if let Some(tls) = tls {
        runtime.spawn(tls.watch(shared.access.clone()));
    }
    announce_doors(&resp, &others);
    let outcome = runtime.block_on(wait_for_end(&engine, signals));
    // One patience for all doors: what stops services is patient for so long as well.
    let deadline = Instant::now() + DRAIN_PATIENCE;
    resp.close(DRAIN_PATIENCE);
    let rest = deadline.saturating_duration_since(Instant::now());
    if !runtime.block_on(shared.access.emptied(rest)) {
        tracing::warn!("connections are cut whose last answers were not taken in time");
    }
    database.close();
    sql_runtime.shutdown_timeout(Duration::from_secs(1));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn open_resp(
    shared: &Arc<Shared>,
    settings: &Settings,
    tls: Option<&Arc<Tls>>,
) -> anyhow::Result<RespDoor> {
    let resp = RespSettings {
        address: settings.resp,
        tls: tls_address(settings.resp_tls, tls),
        threads: settings.threads,
    };
    RespDoor::open(shared.clone(), resp).map_err(|error| {
        let is_tls = matches!(&error, DoorError::Listen { address, .. }
            if settings.resp_tls == Some(*address));
        let flag = if is_tls { "--resp-tls" } else { "--resp" };
        anyhow!(refusal::door("Redis", flag, &error))
    })
}

/// The doors besides the Redis door that are wanted.
#[derive(Default)]
struct OtherDoors {
    postgres: Option<PgDoor>,
    http: Option<HttpDoor>,
    http_tls: Option<HttpDoor>,
}

/// Opens them, on the runtime that this is called on.
fn open_other_doors(
    shared: &Arc<Shared>,
    database: &Database,
    settings: &Settings,
    tls: Option<&Arc<Tls>>,
) -> anyhow::Result<OtherDoors> {
    let mut doors = OtherDoors::default();
    if let Some(address) = settings.postgres {
        let postgres = PgSettings { address, access: shared.access.clone(), tls: tls.cloned() };
        let door = PgDoor::open(database.clone(), postgres);
        doors.postgres = Some(door.map_err(|error| {
            anyhow!(refusal::listen("Postgres", "--postgres", address, &error))
        })?);
    }
    if let Some(address) = settings.http {
        let door = thalweg_doors::http::open(shared.clone(), address);
        doors.http = Some(door.map_err(|error| anyhow!(refusal::door("HTTP", "--http", &error)))?);
    }
    if let Some(address) = tls_address(settings.http_tls, tls) {
        let door = thalweg_doors::http::open_tls(shared.clone(), address);
        let failed = |error: DoorError| anyhow!(refusal::door("HTTP", "--http-tls", &error));
        doors.http_tls = Some(door.map_err(failed)?);
    }
    Ok(doors)
}

/// An address for TLS, where both are wanted.
fn tls_address(address: Option<SocketAddr>, tls: Option<&Arc<Tls>>) -> Option<TlsAddress> {
    Some(TlsAddress { address: address?, tls: tls?.clone() })
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
        .context("cannot start the threads of SQL; lift the limit on threads (ulimit -u)")
}

fn start_door_threads() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("thalweg-doors")
        .enable_all()
        .build()
        .context("cannot start the threads of the doors; lift the limit on threads (ulimit -u)")
}

/// The address without TLS comes last: programs that start us wait for it.
fn announce_doors(resp: &RespDoor, others: &OtherDoors) {
    if let Some(postgres) = &others.postgres {
        announce("postgres", &postgres.address().to_string());
    }
    if let Some(address) = resp.tls_address() {
        announce("resp-tls", &address.to_string());
    }
    if let Some(http) = &others.http_tls {
        announce("http-tls", &format!("https://{}/", http.address()));
    }
    announce("resp", &resp.address().to_string());
    if let Some(http) = &others.http {
        announce("http", &format!("http://{}/", http.address()));
    }
}

/// One line for each door, when it is ready; programs that start us read them.
fn announce(door: &str, address: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading.
    let _nobody_reads = writeln!(out, "ready {door} {address}").and_then(|()| out.flush());
}

/// What tells the node to end.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// From now on these signals do not kill the process.
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
        })
    }
}

async fn wait_for_end(engine: &Engine, mut signals: EndSignals) -> anyhow::Result<()> {
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = look.tick() => {
                if engine.has_failed() {
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
