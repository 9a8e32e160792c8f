//! Who may come in: how many, who they are, and until when.

use crate::drain::Drain;
use crate::identity::Users;
use crate::limit::Limit;
use std::sync::Arc;
use std::time::Duration;

/// How access begins; the limit and the password may change later.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// Connections at once, over all doors.
    pub connections_max: usize,
    /// What clients must give before anything else.
    pub password: Option<String>,
    /// The longest time that a TLS handshake may take.
    pub handshake_max: Duration,
}

/// What all doors of a node ask before they serve a client.
pub struct Access {
    /// How many connections there are and may be.
    pub limit: Arc<Limit>,
    /// Who may do what.
    pub users: Users,
    /// Whether the doors are closing.
    pub drain: Drain,
    handshake_max: Duration,
}

impl Access {
    /// Access with nobody in yet.
    pub fn new(settings: &AccessSettings) -> Arc<Self> {
        Arc::new(Self {
            limit: Arc::new(Limit::new(settings.connections_max)),
            users: Users::new(settings.password.as_deref()),
            drain: Drain::default(),
            handshake_max: settings.handshake_max,
        })
    }

    /// The longest time that a TLS handshake may take.
    pub fn handshake_max(&self) -> Duration {
        self.handshake_max
    }

    /// Waits until the last connection is gone, but no longer than `patience`; says whether it is.
    pub async fn emptied(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.limit.emptied()).await.is_ok()
    }
}
