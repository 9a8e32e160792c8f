//! The RESP door with TLS.

use crate::certificates::{Certificate, VERSIONS};
use crate::node::{Client, Encrypted, Node, socket, until_closed};
use rustls::StreamOwned;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;
use thalweg_doors::DoorSettings;

#[test]
fn commands_are_answered_in_both_versions_of_tls() {
    let node = Node::open(DoorSettings::default());
    for (number, version) in VERSIONS.iter().enumerate() {
        let mut client = node.encrypted_with(&node.certificate, &[version]);
        client.ask("PING", "+PONG\r\n");
        client.ask(&format!("SET k{number} v"), "+OK\r\n");
        client.ask(&format!("GET k{number}"), "$1\r\nv\r\n");
        assert_eq!(client.stream().conn.protocol_version(), Some(version.version));
    }
    node.plain().ask("GET k1", "$1\r\nv\r\n");
}

/// Commands and the bytes that they are answered with.
fn pipeline(bytes: usize) -> (Vec<u8>, String) {
    let (mut commands, mut replies) = (Vec::new(), String::new());
    let mut number = 0;
    while commands.len() < bytes {
        let value = "x".repeat(number % 300);
        commands.extend_from_slice(format!("*2\r\n$4\r\nECHO\r\n${}\r\n", value.len()).as_bytes());
        commands.extend_from_slice(format!("{value}\r\n").as_bytes());
        replies.push_str(&format!("${}\r\n{value}\r\n", value.len()));
        number += 1;
    }
    (commands, replies)
}

#[test]
fn a_pipeline_of_a_megabyte_is_answered_in_its_order() {
    let node = Node::open(DoorSettings::default());
    for version in VERSIONS {
        let mut client = node.encrypted_with(&node.certificate, &[version]);
        let (commands, replies) = pipeline(1 << 20);
        client.send(&commands);
        client.expect(&replies);
        client.ask("PING", "+PONG\r\n");
    }
}

const LARGE: usize = 50 << 20;

/// A client that has asked for a value and reads nothing, after the door has done what it could.
fn slow_reader(node: &Node, length: usize) -> Encrypted {
    let mut other = node.plain();
    let (key, value) = (length.to_string(), vec![b'x'; length]);
    let digits = key.len();
    let set = format!("*3\r\n$3\r\nSET\r\n${digits}\r\n{key}\r\n${length}\r\n");
    other.send(set.as_bytes());
    other.send(&value);
    other.send(b"\r\n");
    other.expect("+OK\r\n");
    let mut slow = node.encrypted();
    slow.ask("PING", "+PONG\r\n");
    let commands = node.shared.stats.snapshot().commands;
    slow.send(format!("GET {key}\r\n").as_bytes());
    node.until("it was asked for", |shared| shared.stats.snapshot().commands > commands);
    // One event loop: it has been sent as far as it goes when somebody else is answered.
    other.ask("PING", "+PONG\r\n");
    slow
}

/// The bytes of the reply that a slow reader gets.
fn reply_length(length: usize) -> usize {
    format!("${length}\r\n\r\n").len() + length
}

#[test]
fn a_slow_reader_gets_fifty_megabytes_and_holds_up_nobody() {
    let node = Node::open(DoorSettings::default());
    let mut slow = slow_reader(&node, LARGE);
    // Beyond what the system's buffers hold nothing is encrypted in advance.
    let sent = node.shared.stats.snapshot().sent_bytes as usize;
    assert!(sent < 16 << 20, "{sent} bytes for a client that reads nothing");
    let mut other = node.encrypted();
    let mut left = LARGE;
    slow.expect(&format!("${LARGE}\r\n"));
    while left > 0 {
        let mut piece = vec![0; left.min(1 << 20)];
        slow.read_exact(&mut piece);
        assert!(piece.iter().all(|&byte| byte == b'x'));
        left -= piece.len();
        other.ask("PING", "+PONG\r\n");
    }
    slow.expect("\r\n");
    slow.ask("PING", "+PONG\r\n");
}

#[test]
fn a_drain_lets_a_slow_reader_have_its_reply() {
    let node = Node::open(DoorSettings::default());
    let mut slow = slow_reader(&node, LARGE);
    let mut idle = node.encrypted();
    idle.ask("PING", "+PONG\r\n");
    node.shared.drain();
    assert_eq!(idle.rest(), "", "who waits for nothing is told the end");
    let reply = slow.rest();
    assert_eq!(reply.len(), reply_length(LARGE));
    node.until("all are gone", |shared| shared.connection_count() == 0);
}

#[test]
fn a_slow_reader_that_has_closed_its_side_gets_its_reply() {
    let node = Node::open(DoorSettings::default());
    let mut slow = slow_reader(&node, LARGE);
    slow.stream().conn.send_close_notify();
    slow.stream().flush().expect("send");
    node.plain().ask("PING", "+PONG\r\n");
    assert_eq!(slow.rest().len(), reply_length(LARGE));
}

