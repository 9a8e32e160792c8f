//! The files of TLS: what is refused, and when they are read again.

use crate::certificates::{Certificate, Files};
use rustls::pki_types::CertificateDer;
use std::path::PathBuf;
use std::sync::Arc;
use thalweg_listen::{Protocol, Tls, TlsFile, TlsFiles};

/// The certificate that a new connection is shown.
fn shown(tls: &Tls, trusted: &Certificate) -> Option<CertificateDer<'static>> {
    let mut server = rustls::ServerConnection::new(tls.config(Protocol::Resp)).expect("a server");
    let mut client = trusted.client(crate::certificates::VERSIONS, &[]);
    while client.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("a vector takes all");
        }
        server.read_tls(&mut wire.as_slice()).expect("room");
        server.process_new_packets().expect("a handshake");
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("a vector takes all");
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("room");
            client.process_new_packets().ok()?;
        }
    }
    client.peer_certificates()?.first().cloned()
}

#[test]
fn files_that_do_not_fit_are_refused_with_their_names() {
    let (one, other) = (Certificate::new(), Certificate::new());
    for (certificate, key, file, why) in [
        ("", one.key_pem.as_str(), TlsFile::Certificate, "there is no certificate in PEM in it"),
        (&one.key_pem, &one.key_pem, TlsFile::Certificate, "there is no certificate"),
        (&one.certificate_pem, "no key", TlsFile::Key, "there is no key in PEM in it"),
        (&one.certificate_pem, &one.certificate_pem, TlsFile::Key, "there is no key"),
        (&one.certificate_pem, &other.key_pem, TlsFile::Certificate, "KeyMismatch"),
        (
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
            &one.key_pem,
            TlsFile::Certificate,
            "it is no valid PEM",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &one.key_pem,
            TlsFile::Certificate,
            "",
        ),
        (
            &one.certificate_pem,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            TlsFile::Key,
            "",
        ),
    ] {
        let files = Files::with(&one);
        files.write(certificate, key);
        let error = Tls::open(files.files.clone()).err().expect("refused");
        assert_eq!(error.file, file, "{error}");
        assert!(error.why.contains(why), "{error}");
        let path = if file == TlsFile::Key { &files.files.key } else { &files.files.certificate };
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn files_that_are_not_there_are_refused() {
    let there = Files::with(&Certificate::new());
    let nowhere = PathBuf::from("/nowhere/a.pem");
    for (files, file) in [
        (TlsFiles { certificate: nowhere.clone(), ..there.files.clone() }, TlsFile::Certificate),
        (TlsFiles { key: nowhere.clone(), ..there.files.clone() }, TlsFile::Key),
    ] {
        let error = Tls::open(files).err().expect("refused");
        assert_eq!((error.file, &error.path), (file, &nowhere));
        assert!(error.why.contains("No such file"), "{error}");
    }
}

#[test]
fn new_connections_get_the_new_certificate() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let files = Files::with(&old);
    let tls = files.open();
    assert_eq!(shown(&tls, &old).as_ref(), Some(&old.der));
    assert!(!tls.look().expect("nothing is wrong"), "nothing has changed");
    files.write(&new.certificate_pem, &new.key_pem);
    assert_eq!(shown(&tls, &old).as_ref(), Some(&old.der), "it has not looked yet");
    assert!(tls.look().expect("good files"));
    assert_eq!(shown(&tls, &new).as_ref(), Some(&new.der));
    assert_eq!(shown(&tls, &old), None, "who trusts the old one only is not connected");
}

#[test]
fn broken_files_leave_the_old_certificate_in_use() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let files = Files::with(&old);
    let tls = files.open();
    // The key has not come yet.
    files.write(&new.certificate_pem, &old.key_pem);
    assert_eq!(tls.look().expect_err("broken").file, TlsFile::Certificate);
    assert!(!tls.look().expect("not read twice"));
    assert_eq!(shown(&tls, &old).as_ref(), Some(&old.der));
    std::fs::remove_file(&files.files.key).expect("remove");
    assert_eq!(tls.look().expect_err("no file").file, TlsFile::Key);
    assert_eq!(shown(&tls, &old).as_ref(), Some(&old.der));
    files.write(&new.certificate_pem, &new.key_pem);
    assert!(tls.look().expect("good files"));
    assert_eq!(shown(&tls, &new).as_ref(), Some(&new.der));
}

#[test]
fn each_protocol_has_its_name_in_the_list_of_the_handshake() {
    let tls = Files::with(&Certificate::new()).open();
    let names = |protocol| tls.config(protocol).alpn_protocols.clone();
    assert!(names(Protocol::Resp).is_empty());
    assert_eq!(names(Protocol::Http), [b"http/1.1".to_vec()]);
    assert_eq!(names(Protocol::Postgres), [b"postgresql".to_vec()]);
    let again = tls.config(Protocol::Http);
    assert!(Arc::ptr_eq(&again, &tls.config(Protocol::Http)), "one for all connections");
}
