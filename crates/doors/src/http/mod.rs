//! The HTTP door.

use crate::shared::{DoorError, Shared};
use std::net::SocketAddr;
use std::sync::Arc;

/// The open HTTP door.
pub struct HttpDoor {
    address: SocketAddr,
}

impl HttpDoor {
    /// Where the door listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Opens the door; requests are served on the runtime that this is called on.
pub async fn open(_shared: Arc<Shared>, address: SocketAddr) -> Result<HttpDoor, DoorError> {
    Ok(HttpDoor { address })
}
