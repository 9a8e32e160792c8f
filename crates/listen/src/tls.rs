//! The certificate and the key of all doors. They come from two PEM files, and are read again when
//! the files change; connections that are open keep what they began with.

use crate::access::Access;
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// A PEM file: the server's certificate, then those that it was signed with.
    pub certificate: PathBuf,
    /// A PEM file with the private key, without a passphrase.
    pub key: PathBuf,
}

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// The one with the certificates.
    Certificate,
    /// The one with the key.
    Key,
}

impl fmt::Display for TlsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
        })
    }
}

/// A file that TLS cannot begin with.
#[derive(Debug, thiserror::Error)]
#[error("the {file} in {} cannot be used: {why}", path.display())]
pub struct TlsError {
    /// Which file.
    pub file: TlsFile,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// An address whose connections begin with TLS.
#[derive(Clone)]
pub struct TlsAddress {
    /// The address.
    pub address: SocketAddr,
    /// What they begin with.
    pub tls: Arc<Tls>,
}

/// What is spoken inside TLS. A client that offers a list of protocols (ALPN) must have this one in
/// it; one that offers none is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The Redis protocol, which has no name in such lists.
    Resp,
    /// HTTP/1.1.
    Http,
    /// Postgres.
    Postgres,
}

/// TLS as new connections get it.
pub struct Tls {
    files: TlsFiles,
    configs: RwLock<Configs>,
    /// The files as they were when they were last read.
    seen: Mutex<[Stamp; 2]>,
}

/// One configuration a protocol. All are made anew for a new certificate, so that no session of the
/// old one is resumed.
struct Configs {
    resp: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    postgres: Arc<ServerConfig>,
}

/// What tells a file from its next version: inode, length, and when content and inode last changed,
/// in seconds and nanoseconds. Nothing where there is no file.
type Stamp = Option<[i64; 6]>;

impl Tls {
    /// Reads the files.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let seen = stamps(&files);
        let configs = load(&files)?;
        Ok(Arc::new(Self { files, configs: RwLock::new(configs), seen: Mutex::new(seen) }))
    }

    /// What a new connection begins its handshake with.
    pub fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let configs = self.configs.read();
        match protocol {
            Protocol::Resp => configs.resp.clone(),
            Protocol::Http => configs.http.clone(),
            Protocol::Postgres => configs.postgres.clone(),
        }
    }

    /// Reads the files again if they have changed; says whether new connections get something else
    /// now. Where the new files are broken, the old certificate stays, and the files are not read
    /// again before they change once more.
    pub fn look(&self) -> Result<bool, TlsError> {
        let mut seen = self.seen.lock();
        // Before they are read: a change in between is seen next time.
        let now = stamps(&self.files);
        if *seen == now {
            return Ok(false);
        }
        *seen = now;
        *self.configs.write() = load(&self.files)?;
        Ok(true)
    }

    /// Looks at the files every other second, until the doors close.
    pub async fn watch(self: Arc<Self>, access: Arc<Access>) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                () = access.drain.begun() => return,
                _ = interval.tick() => {}
            }
            let tls = self.clone();
            // A file may be on a disk that does not answer.
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(Ok(true)) => {
                    let certificate = self.files.certificate.display();
                    tracing::info!(%certificate, "new connections get the new certificate");
                }
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "the certificate that was read before stays in use");
                }
            }
        }
    }
}

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    [&files.certificate, &files.key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        let (inode, length) = (file.ino() as i64, file.len() as i64);
        Some([inode, length, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()])
    })
}

fn load(files: &TlsFiles) -> Result<Configs, TlsError> {
    let chain = read(TlsFile::Certificate, &files.certificate, |bytes| {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>()?;
        if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
    })?;
    let key = read(TlsFile::Key, &files.key, PrivateKeyDer::from_pem_slice)?;
    let broken = |file, path: &Path, error: rustls::Error| TlsError {
        file,
        path: path.to_owned(),
        why: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // The key by itself first: an error of both together is the certificate's, or says that it is
    // another key's.
    provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| broken(TlsFile::Key, &files.key, error))?;
    let config = |protocols: &[&[u8]]| {
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(chain.clone(), key.clone_key())
            });
        let mut config =
            config.map_err(|error| broken(TlsFile::Certificate, &files.certificate, error))?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    };
    Ok(Configs {
        resp: config(&[])?,
        http: config(&[b"http/1.1"])?,
        postgres: config(&[b"postgresql"])?,
    })
}

fn read<T>(
    file: TlsFile,
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, TlsError> {
    let broken = |why: String| TlsError { file, path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|error: io::Error| broken(error.to_string()))?;
    parse(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => broken(format!("there is no {file} in PEM in it")),
        error => broken(format!("it is no valid PEM: {error}")),
    })
}
