//! The HTTP door with TLS.

use crate::certificates::{Certificate, VERSIONS};
use crate::node::{Client, Encrypted, Node, socket, until_closed};
use rustls::StreamOwned;
use std::io::{Read, Write};
use thalweg_doors::DoorSettings;

fn https(node: &Node, trusted: &Certificate) -> Encrypted {
    let connection = trusted.client(VERSIONS, &[b"h2", b"http/1.1"]);
    Client::new(StreamOwned::new(connection, socket(node.https.address())))
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let node = Node::open(DoorSettings::default());
    let mut client = https(&node, &node.certificate);
    assert_eq!(client.http("GET /healthz", ""), (200, "ok\n".to_owned()));
    assert_eq!(client.stream().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let value = "x".repeat(3 << 20);
    let kind = "content-type: application/octet-stream\r\nhost: localhost";
    let length = value.len();
    let put = format!("PUT /data/k HTTP/1.1\r\n{kind}\r\ncontent-length: {length}\r\n\r\n");
    client.send(put.as_bytes());
    client.send(value.as_bytes());
    let (status, _) = client.http_answer();
    assert!((200..300).contains(&status), "{status}");
    let (status, body) = client.http("GET /data/k", "accept: application/octet-stream\r\n");
    assert!(status == 200 && body == value);
    node.plain().ask("STRLEN k", &format!(":{length}\r\n"));
}

#[test]
fn what_is_no_tls_is_refused_with_an_alert_and_a_stall_has_a_limit() {
    let node = Node::open(DoorSettings { handshake_timeout_ms: 100, ..DoorSettings::default() });
    let mut client = socket(node.https.address());
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
    assert_eq!(until_closed(&mut client).first(), Some(&21), "an alert");
    let mut client = socket(node.https.address());
    client.write_all(&[22, 3, 1]).expect("send");
    until_closed(&mut client);
    node.until("both are gone", |shared| shared.connection_count() == 0);
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let node = Node::open(DoorSettings::default());
    let mut old = https(&node, &node.certificate);
    assert_eq!(old.http("GET /healthz", "").0, 200);
    let new = Certificate::new();
    node.files.write(&new.certificate_pem, &new.key_pem);
    assert!(node.tls.look().expect("good files"));
    assert_eq!(https(&node, &new).http("GET /healthz", "").0, 200);
    assert_eq!(old.http("GET /healthz", "").0, 200);
    assert!(https(&node, &node.certificate).stream().read(&mut [0]).is_err());
}

#[test]
fn a_drain_ends_idle_connections_cleanly() {
    let node = Node::open(DoorSettings::default());
    let mut encrypted = https(&node, &node.certificate);
    let mut plain = Client::new(socket(node.http.address()));
    assert_eq!(encrypted.http("GET /healthz", "").0, 200);
    assert_eq!(plain.http("GET /healthz", "").0, 200);
    node.shared.drain();
    assert_eq!(encrypted.rest(), "");
    assert_eq!(plain.rest(), "");
    node.until("both are gone", |shared| shared.connection_count() == 0);
}
