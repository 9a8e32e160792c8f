//! A connection of a door on tokio, with TLS or without. The handshake happens where the connection
//! is first read from or written to, so that a client that stalls holds up nobody else.

use crate::tls_session::TlsSession;
use rustls::ServerConfig;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// A connection.
pub struct Stream(State);

enum State {
    Plain(TcpStream),
    Handshake(Box<Handshake>),
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake has failed.
    Broken,
}

struct Handshake {
    accept: Accept<TcpStream>,
    /// When it has taken too long.
    ends: Pin<Box<Sleep>>,
}

impl Stream {
    /// A connection without TLS.
    pub fn plain(socket: TcpStream) -> Self {
        Self(State::Plain(socket))
    }

    /// A connection that begins with a TLS handshake, which may take so long.
    pub fn tls(socket: TcpStream, config: Arc<ServerConfig>, handshake_max: Duration) -> Self {
        let accept = TlsAcceptor::from(config).accept(socket);
        let ends = Box::pin(tokio::time::sleep(handshake_max));
        Self(State::Handshake(Box::new(Handshake { accept, ends })))
    }

    /// Waits for the end of the handshake. Reading and writing do that, too; this is for whoever
    /// wants to know what was agreed on.
    pub async fn handshake(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_handshake(context)).await
    }

    /// The protocol that client and server have agreed on (ALPN), after the handshake; nothing
    /// where the client has offered none.
    pub fn protocol(&self) -> Option<&[u8]> {
        match &self.0 {
            State::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            _ => None,
        }
    }

    /// Takes the connection apart, after the handshake: the socket, and TLS where it has it.
    /// Nothing where the handshake has failed or is not over.
    pub fn into_parts(self) -> Option<(TcpStream, Option<TlsSession>)> {
        match self.0 {
            State::Plain(socket) => Some((socket, None)),
            State::Tls(stream) => {
                let (socket, connection) = stream.into_inner();
                Some((socket, Some(TlsSession::from_connection(connection))))
            }
            State::Handshake(_) | State::Broken => None,
        }
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let handshake = match &mut self.0 {
            State::Plain(_) | State::Tls(_) => return Poll::Ready(Ok(())),
            State::Broken => return Poll::Ready(Err(ErrorKind::NotConnected.into())),
            State::Handshake(handshake) => handshake,
        };
        let outcome = match Pin::new(&mut handshake.accept).poll(context) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                ready!(handshake.ends.as_mut().poll(context));
                Err(ErrorKind::TimedOut.into())
            }
        };
        Poll::Ready(match outcome {
            Ok(stream) => {
                self.0 = State::Tls(Box::new(stream));
                Ok(())
            }
            Err(error) => {
                self.0 = State::Broken;
                Err(error)
            }
        })
    }
}

/// Does the same with the stream, whatever is below it, once the handshake is over.
macro_rules! after_handshake {
    ($self:ident, $context:ident, |$stream:ident| $poll:expr) => {{
        ready!($self.poll_handshake($context))?;
        match &mut $self.0 {
            State::Plain(socket) => {
                let $stream = Pin::new(socket);
                $poll
            }
            State::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $poll
            }
            State::Handshake(_) | State::Broken => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }};
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        after_handshake!(self, context, |stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        after_handshake!(self, context, |stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        after_handshake!(self, context, |stream| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        after_handshake!(self, context, |stream| stream.poll_flush(context))
    }

    /// A connection whose handshake has not ended is closed without a word.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            State::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            State::Handshake(_) | State::Broken => Poll::Ready(Ok(())),
        }
    }
}
