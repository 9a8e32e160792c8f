//! A node that keeps nothing, with both doors, each with TLS and without.

use crate::certificates::{Certificate, Files, VERSIONS};
use rustls::{ClientConnection, StreamOwned, SupportedProtocolVersion};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_doors::http::HttpDoor;
use thalweg_doors::resp::{ConfigParameter, RespDoor, RespSettings};
use thalweg_doors::{DoorSettings, Shared};
use thalweg_listen::{Tls, TlsAddress};
use thalweg_node::{Engine, EngineSettings};
use tokio::runtime::Runtime;

/// Longer than anything here takes; only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) certificate: Certificate,
    pub(crate) files: Files,
    pub(crate) resp: RespDoor,
    pub(crate) http: HttpDoor,
    pub(crate) https: HttpDoor,
    /// The HTTP doors run on it.
    _runtime: Runtime,
}

impl Node {
    pub(crate) fn open(settings: DoorSettings) -> Self {
        let certificate = Certificate::new();
        let files = Files::with(&certificate);
        let tls = files.open();
        let engine = Engine::open(EngineSettings::in_memory()).expect("open");
        let shared = Shared::new(engine, settings, vec![maxclients()]);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let encrypted = TlsAddress { address, tls: tls.clone() };
        let settings = RespSettings { address, tls: Some(encrypted.clone()), threads: 1 };
        let resp = RespDoor::open(shared.clone(), settings).expect("open");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (http, https) = {
            let _on_it = runtime.enter();
            let http = thalweg_doors::http::open(shared.clone(), address).expect("open");
            let https = thalweg_doors::http::open_tls(shared.clone(), encrypted).expect("open");
            (http, https)
        };
        Self { shared, tls, certificate, files, resp, http, https, _runtime: runtime }
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.resp.tls_address().expect("a second address")
    }

    /// A RESP connection with TLS.
    pub(crate) fn encrypted(&self) -> Encrypted {
        self.encrypted_with(&self.certificate, VERSIONS)
    }

    pub(crate) fn encrypted_with(
        &self,
        trusted: &Certificate,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Encrypted {
        Client::new(StreamOwned::new(trusted.client(versions, &[]), socket(self.tls_address())))
    }

    /// A RESP connection without TLS.
    pub(crate) fn plain(&self) -> Client<TcpStream> {
        Client::new(socket(self.resp.address()))
    }

    /// Waits until something is true of the doors.
    pub(crate) fn until(&self, what: &str, is_true: impl Fn(&Shared) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_true(&self.shared) {
            assert!(Instant::now() < deadline, "never: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.resp.close(PATIENCE);
    }
}

fn maxclients() -> ConfigParameter {
    ConfigParameter {
        name: "maxclients",
        get: Box::new(|doors| doors.connections_max.to_string()),
        set: Box::new(|doors, text| {
            doors.connections_max = text.parse().map_err(|_| "takes a number".to_owned())?;
            Ok(())
        }),
    }
}

pub(crate) fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.set_nodelay(true).expect("an option");
    socket
}

pub(crate) type Encrypted = Client<StreamOwned<ClientConnection, TcpStream>>;

/// A client that speaks lines and bytes.
pub(crate) struct Client<S: Read + Write>(BufReader<S>);

impl<S: Read + Write> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        self.0.get_mut()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("send");
        self.stream().flush().expect("send");
    }

    /// Reads exactly these bytes.
    pub(crate) fn expect(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        self.0.read_exact(&mut bytes).unwrap_or_else(|error| panic!("for {expected:?}: {error}"));
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    pub(crate) fn ask(&mut self, line: &str, expected: &str) {
        self.send(format!("{line}\r\n").as_bytes());
        self.expect(expected);
    }

    pub(crate) fn read_exact(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).expect("as many bytes");
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).expect("a line") > 0, "the end");
        line
    }

    /// What still comes, until the other side says that this is the end.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("a clean end");
        rest
    }

    /// An answer of HTTP: its status and its body.
    pub(crate) fn http(&mut self, request: &str, headers: &str) -> (u16, String) {
        self.send(format!("{request} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes());
        self.http_answer()
    }

    pub(crate) fn http_answer(&mut self) -> (u16, String) {
        let (mut status, mut length) = (0, 0);
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("an answer") > 0, "the end");
            let line = line.trim_end().to_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).expect("a status");
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().expect("a length");
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        (status, String::from_utf8(body).expect("text"))
    }
}

/// Everything until the other side closes, however it does that.
pub(crate) fn until_closed(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("it is not closed: {error}"),
        }
    }
}
