//! Sockets, as all doors want them.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connections that the system holds for us until we accept them.
const BACKLOG: i32 = 4_096;
/// After so long without a word a client is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// Listens on an address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets the system ask a silent client whether it is still there: one that listens to channels may
/// be silent for days.
pub fn keep_alive(socket: &impl AsFd) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    let _only_later = socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive);
}

/// A socket of tokio for those who wait elsewhere: what cannot be done at once is `WouldBlock`.
pub struct AtOnce<'a>(pub &'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
