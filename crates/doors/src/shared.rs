//! What the RESP door and the HTTP door share: settings, clients, figures.

use crate::feeds::Feeds;
use crate::resp::{ConfigParameter, ReplyBudget};
use crate::slowlog::SlowLog;
use crate::sql::SqlService;
use crate::stats::TrafficStats;
use foldhash::HashMap;
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use thalweg_listen::{Access, AccessSettings};
use thalweg_node::Engine;

/// How doors behave: every limit on what a client can make large.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// Clients must give this before anything else.
    pub password: Option<String>,
    /// Connections at once, over all doors.
    pub connections_max: usize,
    /// The largest argument of a RESP command.
    pub bulk_max_bytes: usize,
    /// The largest RESP command as a whole.
    pub frame_max_bytes: usize,
    /// The most arguments of a RESP command.
    pub arguments_max: usize,
    /// The longest inline command.
    pub inline_max_bytes: usize,
    /// Replies that wait for a client that does not read. At this size the client is no longer read
    /// from; if it takes nothing for 30 seconds then, it is closed.
    pub output_max_bytes: usize,
    /// A connection that says nothing for this long is closed; 0: never.
    pub idle_timeout_ms: u64,
    /// A connection whose TLS handshake is not over after this long is closed. It counts when the
    /// doors are made; later changes are not seen.
    pub handshake_timeout_ms: u64,
    /// The largest body of an HTTP request.
    pub body_max_bytes: usize,
    /// Commands that take longer than this go into the slow log, in microseconds.
    pub slow_us: u64,
    /// Entries that the slow log keeps.
    pub slow_log_max: usize,
}

impl Default for DoorSettings {
    fn default() -> Self {
        Self {
            password: None,
            connections_max: 10_000,
            bulk_max_bytes: 512 << 20,
            frame_max_bytes: 1 << 30,
            arguments_max: 1 << 20,
            inline_max_bytes: 64 << 10,
            output_max_bytes: 32 << 20,
            idle_timeout_ms: 0,
            handshake_timeout_ms: 10_000,
            body_max_bytes: 64 << 20,
            slow_us: 10_000,
            slow_log_max: 128,
        }
    }
}

/// A door that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system refused something at start-up.
    #[error("cannot {action}: {source}")]
    Start {
        /// What was being done.
        action: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// What the doors of a node share.
pub struct Shared {
    /// The node.
    pub engine: Engine,
    /// Who may come in.
    pub access: Arc<Access>,
    /// How the doors behave; CONFIG SET replaces it.
    settings: RwLock<Arc<DoorSettings>>,
    /// Counts changes of the settings, so that event loops notice.
    settings_version: AtomicU64,
    /// What CONFIG shows and changes, sorted by name.
    pub(crate) parameters: Vec<ConfigParameter>,
    /// Traffic figures.
    pub stats: TrafficStats,
    pub(crate) slow_log: Mutex<SlowLog>,
    pub(crate) clients: Mutex<HashMap<u64, Arc<Client>>>,
    pub(crate) next_client: AtomicU64,
    pub(crate) started: Instant,
    pub(crate) started_ms: u64,
    /// Forty hexadecimal digits that name this run.
    pub(crate) run_id: String,
    pub(crate) resp_address: RwLock<Option<SocketAddr>>,
    /// Who answers SQL, once there is somebody.
    pub(crate) sql: OnceLock<Arc<dyn SqlService>>,
    /// Streams that are listened to as channels.
    pub(crate) feeds: Feeds,
    pub(crate) reply_budget: Arc<ReplyBudget>,
}

/// A connected client, as others see it.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) local: String,
    pub(crate) since_ms: u64,
    pub(crate) name: Mutex<Vec<u8>>,
    pub(crate) library: Mutex<(Vec<u8>, Vec<u8>)>,
    pub(crate) protocol: AtomicU64,
    pub(crate) last_command: Mutex<&'static str>,
    pub(crate) last_ms: AtomicU64,
    /// How many channels, patterns and channels of SPUBLISH it listens to.
    pub(crate) subscriptions: [AtomicUsize; 3],
    pub(crate) killed: AtomicBool,
    /// Wakes the event loop that owns the connection.
    pub(crate) wake: Box<dyn Fn() + Send + Sync>,
}

impl Client {
    pub(crate) fn listens(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }
}

/// The memory for replies takes the largest value there may be, whatever the node's budget.
const REPLY_MIN_BYTES: u64 = 640 << 20;

impl Shared {
    /// Doors' common part, for a node.
    pub fn new(
        engine: Engine,
        settings: DoorSettings,
        mut parameters: Vec<ConfigParameter>,
    ) -> Arc<Self> {
        parameters.sort_by_key(|parameter| parameter.name);
        let slow_log = SlowLog::new(settings.slow_log_max);
        let started_ms = engine.now_ms();
        let run_id = run_id(started_ms);
        let access = Access::new(&AccessSettings {
            connections_max: settings.connections_max,
            password: settings.password.clone(),
            handshake_max: Duration::from_millis(settings.handshake_timeout_ms),
        });
        let reply_max_bytes =
            (engine.settings().memory_max_bytes / 4).max(REPLY_MIN_BYTES) as usize;
        Arc::new(Self {
            engine,
            access,
            settings: RwLock::new(Arc::new(settings)),
            settings_version: AtomicU64::new(0),
            parameters,
            stats: TrafficStats::default(),
            slow_log: Mutex::new(slow_log),
            clients: Mutex::default(),
            next_client: AtomicU64::new(1),
            started: Instant::now(),
            started_ms,
            run_id,
            resp_address: RwLock::new(None),
            sql: OnceLock::new(),
            feeds: Feeds::default(),
            reply_budget: Arc::new(ReplyBudget::new(reply_max_bytes)),
        })
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<DoorSettings> {
        self.settings.read().clone()
    }

    pub(crate) fn settings_version(&self) -> u64 {
        self.settings_version.load(Ordering::Relaxed)
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut DoorSettings)) {
        let mut settings = self.settings.write();
        change(Arc::make_mut(&mut settings));
        self.slow_log.lock().resize(settings.slow_log_max);
        self.access.limit.set_most(settings.connections_max);
        self.access.users.set_password(settings.password.as_deref());
        self.settings_version.fetch_add(1, Ordering::Relaxed);
    }

    /// Says who answers SQL. The first one stays.
    pub fn set_sql(&self, service: Arc<dyn SqlService>) {
        self.sql.get_or_init(|| service);
    }

    /// The connections of the RESP door: number, address, since when (milliseconds since 1970),
    /// name.
    pub fn client_rows(&self) -> Vec<(u64, String, u64, String)> {
        let clients = self.clients.lock();
        let rows = clients.values().map(|client| {
            let name = String::from_utf8_lossy(&client.name.lock()).into_owned();
            (client.id, client.address.clone(), client.since_ms, name)
        });
        rows.collect()
    }

    /// Stops taking connections; those that are there end when their replies are out.
    pub fn drain(&self) {
        self.access.drain.begin();
        for client in self.clients.lock().values() {
            (client.wake)();
        }
    }

    /// Connections now, over all doors.
    pub fn connection_count(&self) -> usize {
        self.access.limit.open()
    }

    /// Whether the doors are closing.
    pub fn is_draining(&self) -> bool {
        self.access.drain.is_begun()
    }
}

fn run_id(seed: u64) -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut out = String::new();
    while out.len() < 40 {
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u64(seed);
        out.push_str(&format!("{:016x}", hasher.finish()));
    }
    out.truncate(40);
    out
}
