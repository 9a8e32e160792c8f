//! The Postgres door: wire protocol 3, simple and extended, SCRAM-SHA-256, cancel, COPY.
//!
//! The messages' bytes and SCRAM are `pgwire`'s; what a message means is here: a pipeline up to its
//! Sync is one transaction, portals and prepared statements end when they should, answers stream
//! with back-pressure. Each connection has a [`Session`](crate::Session) of its own: what one
//! client sets is nobody else's.

mod auth;
mod connection;
mod copy;
mod extended;
mod parameters;
mod rows;
mod running;
mod simple;
mod startup;
mod wire;

use crate::cancel::Cancel;
use crate::database::Database;
use crate::error::{SqlError, SqlState};
use auth::Guard;
use connection::Connection;
use pgwire::api::ConnectionManager;
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;
use running::Running;
use startup::Begun;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::net::{TcpListener, TcpStream};
use wire::Ended;

/// Connections beyond the limit that are let in, to be told.
const TOLD_MAX: usize = 64;

/// What a connection has until it ends.
pub type Admission = Box<dyn Send + Sync>;

/// How the door behaves. What may change while it is open is asked for with each connection.
pub struct PgSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Clients must prove that they know this; any user name goes.
    pub password: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Lets a connection in; nothing where there are as many as there may be, over all doors.
    pub admit: Box<dyn Fn() -> Option<Admission> + Send + Sync>,
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

    /// Opens the door, on the runtime of its caller. That is to be another one than the database's:
    /// who wants to cancel a statement must get in though all of those threads compute.
    pub async fn open(database: Database, settings: PgSettings) -> Result<Self, SqlError> {
        let failed = |error: std::io::Error| {
            let message = format!("cannot listen on {}: {error}", settings.address);
            SqlError::new(SqlState::CannotConnectNow, message)
        };
        let listener = TcpListener::bind(settings.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let manager = Arc::new(ConnectionManager::new());
        let door = Arc::new(Door {
            guard: Guard::new(manager),
            running: Running::default(),
            refused: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
            settings,
            database,
        });
        tokio::spawn(accept(listener, door));
        Ok(Self { address })
    }
}

struct Door {
    database: Database,
    guard: Guard,
    running: Running,
    /// Connections beyond the limit, on their way out.
    refused: AtomicUsize,
    numbers: AtomicU64,
    settings: PgSettings,
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let door = door.clone();
                tokio::spawn(serve(socket, door));
            }
            Err(error) => {
                // Out of descriptors, most likely: those that are open go on.
                tracing::warn!(%error, "a Postgres connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// Lets a client in, and serves it.
async fn serve(socket: TcpStream, door: Arc<Door>) {
    // One client's answers must not wait for its acknowledgements.
    let _only_slower = socket.set_nodelay(true);
    let admission = (door.settings.admit)();
    let address = socket.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    let _listed = Listed::new(door.clone(), address);
    if admission.is_some() {
        if let Some(begun) = begin(socket, &door).await {
            let serving = serve_one(begun, door.clone());
            // Where its statements run.
            let _end = door.database.runtime().spawn(serving).await;
        }
        return;
    }
    if door.refused.fetch_add(1, Ordering::SeqCst) < TOLD_MAX
        && let Some(begun) = begin(socket, &door).await
    {
        // It is told why, if it still listens.
        let _told = refuse(begun).await;
    }
    door.refused.fetch_sub(1, Ordering::SeqCst);
}

async fn begin(socket: TcpStream, door: &Door) -> Option<Begun> {
    let startup = door.guard.startup((door.settings.password)().as_deref());
    startup::begin(socket, startup, &door.running).await
}

async fn refuse(begun: Begun) -> Result<(), Ended> {
    let mut wire = begun.wire()?;
    let error = SqlError::new(SqlState::TooManyConnections, "sorry, too many clients already");
    let mut fatal = info(&error);
    fatal.severity = "FATAL".to_owned();
    wire.put(PgWireBackendMessage::ErrorResponse(fatal.into())).map_err(Ended::Violation)?;
    Ok(wire.flush().await?)
}

async fn serve_one(mut begun: Begun, door: Arc<Door>) {
    let (key, parameters) = (begun.key.clone(), std::mem::take(&mut begun.parameters));
    let Ok(wire) = begun.wire() else { return };
    let cancel = Arc::new(Cancel::of_client(wire.client()));
    door.running.add(key.clone(), cancel.clone());
    let session = door.database.session();
    session.variables.lock().introduce(&parameters);
    let registered = door.database.inner.watch.register(cancel.clone());
    Connection::new(wire, session, cancel).serve().await;
    door.running.remove(&key);
    drop(registered);
}

/// A client that is listed as long as this is kept.
struct Listed {
    door: Arc<Door>,
    number: u64,
}

impl Listed {
    fn new(door: Arc<Door>, address: String) -> Self {
        let number = door.numbers.fetch_add(1, Ordering::Relaxed);
        let inner = &door.database.inner;
        inner.pg_clients.lock().insert(number, (address, inner.engine.now_ms()));
        Self { door, number }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.door.database.inner.pg_clients.lock().remove(&self.number);
    }
}

fn info(error: &SqlError) -> ErrorInfo {
    let mut info =
        ErrorInfo::new("ERROR".to_owned(), error.state.code().to_owned(), error.message.clone());
    info.hint = error.hint.clone();
    info
}
