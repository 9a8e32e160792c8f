//! Listens, accepts connections, and gives them to the event loops, one after the other.

use super::connection::Arrival;
use super::event_loop::{EventLoop, Inbox, Message};
use super::transport::Transport;
use crate::shared::{Client, DoorError, Shared};
use parking_lot::Mutex;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use thalweg_listen::{Protocol, Tls, TlsAddress, TlsSession};

/// How the door is opened.
pub struct RespSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens for those who speak TLS.
    pub tls: Option<TlsAddress>,
    /// Event loops.
    pub threads: usize,
}

/// The open RESP door.
pub struct RespDoor {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl RespDoor {
    /// Listens and starts the event loops.
    pub fn open(shared: Arc<Shared>, settings: RespSettings) -> Result<Self, DoorError> {
        let (listener, address) = listen(settings.address)?;
        let encrypted = settings.tls.map(|TlsAddress { address, tls }| {
            let (listener, address) = listen(address)?;
            Ok((listener, address, tls))
        });
        let encrypted = encrypted.transpose()?;
        *shared.resp_address.write() = Some(address);
        let tls_address = encrypted.as_ref().map(|(_, address, _)| *address);
        let mut handles = Vec::new();
        let inboxes = start_loops(&shared, settings.threads.max(1), &mut handles)?;
        let mut start = |name: &str, listener, tls: Option<Arc<Tls>>| {
            let (shared, inboxes) = (shared.clone(), inboxes.clone());
            let handle = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || accept(&shared, &listener, &inboxes, tls.as_deref()))
                .map_err(|source| DoorError::Start { action: "start accepting", source })?;
            handles.push(handle);
            Ok(())
        };
        start("thalweg-accept", listener, None)?;
        if let Some((listener, _, tls)) = encrypted {
            start("thalweg-acc-tls", listener, Some(tls))?;
        }
        Ok(Self { address, tls_address, shared, threads: Mutex::new(handles) })
    }

    /// Where the door listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for those who speak TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Waits until all connections are closed, after [`Shared::drain`], but no longer than
    /// `patience`.
    pub fn close(&self, patience: Duration) {
        self.shared.drain();
        // Accepting notices when somebody connects.
        for address in [Some(self.address), self.tls_address].iter().flatten() {
            drop(TcpStream::connect_timeout(address, Duration::from_millis(200)));
        }
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

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), DoorError> {
    let failed = |source| DoorError::Listen { address, source };
    let listener = thalweg_listen::listen(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn start_loops(
    shared: &Arc<Shared>,
    threads: usize,
    handles: &mut Vec<JoinHandle<()>>,
) -> Result<Vec<Arc<Inbox>>, DoorError> {
    let start = |action| move |source| DoorError::Start { action, source };
    let mut inboxes = Vec::new();
    for number in 0..threads {
        let inbox = Inbox::new().map_err(start("make an event loop"))?;
        let mut event_loop =
            EventLoop::new(shared.clone(), inbox.clone()).map_err(start("make an event loop"))?;
        inboxes.push(inbox);
        let handle = std::thread::Builder::new()
            .name(format!("thalweg-resp-{number}"))
            .spawn(move || event_loop.run())
            .map_err(start("start an event loop"))?;
        handles.push(handle);
    }
    Ok(inboxes)
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, inboxes: &[Arc<Inbox>], tls: Option<&Tls>) {
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
                if welcome(shared, inbox, stream, peer, tls) {
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
    mut socket: TcpStream,
    peer: SocketAddr,
    tls: Option<&Tls>,
) -> bool {
    let Some(admitted) = shared.access.limit.admit() else {
        if tls.is_none() {
            // The client may be gone already.
            let _courtesy = socket.write_all(b"-ERR max number of clients reached\r\n");
        }
        return false;
    };
    if socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)).is_err() {
        return false;
    }
    thalweg_listen::keep_alive(&socket);
    let local = socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let transport = match tls.map(|tls| TlsSession::new(tls.config(Protocol::Resp))) {
        None => Transport::plain(socket),
        Some(Ok(session)) => Transport::tls(socket, session),
        Some(Err(error)) => {
            tracing::warn!(%error, "TLS cannot begin; a connection is closed");
            return false;
        }
    };
    let now_ms = shared.engine.now_ms();
    let waker = inbox.clone();
    let client = Arc::new(Client {
        id: shared.next_client.fetch_add(1, Ordering::Relaxed),
        address: peer.to_string(),
        local,
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
    shared.clients.lock().insert(client.id, client.clone());
    inbox.send(Message::Accepted(Arrival { transport, client, admitted }));
    true
}
