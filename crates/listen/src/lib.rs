//! What all doors do before a client's first request: listen, accept, count, encrypt, ask who it
//! is; and how they stop.
//!
//! [`Access`] is what the doors of a node share: one [`Limit`] on connections, the [`Users`], and
//! the [`Drain`]. Doors on tokio take their connections from an [`Acceptor`] and speak through a
//! [`Stream`]. The RESP door has event loops of its own: it listens with [`listen`], and encrypts
//! with a [`TlsSession`], which never waits.

mod acceptor;
mod access;
mod drain;
mod identity;
mod limit;
mod socket;
mod stream;
mod tls;
mod tls_session;

pub use acceptor::{Acceptor, Admission, Arrival};
pub use access::{Access, AccessSettings};
pub use drain::Drain;
pub use identity::{DEFAULT_USER, Identity, Rights, Users};
pub use limit::{Admitted, Limit, Telling};
pub use socket::{AtOnce, keep_alive, listen};
pub use stream::Stream;
pub use tls::{Protocol, Tls, TlsAddress, TlsError, TlsFile, TlsFiles};
pub use tls_session::TlsSession;