/// Replies that were taken whole, but whose last sealed bytes the system does not take yet.
#[test]
fn the_last_sealed_bytes_of_a_reply_are_sent() {
    for drains in [false, true] {
        let node = Node::open(DoorSettings::default());
        let sent = || node.shared.stats.snapshot().sent_bytes as usize;
        let before = sent();
        let _stuck = slow_reader(&node, LARGE);
        // The system moves bytes on for a moment after they were sent.
        let (mut most, mut other) = (0, node.plain());
        while sent() > most + 10_000 {
            most = sent();
            (0..1_000).for_each(|_| other.ask("PING", "+PONG\r\n"));
        }
        // Just below what was taken for a client that reads nothing: some end within what the
        // system has not taken. They are read last, long after the door has drained.
        let lengths = (0..16).rev().map(|step| most - before - 100 - step * (1 << 10));
        let lengths: Vec<usize> = lengths.collect();
        let mut clients: Vec<_> =
            lengths.iter().map(|&length| slow_reader(&node, length)).collect();
        (0..1_000).for_each(|_| other.ask("PING", "+PONG\r\n"));
        if drains {
            node.shared.drain();
        }
        for (client, length) in clients.iter_mut().zip(lengths) {
            let mut reply = vec![0; reply_length(length)];
            client.read_exact(&mut reply);
            assert!(reply.ends_with(b"x\r\n"));
            if drains {
                assert_eq!(client.rest(), "", "a clean end");
            }
        }
    }
}

#[test]
fn a_client_that_has_closed_its_side_is_still_answered() {
    let node = Node::open(DoorSettings::default());
    for close_socket in [false, true] {
        for say_so in [true, false] {
            if !close_socket && !say_so {
                continue;
            }
            let mut client = node.encrypted();
            client.ask("PING", "+PONG\r\n");
            let (commands, replies) = pipeline(300_000);
            let stream = client.stream();
            stream.write_all(&commands).expect("send");
            stream.flush().expect("send");
            if say_so {
                stream.conn.send_close_notify();
                stream.flush().expect("send");
            }
            if close_socket {
                stream.sock.shutdown(Shutdown::Write).expect("shut down");
            }
            assert!(client.rest() == replies, "all of it, and a clean end");
        }
    }
    node.until("all are gone", |shared| shared.connection_count() == 0);
}

#[test]
fn a_closed_door_listens_no_more() {
    let node = Node::open(DoorSettings::default());
    let addresses = [node.resp.address(), node.tls_address()];
    node.resp.close(Duration::from_secs(5));
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
}

#[test]
fn quit_ends_the_connection_cleanly() {
    let node = Node::open(DoorSettings::default());
    let mut client = node.encrypted();
    client.send(b"QUIT\r\nPING\r\n");
    assert_eq!(client.rest(), "+OK\r\n");
}

#[test]
fn what_is_no_tls_is_refused_with_an_alert() {
    let node = Node::open(DoorSettings::default());
    for garbage in [&b"PING\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 100], &[0xff; 100_000]] {
        let mut client = socket(node.tls_address());
        // It may be closed before it has sent everything.
        let _as_far_as_it_goes = client.write_all(garbage);
        let answer = until_closed(&mut client);
        if garbage.len() < 1_000 {
            assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
        }
    }
    node.until("all are gone", |shared| shared.connection_count() == 0);
    assert_eq!(node.shared.stats.protocol_errors.load(Ordering::Relaxed), 4);
    node.encrypted().ask("PING", "+PONG\r\n");
}

#[test]
fn a_handshake_that_stalls_is_ended_and_a_connection_that_idles_is_not() {
    let node = Node::open(DoorSettings { handshake_timeout_ms: 100, ..DoorSettings::default() });
    let mut idle = node.encrypted();
    idle.ask("PING", "+PONG\r\n");
    let mut hello = Vec::new();
    let mut half = node.certificate.client(VERSIONS, &[]);
    half.write_tls(&mut hello).expect("a hello");
    for said in [&hello[..0], &hello[..1], &hello[..hello.len() - 1], &hello[..]] {
        let mut client = socket(node.tls_address());
        client.write_all(said).expect("send");
        until_closed(&mut client);
    }
    node.until("they are gone", |shared| shared.connection_count() == 1);
    idle.ask("PING", "+PONG\r\n");
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let node = Node::open(DoorSettings::default());
    let mut old = node.encrypted();
    old.ask("PING", "+PONG\r\n");
    let new = Certificate::new();
    node.files.write(&new.certificate_pem, &new.key_pem);
    assert!(node.tls.look().expect("good files"));
    let mut fresh = node.encrypted_with(&new, VERSIONS);
    fresh.ask("PING", "+PONG\r\n");
    old.ask("PING", "+PONG\r\n");
    let socket = socket(node.tls_address());
    let mut distrustful = StreamOwned::new(node.certificate.client(VERSIONS, &[]), socket);
    assert!(distrustful.read(&mut [0]).is_err(), "the old one is shown to nobody any more");
}

#[test]
fn messages_of_channels_and_kills_come_through() {
    let node = Node::open(DoorSettings::default());
    let (mut listener, mut other) = (node.encrypted(), node.encrypted());
    listener.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    other.ask("PUBLISH c hello", ":1\r\n");
    listener.expect("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n");
    other.ask("CLIENT KILL ID 1", ":1\r\n");
    assert_eq!(listener.rest(), "", "a clean end");
}

/// Blocked commands, whose connections are only watched for their end.
#[test]
fn a_blocked_command_is_answered() {
    let node = Node::open(DoorSettings::default());
    let (mut reader, mut writer) = (node.encrypted(), Client::new(socket(node.resp.address())));
    reader.ask("XREAD BLOCK 1 STREAMS s $", "*-1\r\n");
    reader.send(b"XREAD BLOCK 0 STREAMS s $\r\n");
    node.until("the reader blocks", |shared| shared.engine.waiter_count() == 1);
    writer.ask("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    let record = "*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    reader.expect(&format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{record}"));
    reader.send(b"XREAD BLOCK 0 STREAMS s $\r\n");
    node.until("the reader blocks", |shared| shared.engine.waiter_count() == 1);
    drop(reader);
    node.until("nobody blocks", |shared| shared.engine.waiter_count() == 0);
}
