//! What the doors share: one count of connections, one password.

use crate::certificates::VERSIONS;
use crate::node::{Client, Node, socket, until_closed};
use rustls::StreamOwned;
use thalweg_doors::DoorSettings;

#[test]
fn all_doors_count_as_one() {
    let node = Node::open(DoorSettings { connections_max: 4, ..DoorSettings::default() });
    let https = || {
        let connection = node.certificate.client(VERSIONS, &[]);
        Client::new(StreamOwned::new(connection, socket(node.https.address())))
    };
    let http = || Client::new(socket(node.http.address()));
    let mut resp = node.plain();
    resp.ask("PING", "+PONG\r\n");
    let mut encrypted = node.encrypted();
    encrypted.ask("PING", "+PONG\r\n");
    let (mut first, mut second) = (http(), https());
    assert_eq!(first.http("GET /healthz", "").0, 200);
    assert_eq!(second.http("GET /healthz", "").0, 200);

    assert_eq!(node.plain().rest(), "-ERR max number of clients reached\r\n");
    assert_eq!(until_closed(&mut socket(node.tls_address())), b"");
    for (status, body) in [http().http_answer(), https().http_answer()] {
        assert_eq!(status, 503);
        assert!(body.contains("too many clients"), "{body}");
    }
    let info = |field: &str, number: u64| format!("{field}:{number}\r\n");
    resp.send(b"INFO\r\n");
    let mut shown = String::new();
    while !shown.contains("rejected_connections") {
        shown.push_str(&resp.line());
    }
    assert!(shown.contains(&info("connected_clients", 4)), "{shown}");
    assert!(shown.contains(&info("rejected_connections", 4)), "{shown}");

    encrypted.ask("CONFIG SET maxclients 5", "+OK\r\n");
    let mut fifth = http();
    assert_eq!(fifth.http("GET /healthz", "").0, 200);
    assert_eq!(node.plain().rest(), "-ERR max number of clients reached\r\n");
    drop((first, fifth));
    node.until("two are gone", |shared| shared.connection_count() == 3);
    node.encrypted().ask("PING", "+PONG\r\n");
}

#[test]
fn one_password_is_for_all_doors() {
    let password = Some("opensesame".to_owned());
    let node = Node::open(DoorSettings { password, ..DoorSettings::default() });
    let mut client = node.encrypted();
    client.ask("GET k", "-NOAUTH Authentication required.\r\n");
    client.ask("NOSUCH", "-NOAUTH Authentication required.\r\n");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    client.ask("AUTH wrong", wrong);
    client.ask("AUTH somebody opensesame", wrong);
    client.ask("SET k v", "-NOAUTH Authentication required.\r\n");
    client.ask("AUTH default opensesame", "+OK\r\n");
    client.ask("SET k v", "+OK\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.ask("GET k", "-NOAUTH Authentication required.\r\n");
    client.ask("AUTH opensesame", "+OK\r\n");
    client.ask("GET k", "$1\r\nv\r\n");

    let mut http = Client::new(socket(node.http.address()));
    assert_eq!(http.http("GET /data/k", "").0, 401);
    assert_eq!(http.http("GET /data/k", "authorization: Bearer wrong\r\n").0, 401);
    let (status, body) = http.http("GET /data/k", "authorization: Bearer opensesame\r\n");
    assert!(status == 200 && body.contains("\"data\":\"v\""), "{body}");
    assert_eq!(http.http("GET /healthz", "").0, 200, "open to all");
}
