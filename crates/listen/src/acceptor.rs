//! Accepts connections for a door on tokio, up to the limit that all doors share.

use crate::access::Access;
use crate::limit::{Admitted, Telling};
use crate::socket;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long we wait when the system refuses a connection: it is out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(50);

/// An address that a door listens on.
pub struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
    access: Arc<Access>,
}

/// A connection that has come.
#[derive(Debug)]
pub struct Arrival {
    /// Its socket; what is written to it leaves at once.
    pub socket: TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Whether it may stay.
    pub admission: Admission,
}

/// Whether a connection may stay, and what it keeps as long as it is there.
#[derive(Debug)]
pub enum Admission {
    /// It counts.
    Admitted(Admitted),
    /// There are as many as there may be: it is told so, and closed.
    Refused(Telling),
}

impl Acceptor {
    /// Listens on an address, on the runtime of the caller.
    pub fn bind(address: SocketAddr, access: Arc<Access>) -> io::Result<Self> {
        let listener = socket::listen(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, access })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; nothing once the doors are closing. Dropping the future loses none.
    pub async fn next(&self) -> Option<Arrival> {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.access.drain.begun() => return None,
                accepted = self.listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    let address = self.address;
                    tracing::warn!(%error, %address, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // The last piece of an answer must not wait until the one before it is acknowledged: 40
            // ms, on most systems.
            let _only_slower = socket.set_nodelay(true);
            socket::keep_alive(&socket);
            let limit = &self.access.limit;
            let admission = match limit.admit() {
                Some(admitted) => Admission::Admitted(admitted),
                None => match limit.tell() {
                    Some(telling) => Admission::Refused(telling),
                    None => continue,
                },
            };
            return Some(Arrival { socket, peer, admission });
        }
    }
}
