//! The beginning of a connection: a request for TLS or for cancelling another connection, which may
//! come first, the client's name and parameters, and what drivers are told at once.

use super::PgSettings;
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
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thalweg_listen::{Access, Protocol, Stream, Tls, TlsSession};
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

/// A client that says nothing is let go after this.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// And after this where it is one too many: it can only cancel, or be told why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The first byte of TLS. Postgres' first message begins with its length, of which this is never
/// the first byte.
const TLS_HANDSHAKE: u8 = 22;
/// Postgres in the lists of protocols of TLS (ALPN).
const ALPN_NAME: &[u8] = b"postgresql";

/// A connection that has begun.
pub(super) struct Begun {
    socket: std::net::TcpStream,
    tls: Option<TlsSession>,
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
        Ok(Wire::new(socket, self.tls, self.incoming, self.version))
    }
}

/// A client whose messages are read and written, with TLS or without.
type Client = Framed<Stream, PgWireMessageServerCodec<()>>;

/// Lets a connection begin; nothing where it ends before that.
pub(super) async fn begin(
    socket: TcpStream,
    startup: Startup,
    settings: &PgSettings,
    backends: &Backends,
    is_refused: bool,
) -> Option<Begun> {
    let beginning = try_begin(socket, startup, settings, backends);
    let patience = if is_refused { REFUSAL_TIMEOUT } else { STARTUP_TIMEOUT };
    tokio::time::timeout(patience, beginning).await.ok().flatten()
}

async fn try_begin(
    socket: TcpStream,
    startup: Startup,
    settings: &PgSettings,
    backends: &Backends,
) -> Option<Begun> {
    let mut client = meet(socket, settings).await?;
    let startup = Arc::new(startup);
    loop {
        let message = client.next().await?.ok()?;
        match message {
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::PostgresSsl(_)) => {
                client = answer_tls_request(client, settings).await?;
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
                    let _ended = client.close().await;
                    return None;
                }
            }
        }
        if matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return begun(client);
        }
    }
}

/// What the rest of the connection needs.
fn begun(client: Client) -> Option<Begun> {
    let (_, secret) = client.pid_and_secret_key();
    let secret = secret.to_bytes().to_vec();
    let parameters = client.metadata().clone();
    let version = client.protocol_version();
    let parts = client.into_parts();
    let (socket, tls) = parts.io.into_parts()?;
    let socket = socket.into_std().ok()?;
    Some(Begun { socket, tls, incoming: parts.read_buf, version, secret, parameters })
}

/// Reads how a client begins: nearly all ask for TLS in words of the protocol, but some begin with
/// it at once (`sslnegotiation=direct`).
async fn meet(socket: TcpStream, settings: &PgSettings) -> Option<Client> {
    let address = socket.peer_addr().ok()?;
    let mut first = [0];
    socket.peek(&mut first).await.ok()?;
    if first != [TLS_HANDSHAKE] {
        return Some(framed(Stream::plain(socket), address, false));
    }
    let stream = encrypt(socket, settings.tls.as_deref()?, &settings.access).await?;
    // Postgres wants that, too: another server's client could be led here otherwise.
    (stream.protocol() == Some(ALPN_NAME)).then(|| framed(stream, address, true))
}

/// A client has asked for TLS: it gets it where there is a certificate, and is told so where not.
async fn answer_tls_request(mut client: Client, settings: &PgSettings) -> Option<Client> {
    let Some(tls) = settings.tls.as_deref() else {
        client.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse)).await.ok()?;
        return Some(client);
    };
    client.send(PgWireBackendMessage::SslResponse(SslResponse::Accept)).await.ok()?;
    let address = client.socket_addr();
    let parts = client.into_parts();
    // What came before it was encrypted may be somebody else's: nobody who waits for an answer has
    // sent it (CVE-2021-23214 of Postgres).
    if !parts.read_buf.is_empty() {
        return None;
    }
    let (socket, _) = parts.io.into_parts()?;
    let stream = encrypt(socket, tls, &settings.access).await?;
    Some(framed(stream, address, true))
}

async fn encrypt(socket: TcpStream, tls: &Tls, access: &Access) -> Option<Stream> {
    let config = tls.config(Protocol::Postgres);
    let mut stream = Stream::tls(socket, config, access.handshake_max());
    stream.handshake().await.ok()?;
    Some(stream)
}

/// A client that may ask for TLS, unless it has it.
fn framed(stream: Stream, address: SocketAddr, is_secure: bool) -> Client {
    let client = DefaultClient::<()>::new(address, is_secure);
    let mut client = Framed::new(stream, PgWireMessageServerCodec::new(client));
    client.set_state(if is_secure {
        PgWireConnectionState::AwaitingStartup
    } else {
        PgWireConnectionState::AwaitingSslRequest
    });
    client
}
