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
    incoming: BytesMut,
    outgoing: BytesMut,
    context: DecodeContext,
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
    pub(super) fn new(socket: TcpStream, incoming: BytesMut, version: ProtocolVersion) -> Self {
        let mut context = DecodeContext::default();
        context.protocol_version = version;
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Self { socket: Arc::new(socket), incoming, outgoing: BytesMut::new(), context }
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
            match self.socket.try_read_buf(&mut self.incoming) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
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
                match self.socket.try_write(&self.outgoing) {
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
        Ok(())
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
