//! Accepts HTTP connections, up to the limit that all doors share.

use super::activity::Activity;
use crate::shared::Shared;
use axum::serve::Listener;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_listen::{Acceptor, Admission, Admitted, Arrival, Protocol, Stream, Telling, Tls};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: \
                          application/problem+json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 89\r\n\r\n\
    {\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many clients already are \
    open\"}";

/// How long a connection may be without a whole head of a request, where no other time is set: as
/// long as nginx waits for a next request.
const PAUSE_USUAL: Duration = Duration::from_secs(75);

pub(super) struct Counted {
    pub(super) acceptor: Acceptor,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) shared: Arc<Shared>,
}

/// A connection, which counts until it is closed.
pub(super) struct Connection {
    stream: Stream,
    activity: Activity,
    /// The longest time between two requests.
    pause_max: Duration,
    /// The time between two requests that the connection is in, and when it is too long.
    pause: Option<(u64, Pin<Box<Sleep>>)>,
    _admitted: Admitted,
}

impl Connection {
    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Whether the next request has been awaited for too long; if not, the task is woken when it
    /// has.
    fn is_paused_too_long(&mut self, context: &mut Context<'_>) -> bool {
        let Some(number) = self.activity.pause() else {
            self.pause = None;
            return false;
        };
        if self.pause.as_ref().is_none_or(|(begun, _)| *begun != number) {
            self.pause = Some((number, Box::pin(tokio::time::sleep(self.pause_max))));
        }
        self.pause.as_mut().is_some_and(|(_, ends)| ends.as_mut().poll(context).is_ready())
    }
}

impl Listener for Counted {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        while let Some(Arrival { socket, peer, admission }) = self.acceptor.next().await {
            let stream = self.stream(socket);
            match admission {
                Admission::Admitted(admitted) => return (self.connection(stream, admitted), peer),
                Admission::Refused(telling) => _ = tokio::spawn(refuse(stream, telling)),
            }
        }
        // The door closes: whoever serves has been told, and does not ask again.
        std::future::pending().await
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.acceptor.address())
    }
}

impl Counted {
    fn stream(&self, socket: TcpStream) -> Stream {
        match &self.tls {
            Some(tls) => {
                let handshake_max = self.shared.access.handshake_max();
                Stream::tls(socket, tls.config(Protocol::Http), handshake_max)
            }
            None => Stream::plain(socket),
        }
    }

    fn connection(&self, stream: Stream, admitted: Admitted) -> Connection {
        let pause_max = match self.shared.settings().idle_timeout_ms {
            0 => PAUSE_USUAL,
            ms => Duration::from_millis(ms),
        };
        Connection {
            stream,
            activity: Activity::default(),
            pause_max,
            pause: None,
            _admitted: admitted,
        }
    }
}

/// Tells a client why it cannot stay, if it still listens.
async fn refuse(mut stream: Stream, _telling: Telling) {
    let _told = stream.write_all(TOO_MANY).await;
    let _ended = stream.shutdown().await;
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() && self.is_paused_too_long(context) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
