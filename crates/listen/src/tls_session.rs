//! TLS for sockets that never wait: bytes in, bytes out, with buffers that have a limit. What the
//! client sends is opened as soon as it has come, so nothing but the beginning of a record stays
//! inside; what is to be sent is taken only as far as [`SEALED_MAX_BYTES`] allow.

use rustls::{ServerConfig, ServerConnection};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::sync::Arc;

/// Sealed bytes that may wait for a client that does not read.
const SEALED_MAX_BYTES: usize = 64 << 10;

/// One connection's TLS.
pub struct TlsSession {
    connection: Box<ServerConnection>,
    /// The client has said that nothing more comes.
    ended: bool,
}

impl TlsSession {
    /// Before the handshake.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::from_connection(ServerConnection::new(config)?))
    }

    /// Goes on with a connection that began elsewhere.
    pub(crate) fn from_connection(mut connection: ServerConnection) -> Self {
        connection.set_buffer_limit(Some(SEALED_MAX_BYTES));
        let ended = connection.process_new_packets().is_ok_and(|state| state.peer_has_closed());
        Self { connection: Box::new(connection), ended }
    }

    /// Whether the handshake is not over yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether sealed bytes wait to be sent.
    pub fn has_pending(&self) -> bool {
        self.connection.wants_write()
    }

    /// Whether the client has said that nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads once from the socket, as much as `sealed` takes, and hands out what that opens, piece
    /// by piece. Says how many bytes those were; 0 is the end. Where the bytes were no more than
    /// a part of the handshake or of a record, the error is `WouldBlock`. Afterwards there may be
    /// something to [`flush`](Self::flush).
    pub fn read(
        &mut self,
        socket: &mut impl Read,
        sealed: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        // Where it began elsewhere, something may have been opened there.
        let before = self.take_opened(&mut take)?;
        if before > 0 || self.ended {
            return Ok(before);
        }
        let count = socket.read(sealed)?;
        if count == 0 {
            self.ended = true;
            return Ok(0);
        }
        let opened = self.open(sealed.get(..count).unwrap_or_default(), &mut take)?;
        if opened == 0 && !self.ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(opened) }
    }

    /// Hands out what sealed bytes hold; says how many bytes that is.
    fn open(&mut self, mut sealed: &[u8], take: &mut impl FnMut(&[u8])) -> io::Result<usize> {
        let mut opened = 0;
        while !sealed.is_empty() && !self.ended && self.connection.read_tls(&mut sealed)? > 0 {
            match self.connection.process_new_packets() {
                Ok(state) => self.ended = state.peer_has_closed(),
                // An alert says so, once it is flushed.
                Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
            }
            opened += self.take_opened(take)?;
        }
        Ok(opened)
    }

    fn take_opened(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<usize> {
        let mut opened = 0;
        let mut reader = self.connection.reader();
        loop {
            let count = match reader.fill_buf() {
                Ok([]) => return Ok(opened),
                Ok(piece) => {
                    take(piece);
                    piece.len()
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(opened),
                Err(error) => return Err(error),
            };
            reader.consume(count);
            opened += count;
        }
    }

    /// Takes bytes and sends them as far as the socket takes them; says how many were taken.
    /// `WouldBlock`: none, for the client has not read what came before.
    pub fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let taken = self.connection.writer().write(bytes)?;
        match self.flush(socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Sends what is sealed. `WouldBlock`: some of it is left.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more comes from us, so that the client can tell an end from a cut. It is
    /// to be flushed. Nothing is written afterwards, and it is said once, and not after an alert.
    pub fn finish(&mut self) {
        if !self.is_handshaking() {
            self.connection.send_close_notify();
        }
    }
}
