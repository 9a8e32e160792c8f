//! A connection's socket, with TLS or without. It never waits.

use rustix::fd::{AsFd, BorrowedFd};
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use thalweg_listen::TlsSession;

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

pub(super) struct Tls {
    socket: TcpStream,
    session: TlsSession,
}

impl Transport {
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    pub(super) fn tls(socket: TcpStream, session: TlsSession) -> Self {
        Self::Tls(Box::new(Tls { socket, session }))
    }

    /// Reads once; nothing is the end. `raw` is for what comes from the socket, `opened` for what
    /// TLS makes of it.
    #[inline]
    pub(super) fn read<'a>(
        &mut self,
        raw: &'a mut [u8],
        opened: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        match self {
            Self::Plain(socket) => {
                let count = socket.read(raw)?;
                Ok(raw.get(..count).unwrap_or_default())
            }
            Self::Tls(tls) => {
                opened.clear();
                let take = |piece: &[u8]| opened.extend_from_slice(piece);
                tls.session.read(&mut tls.socket, raw, take)?;
                Ok(opened)
            }
        }
    }

    /// Sends as much as the client takes; says how much that is.
    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.session.write(&mut tls.socket, bytes),
        }
    }

    /// Sends what TLS holds.
    pub(super) fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.session.flush(&mut tls.socket),
        }
    }

    /// Whether TLS holds something to be sent.
    #[inline]
    pub(super) fn has_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.has_pending(),
        }
    }

    /// Whether the client has said, inside TLS, that nothing more comes.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.has_ended(),
        }
    }

    /// Whether the handshake is not over yet.
    #[inline]
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.is_handshaking(),
        }
    }

    /// Says that nothing more comes from us; it is to be flushed.
    pub(super) fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.finish();
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket.as_fd(),
        }
    }
}
