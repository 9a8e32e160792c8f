//! The Postgres door: wire protocol 3, simple and extended, SCRAM-SHA-256, cancel, COPY.
//!
//! The messages' bytes and SCRAM are `pgwire`'s; what a message means is here. A pipeline up to its
//! Sync is one transaction. Portals and prepared statements end when Postgres ends them. A slow
//! client slows its answer down. Each connection has a [`Session`](crate::Session) of its own, so
//! what one client sets does not reach another.

mod auth;
mod connection;
mod copy;
mod extended;
mod parameters;
mod rows;
mod simple;
mod startup;
mod wire;

use crate::database::Database;
use crate::error::{SqlError, SqlState};
use crate::sql::backends::{Activity, Served, pid_of};
use crate::sql::cancel::Cancel;
use crate::sql::session::Session;
use auth::Guard;
use connection::Connection;
use pgwire::api::ConnectionManager;
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;
use startup::Begun;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    pub async fn open(database: Database, settings: PgSettings) -> std::io::Result<Self> {
        let listener = TcpListener::bind(settings.address).await?;
        let address = listener.local_addr()?;
        let manager = Arc::new(ConnectionManager::new());
        let door = Arc::new(Door {
            guard: Guard::new(manager),
            refused: AtomicUsize::new(0),
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
    /// Connections beyond the limit, on their way out.
    refused: AtomicUsize,
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
    let listed = Listed::new(door.database.clone(), address);
    if admission.is_some() {
        if let Some(begun) = begin(socket, &door, listed.number).await {
            let serving = serve_one(begun, door.clone(), listed.number, listed.activity.clone());
            // Where its statements run.
            let _end = door.database.runtime().spawn(serving).await;
        }
        return;
    }
    if door.refused.fetch_add(1, Ordering::SeqCst) < TOLD_MAX
        && let Some(begun) = begin(socket, &door, listed.number).await
    {
        // It is told why, if it still listens.
        let _told = refuse(begun).await;
    }
    door.refused.fetch_sub(1, Ordering::SeqCst);
}

async fn begin(socket: TcpStream, door: &Door, number: u64) -> Option<Begun> {
    let startup = door.guard.startup((door.settings.password)().as_deref(), pid_of(number));
    startup::begin(socket, startup, &door.database.inner.backends).await
}

async fn refuse(begun: Begun) -> Result<(), Ended> {
    let mut wire = begun.wire()?;
    let error = SqlError::new(SqlState::TooManyConnections, "sorry, too many clients already");
    let mut fatal = info(&error);
    fatal.severity = "FATAL".to_owned();
    wire.put(PgWireBackendMessage::ErrorResponse(fatal.into())).map_err(Ended::Told)?;
    Ok(wire.flush().await?)
}

async fn serve_one(mut begun: Begun, door: Arc<Door>, number: u64, activity: Arc<Activity>) {
    let (secret, parameters) =
        (std::mem::take(&mut begun.secret), std::mem::take(&mut begun.parameters));
    let Ok(wire) = begun.wire() else { return };
    let inner = &door.database.inner;
    let cancel = Arc::new(Cancel::of_client(wire.client()));
    let session = Session::numbered(inner.clone(), number);
    session.variables.lock().introduce(&parameters);
    let variables = session.variables.clone();
    let served = Served { secret, cancel: cancel.clone(), variables };
    inner.backends.serve(number, served);
    let _registered = inner.watch.register(cancel.clone());
    Connection::new(wire, session, cancel, activity).serve().await;
}

/// A client that is listed as long as this is kept.
struct Listed {
    database: Database,
    number: u64,
    activity: Arc<Activity>,
}

impl Listed {
    fn new(database: Database, address: String) -> Self {
        let number = Session::next_number();
        let now_ms = database.inner.engine.now_ms();
        let activity = database.inner.backends.add(number, address, now_ms);
        Self { database, number, activity }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.database.inner.backends.remove(self.number);
    }
}

fn info(error: &SqlError) -> ErrorInfo {
    let mut info =
        ErrorInfo::new("ERROR".to_owned(), error.state.code().to_owned(), error.message.clone());
    info.hint = error.hint.clone();
    info
}
