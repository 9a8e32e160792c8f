//! The Postgres door: wire protocol 3, simple and extended, SCRAM-SHA-256, cancel, COPY.
//!
//! The messages' bytes and SCRAM are `pgwire`'s; what a message means is here. A pipeline up to its
//! Sync is one transaction. Portals and prepared statements end when Postgres ends them. A slow
//! client slows its answer down. Each connection has a [`Session`](crate::Session) of its own, so
//! what one client sets does not reach another. Accepting, the limit on connections and TLS are
//! those of all doors (`thalweg_listen`).

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
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;
use startup::Begun;
use std::net::SocketAddr;
use std::sync::Arc;
use thalweg_listen::{Acceptor, Access, Admission, Arrival, Tls};
use tokio::net::TcpStream;
use wire::Ended;

/// How the door is opened.
pub struct PgSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// How many may come in, and with which password; any user name goes.
    pub access: Arc<Access>,
    /// What clients get that ask for TLS.
    pub tls: Option<Arc<Tls>>,
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
    pub fn open(database: Database, settings: PgSettings) -> std::io::Result<Self> {
        let acceptor = Acceptor::bind(settings.address, settings.access.clone())?;
        let address = acceptor.address();
        let door = Arc::new(Door { guard: Guard::new(), settings, database });
        tokio::spawn(accept(acceptor, door));
        Ok(Self { address })
    }
}

struct Door {
    database: Database,
    guard: Guard,
    settings: PgSettings,
}

async fn accept(acceptor: Acceptor, door: Arc<Door>) {
    while let Some(arrival) = acceptor.next().await {
        tokio::spawn(serve(arrival, door.clone()));
    }
}

/// Lets a client in, and serves it. One that is refused is let in to be told why, and to cancel
/// what others run.
async fn serve(arrival: Arrival, door: Arc<Door>) {
    // What it was admitted with is kept to the end.
    let Arrival { socket, peer, admission } = arrival;
    let is_refused = matches!(admission, Admission::Refused(_));
    let listed = Listed::new(door.database.clone(), peer.to_string());
    let Some(begun) = begin(socket, &door, listed.number, is_refused).await else { return };
    match &admission {
        Admission::Admitted(_) => {
            let serving = serve_one(begun, door.clone(), listed.number, listed.activity.clone());
            // Where its statements run.
            let _end = door.database.runtime().spawn(serving).await;
        }
        Admission::Refused(_) => {
            // If it still listens.
            let _told = refuse(begun).await;
        }
    }
}

/// Nothing where the client does not come as far as that, or the doors close before it does.
async fn begin(socket: TcpStream, door: &Door, number: u64, is_refused: bool) -> Option<Begun> {
    let (access, backends) = (&door.settings.access, &door.database.inner.backends);
    let startup = door.guard.startup(access.users.password().as_deref(), pid_of(number));
    tokio::select! {
        biased;
        () = access.drain.begun() => None,
        begun = startup::begin(socket, startup, &door.settings, backends, is_refused) => begun,
    }
}

async fn refuse(begun: Begun) -> Result<(), Ended> {
    let mut wire = begun.wire()?;
    let error = SqlError::new(SqlState::TooManyConnections, "sorry, too many clients already");
    let mut fatal = info(&error);
    fatal.severity = "FATAL".to_owned();
    wire.put(PgWireBackendMessage::ErrorResponse(fatal.into())).map_err(Ended::Told)?;
    wire.flush().await?;
    wire.finish();
    Ok(())
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
    let access = door.settings.access.clone();
    Connection::new(wire, session, cancel, activity, access).serve().await;
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
