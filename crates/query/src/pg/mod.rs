//! The Postgres door: wire protocol 3, simple and extended, SCRAM-SHA-256, cancel, COPY.
//!
//! Framing and SCRAM are `pgwire`'s; the catalog that clients ask about themselves is `datafusion-pg-catalog`'s. Each
//! connection has a [`Session`] of its own: what one client sets is nobody else's.

mod auth;
mod copy;
mod handler;
mod text;
mod together;

use crate::database::Database;
use crate::error::{SqlError, SqlState};
use auth::{Guard, Startup};
use handler::Connection;
use pgwire::api::auth::StartupHandler;
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::copy::CopyHandler;
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::{ConnectionManager, ErrorHandler, NoopHandler, PgWireServerHandlers};
use pgwire::error::{ErrorInfo, PgWireError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use together::Together;
use tokio::net::{TcpListener, TcpStream};

/// How the door behaves.
#[derive(Clone, Debug)]
pub struct PgSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Clients must prove that they know this; any user name goes.
    pub password: Option<String>,
    /// Connections at once.
    pub connections_max: usize,
}

/// The open Postgres door.
pub struct PgDoor {
    address: SocketAddr,
}

impl PgDoor {
    /// Where the door listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the door.
    pub async fn open(database: Database, settings: PgSettings) -> Result<Self, SqlError> {
        let failed = |error: std::io::Error| {
            let message = format!("cannot listen on {}: {error}", settings.address);
            SqlError::new(SqlState::CannotConnectNow, message)
        };
        let listener = TcpListener::bind(settings.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let manager = Arc::new(ConnectionManager::new());
        let door = Arc::new(Door {
            guard: Guard::new(settings.password.as_deref(), manager.clone()),
            cancel: Arc::new(DefaultCancelHandler::new(manager)),
            connections: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
            connections_max: settings.connections_max,
            database,
        });
        tokio::spawn(accept(listener, door));
        Ok(Self { address })
    }
}

struct Door {
    database: Database,
    guard: Guard,
    cancel: Arc<DefaultCancelHandler>,
    connections: AtomicUsize,
    numbers: AtomicU64,
    connections_max: usize,
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let door = door.clone();
                tokio::spawn(async move { serve(socket, &door).await });
            }
            Err(error) => {
                // Out of descriptors, most likely: those that are open go on.
                tracing::warn!(%error, "a Postgres connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, door: &Arc<Door>) {
    // One client's answers must not wait for its acknowledgements.
    let _only_slower = socket.set_nodelay(true);
    let open = door.connections.fetch_add(1, Ordering::SeqCst);
    let number = door.numbers.fetch_add(1, Ordering::Relaxed);
    let inner = &door.database.inner;
    let address = socket.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    inner.pg_clients.lock().insert(number, (address, inner.engine.now_ms()));
    // One more is let in, to be told.
    let full = open >= door.connections_max;
    let handlers = Handlers {
        connection: Arc::new(Connection::new(&door.database, full)),
        startup: Arc::new(door.guard.startup()),
        cancel: door.cancel.clone(),
    };
    if open < door.connections_max + 64
        && let Err(error) = pgwire::tokio::process_socket(socket, None, Arc::new(handlers)).await
    {
        tracing::debug!(%error, "a Postgres connection ended");
    }
    inner.pg_clients.lock().remove(&number);
    door.connections.fetch_sub(1, Ordering::SeqCst);
}

/// What handles one connection's messages.
struct Handlers {
    connection: Arc<Connection>,
    startup: Arc<Startup>,
    cancel: Arc<DefaultCancelHandler>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.connection.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(Together(self.connection.clone()))
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.startup.clone()
    }

    fn copy_handler(&self) -> Arc<impl CopyHandler> {
        self.connection.clone()
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::new(NoopHandler)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        self.cancel.clone()
    }
}

impl From<SqlError> for PgWireError {
    fn from(error: SqlError) -> Self {
        Self::UserError(Box::new(info(&error)))
    }
}

fn info(error: &SqlError) -> ErrorInfo {
    let mut info =
        ErrorInfo::new("ERROR".to_owned(), error.state.code().to_owned(), error.message.clone());
    info.hint = error.hint.clone();
    info
}
