//! Listens, accepts connections, and gives them to the event loops, one after the other.

use super::event_loop::{EventLoop, Inbox, Message};
use crate::shared::{Client, DoorError, Shared};
use parking_lot::Mutex;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const BACKLOG: i32 = 4_096;
/// After so long without a word a client is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// The open RESP door.
pub struct RespDoor {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl RespDoor {
    /// Listens and starts `threads` event loops.
    pub fn open(
        shared: Arc<Shared>,
        address: SocketAddr,
        threads: usize,
    ) -> Result<Self, DoorError> {
        let listener = listen(address)?;
        let address =
            listener.local_addr().map_err(|source| DoorError::Listen { address, source })?;
        *shared.resp_address.write() = Some(address);
        let start = |action| move |source| DoorError::Start { action, source };
        let mut handles = Vec::new();
        let mut inboxes = Vec::new();
        for number in 0..threads.max(1) {
            let inbox = Inbox::new().map_err(start("make an event loop"))?;
            let mut event_loop = EventLoop::new(shared.clone(), inbox.clone())
                .map_err(start("make an event loop"))?;
            inboxes.push(inbox);
            let handle = std::thread::Builder::new()
                .name(format!("thalweg-resp-{number}"))
                .spawn(move || event_loop.run())
                .map_err(start("start an event loop"))?;
            handles.push(handle);
        }
        let accepting = shared.clone();
        let handle = std::thread::Builder::new()
            .name("thalweg-accept".to_owned())
            .spawn(move || accept(&accepting, &listener, &inboxes))
            .map_err(start("start accepting"))?;
        handles.push(handle);
        Ok(Self { address, shared, threads: Mutex::new(handles) })
    }

    /// Where the door listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all connections are closed, after [`Shared::drain`], but no longer than
    /// `patience`.
    pub fn close(&self, patience: Duration) {
        self.shared.drain();
        // Accepting notices when somebody connects.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(200)));
        let deadline = std::time::Instant::now() + patience;
        for thread in self.threads.lock().drain(..) {
            while !thread.is_finished() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            if thread.is_finished() {
                // One that panicked has said so.
                let _already_reported = thread.join();
            }
        }
        self.shared.feeds.stop();
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, DoorError> {
    use socket2::{Domain, Socket, Type};
    let failed = |source| DoorError::Listen { address, source };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.bind(&address.into()).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    Ok(socket.into())
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, inboxes: &[Arc<Inbox>]) {
    let mut next = 0;
    loop {
        let accepted = listener.accept();
        if shared.is_draining() {
            for inbox in inboxes {
                inbox.wake();
            }
            return;
        }
        match accepted {
            Ok((stream, peer)) => {
                let Some(inbox) = inboxes.get(next % inboxes.len()) else { return };
                if welcome(shared, inbox, stream, peer) {
                    next += 1;
                }
            }
            // Out of file descriptors, or the client is gone already: wait a little rather than
            // spin.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Registers a connection and hands it over; false where there are too many.
fn welcome(
    shared: &Arc<Shared>,
    inbox: &Arc<Inbox>,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> bool {
    let settings = shared.settings();
    if shared.connection_count() >= settings.connections_max {
        shared.stats.rejected.fetch_add(1, Ordering::Relaxed);
        // The client may be gone already.
        let _courtesy = stream.write_all(b"-ERR max number of clients reached\r\n");
        return false;
    }
    if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
        return false;
    }
    // A listener may be silent for days: only this tells whether it is still there.
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    let _only_later = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let now_ms = shared.engine.now_ms();
    let waker = inbox.clone();
    let client = Arc::new(Client {
        id: shared.next_client.fetch_add(1, Ordering::Relaxed),
        address: peer.to_string(),
        local: stream.local_addr().map(|address| address.to_string()).unwrap_or_default(),
        since_ms: now_ms,
        name: Mutex::default(),
        library: Mutex::default(),
        protocol: AtomicU64::new(2),
        last_command: Mutex::new(""),
        last_ms: AtomicU64::new(now_ms),
        subscriptions: Default::default(),
        killed: AtomicBool::new(false),
        wake: Box::new(move || waker.wake()),
    });
    shared.stats.connections.fetch_add(1, Ordering::Relaxed);
    shared.clients.lock().insert(client.id, client.clone());
    inbox.send(Message::Accepted(stream, client));
    true
}
