//! Takes HTTP connections, as many as all doors together may have.

use crate::shared::{Admitted, Shared};
use axum::serve::Listener;
use std::io::Result;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 89\r\n\r\n\
    {\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many clients already are open\"}";

pub(super) struct Counted {
    pub(super) listener: TcpListener,
    pub(super) shared: Arc<Shared>,
}

/// A connection, which counts until it is closed.
pub(super) struct Connection {
    stream: TcpStream,
    _admitted: Admitted,
}

impl Listener for Counted {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // It waits and tries again where the system refuses.
            let (mut stream, address) = Listener::accept(&mut self.listener).await;
            // The last piece of an answer must not wait until the one before it is acknowledged: 40 ms, on most
            // systems.
            let _only_slower = stream.set_nodelay(true);
            if let Some(admitted) = self.shared.admit() {
                return (Connection { stream, _admitted: admitted }, address);
            }
            self.shared.stats.rejected.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                // It is told why, if it still listens.
                let _told = stream.write_all(TOO_MANY).await;
            });
        }
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
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
