//! The beginning of a connection: a request for TLS or for cancelling another connection, which may
//! come first, the client's name and parameters, and what drivers are told at once.

use super::auth::Startup;
use super::wire::Wire;
use crate::sql::backends::Backends;
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use pgwire::api::auth::StartupHandler;
use pgwire::api::{ClientInfo, DefaultClient, PgWireConnectionState};
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::{
    PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion, SslNegotiationMetaMessage,
};
use pgwire::tokio::server::PgWireMessageServerCodec;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

/// A client that says nothing is let go after this.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that has begun.
pub(super) struct Begun {
    socket: std::net::TcpStream,
    incoming: BytesMut,
    version: ProtocolVersion,
    /// What its client proves with that it is the one who cancels.
    pub(super) secret: Vec<u8>,
    /// What the client said about itself.
    pub(super) parameters: HashMap<String, String>,
}

impl Begun {
    /// Goes on where this is called: it began on other threads, which have nothing else to do than
    /// to let clients in and to cancel statements.
    pub(super) fn wire(self) -> io::Result<Wire> {
        let socket = TcpStream::from_std(self.socket)?;
        Ok(Wire::new(socket, self.incoming, self.version))
    }
}

/// Lets a connection begin; nothing where it ends before that.
pub(super) async fn begin(
    socket: TcpStream,
    startup: Startup,
    backends: &Backends,
) -> Option<Begun> {
    let beginning = tokio::time::timeout(STARTUP_TIMEOUT, try_begin(socket, startup, backends));
    beginning.await.ok().flatten()
}

async fn try_begin(socket: TcpStream, startup: Startup, backends: &Backends) -> Option<Begun> {
    let client = DefaultClient::<()>::new(socket.peer_addr().ok()?, false);
    let mut client = Framed::new(socket, PgWireMessageServerCodec::new(client));
    client.set_state(PgWireConnectionState::AwaitingSslRequest);
    let startup = Arc::new(startup);
    loop {
        let message = client.next().await?.ok()?;
        match message {
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::PostgresSsl(_)) => {
                client.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse)).await.ok()?;
            }
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::PostgresGss(_)) => {
                let refuse = PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse);
                client.send(refuse).await.ok()?;
            }
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::None) => {
                client.set_state(PgWireConnectionState::AwaitingStartup);
            }
            PgWireFrontendMessage::CancelRequest(request) => {
                backends.cancel_with(request.pid, &request.secret_key.to_bytes());
                return None;
            }
            message => {
                if let Err(error) = startup.on_startup(&mut client, message).await {
                    let info: pgwire::error::ErrorInfo = error.into();
                    // It is told why, if it still listens.
                    let _told = client.send(PgWireBackendMessage::ErrorResponse(info.into())).await;
                    return None;
                }
            }
        }
        if matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            let (_, secret) = client.pid_and_secret_key();
            let secret = secret.to_bytes().to_vec();
            let parameters = client.metadata().clone();
            let version = client.protocol_version();
            let parts = client.into_parts();
            let (socket, incoming) = (parts.io.into_std().ok()?, parts.read_buf);
            return Some(Begun { socket, incoming, version, secret, parameters });
        }
    }
}
