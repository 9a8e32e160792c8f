//! The socket of one connection: whole messages in, answers out. Answers are sent together, when
//! the client waits for them or when there are many, so that a row costs one system call and not
//! four.

use crate::error::{SqlError, SqlState};
use bytes::{Buf, BufMut, BytesMut};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
};
use std::io;
use std::sync::Arc;
use thalweg_listen::{AtOnce, TlsSession};
use tokio::net::TcpStream;

/// Bytes of answers that are held before they are sent.
const HELD_MAX_BYTES: usize = 64 << 10;
/// The longest message that a client may send: a statement's text with its parameters, a piece of a
/// COPY.
const MESSAGE_MAX_BYTES: usize = 72 << 20;
/// What is read at once.
const READ_BYTES: usize = 16 << 10;

/// One connection's socket.
pub(super) struct Wire {
    socket: Arc<TcpStream>,
    tls: Option<Encrypted>,
    incoming: BytesMut,
    outgoing: BytesMut,
    context: DecodeContext,
}

/// TLS, and what was read from the socket for it.
struct Encrypted {
    session: TlsSession,
    sealed: Vec<u8>,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Ended {
    /// The other side is gone.
    Lost,
    /// The client is told why: it does not keep to the protocol, or somebody has ended it.
    Told(SqlError),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

impl Wire {
    /// What a connection goes on with after its beginning.
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<TlsSession>,
        incoming: BytesMut,
        version: ProtocolVersion,
    ) -> Self {
        let tls = tls.map(|session| Encrypted { session, sealed: vec![0; READ_BYTES] });
        let mut context = DecodeContext::default();
        context.protocol_version = version;
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Self { socket: Arc::new(socket), tls, incoming, outgoing: BytesMut::new(), context }
    }

    /// The next message; nothing where the client has closed the connection. What is held is sent
    /// before it is waited for.
    pub(super) async fn next(&mut self) -> Result<Option<PgWireFrontendMessage>, Ended> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            self.flush().await?;
            self.incoming.reserve(READ_BYTES);
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// What the client has sent; nothing where it has closed the connection.
    async fn read(&mut self) -> io::Result<usize> {
        loop {
            let read = match &mut self.tls {
                None => self.socket.try_read_buf(&mut self.incoming),
                Some(tls) => {
                    let take = |piece: &[u8]| self.incoming.extend_from_slice(piece);
                    tls.session.read(&mut AtOnce(&self.socket), &mut tls.sealed, take)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flush_tls().await?;
                    self.socket.readable().await?;
                }
                read => return read,
            }
        }
    }

    fn decode(&mut self) -> Result<Option<PgWireFrontendMessage>, Ended> {
        let violation =
            |message: String| Ended::Told(SqlError::new(SqlState::ProtocolViolation, message));
        let Some(head) = self.incoming.get(1..5) else { return Ok(None) };
        let length = u32::from_be_bytes(head.try_into().unwrap_or_default()) as usize;
        if !(4..=MESSAGE_MAX_BYTES).contains(&length) {
            return Err(violation(format!(
                "a message of {length} bytes; at most {MESSAGE_MAX_BYTES} are possible"
            )));
        }
        if self.incoming.len() < length + 1 {
            return Ok(None);
        }
        PgWireFrontendMessage::decode(&mut self.incoming, &self.context)
            .map_err(|error| violation(format!("invalid message: {error}")))
    }

    /// Whether the next message is Sync and has come already: then what stands before it ends the
    /// pipeline.
    pub(super) fn sync_follows(&self) -> bool {
        self.incoming.first() == Some(&b'S')
    }

    /// Holds an answer.
    pub(super) fn put(&mut self, message: PgWireBackendMessage) -> Result<(), SqlError> {
        message.encode(&mut self.outgoing).map_err(|error| {
            SqlError::new(SqlState::Internal, format!("an answer cannot be written: {error}"))
        })
    }

    /// CopyData: its kind, its length with the length itself, and the bytes.
    pub(super) fn copy_data(&mut self, head: &[u8], rest: &[u8]) -> Result<(), SqlError> {
        let length = i32::try_from(head.len() + rest.len() + 4).map_err(|_| {
            SqlError::new(SqlState::LimitExceeded, "a row is too large for the protocol")
        })?;
        self.outgoing.put_u8(b'd');
        self.outgoing.put_i32(length);
        self.outgoing.extend_from_slice(head);
        self.outgoing.extend_from_slice(rest);
        Ok(())
    }

    /// Where rows are written to.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// Whether what is held is to be sent before there is more.
    pub(super) fn holds_much(&self) -> bool {
        self.outgoing.len() >= HELD_MAX_BYTES
    }

    /// Sends what is held if it is much.
    pub(super) async fn flush_if_much(&mut self) -> io::Result<()> {
        if self.holds_much() { self.flush().await } else { Ok(()) }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.outgoing.is_empty() {
            while !self.outgoing.is_empty() {
                let written = match &mut self.tls {
                    None => self.socket.try_write(&self.outgoing),
                    Some(tls) => tls.session.write(&mut AtOnce(&self.socket), &self.outgoing),
                };
                match written {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => self.outgoing.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.socket.writable().await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            // A large answer's buffer is given back.
            if self.outgoing.capacity() > 16 * HELD_MAX_BYTES {
                self.outgoing = BytesMut::new();
            }
        }
        self.flush_tls().await
    }

    /// Sends what TLS holds: the end of answers, or what it has to say by itself.
    async fn flush_tls(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        loop {
            match tls.session.flush(&mut AtOnce(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                flushed => return flushed,
            }
        }
    }

    /// Lets TLS say that this is the end, if the client takes it at once.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.session.finish();
            let _told = tls.session.flush(&mut AtOnce(&self.socket));
        }
    }

    /// Tells a variable that drivers want to know.
    pub(super) fn parameter(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let status = ParameterStatus::new(name.to_owned(), value.to_owned());
        self.put(PgWireBackendMessage::ParameterStatus(status))
    }

    /// The client, for whoever looks whether it is still there.
    pub(super) fn client(&self) -> Arc<TcpStream> {
        self.socket.clone()
    }
}
