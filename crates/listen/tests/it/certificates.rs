//! Certificates for tests, in files as a node reads them, and clients that trust them.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use thalweg_listen::{Tls, TlsFiles};

/// Both versions that are spoken.
pub(crate) static VERSIONS: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate for `localhost` that signs itself, and its key.
pub(crate) struct Certificate {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("make");
        Self {
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    /// The beginning of a client that trusts this one and no other, with one version of TLS or
    /// several, and the protocols (ALPN) that it offers.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a client")
    }
}

/// A certificate and its key in a folder.
pub(crate) struct Files {
    folder: TempDir,
    pub(crate) files: TlsFiles,
}

impl Files {
    pub(crate) fn with(certificate: &Certificate) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name);
        let files = TlsFiles { certificate: path("certificate.pem"), key: path("key.pem") };
        let made = Self { folder, files };
        made.write(&certificate.certificate_pem, &certificate.key_pem);
        made
    }

    /// Puts others in their place, as a program does that renews certificates: beside the old
    /// files, then over them.
    pub(crate) fn write(&self, certificate_pem: &str, key_pem: &str) {
        self.put(&self.files.certificate, certificate_pem);
        self.put(&self.files.key, key_pem);
    }

    fn put(&self, path: &Path, text: &str) {
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, text).expect("write");
        std::fs::rename(&beside, path).expect("rename");
    }

    pub(crate) fn open(&self) -> Arc<Tls> {
        Tls::open(self.files.clone()).expect("open")
    }
}
