//! TLS on sockets that never wait, and that take and give as little as they like.

use crate::certificates::{Certificate, Files, VERSIONS};
use rustls::ClientConnection;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use thalweg_listen::{Protocol, TlsSession};

/// A socket as the server has it: what the client sent and what it will get, and how many bytes go
/// at once.
struct Socket {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    read_max: usize,
    write_max: usize,
    /// How much it still takes.
    room: usize,
    closed: bool,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return if self.closed { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = buffer.len().min(self.read_max);
        self.incoming.read(&mut buffer[..count])
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.write_max).min(self.room);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.outgoing.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both ends of a connection.
struct Pair {
    session: TlsSession,
    socket: Socket,
    client: ClientConnection,
    sealed: Vec<u8>,
    /// What the server has got.
    got: Vec<u8>,
}

impl Pair {
    fn new(version: usize) -> Self {
        let certificate = Certificate::new();
        let tls = Files::with(&certificate).open();
        Self {
            session: TlsSession::new(tls.config(Protocol::Resp)).expect("a session"),
            socket: Socket {
                incoming: VecDeque::new(),
                outgoing: Vec::new(),
                read_max: usize::MAX,
                write_max: usize::MAX,
                room: usize::MAX,
                closed: false,
            },
            client: certificate.client(&VERSIONS[version..=version], &[]),
            sealed: vec![0; 64 << 10],
            got: Vec::new(),
        }
    }

    fn shaken(version: usize) -> Self {
        let mut pair = Self::new(version);
        while pair.client.is_handshaking() || pair.session.is_handshaking() {
            pair.turn();
        }
        // Tickets for sessions to come.
        pair.turn();
        pair
    }

    /// Reads once as an event loop does: as long as there is something.
    fn read(&mut self) -> io::Result<usize> {
        let got = &mut self.got;
        self.session.read(&mut self.socket, &mut self.sealed, |piece| got.extend_from_slice(piece))
    }

    /// What the client has to say goes to the server, and the other way round.
    fn turn(&mut self) {
        self.client_sends();
        while !self.socket.incoming.is_empty() {
            match self.read() {
                Ok(0) => break,
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                _ => {}
            }
        }
        match self.session.flush(&mut self.socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
            _ => self.client_gets(),
        };
    }

    fn client_sends(&mut self) {
        while self.client.wants_write() {
            let mut wire = Vec::new();
            self.client.write_tls(&mut wire).expect("a vector takes all");
            self.socket.incoming.extend(wire);
        }
    }

    /// Gives the client what the server has sent; its plaintext.
    fn client_gets(&mut self) -> Vec<u8> {
        let wire = std::mem::take(&mut self.socket.outgoing);
        let (mut rest, mut plain) = (wire.as_slice(), Vec::new());
        while !rest.is_empty() && self.client.read_tls(&mut rest).expect("room") > 0 {
            self.client.process_new_packets().expect("TLS");
            match self.client.reader().read_to_end(&mut plain) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                _ => {}
            }
        }
        plain
    }
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|index| ((index * 31) >> 3) as u8).collect()
}

#[test]
fn bytes_come_through_whatever_the_socket_gives_at_once() {
    for version in 0..VERSIONS.len() {
        for (read_max, write_max) in [(1, 1), (5, 3), (1_000, 100_000), (usize::MAX, 16_384)] {
            let mut pair = Pair::new(version);
            (pair.socket.read_max, pair.socket.write_max) = (read_max, write_max);
            while pair.client.is_handshaking() || pair.session.is_handshaking() {
                assert!(pair.got.is_empty(), "nothing is said in a handshake");
                pair.turn();
            }
            pair.turn();
            let sent = numbers(100_000);
            let mut rest = sent.as_slice();
            while !rest.is_empty() {
                let taken = pair.client.writer().write(rest).expect("taken");
                rest = &rest[taken..];
                pair.turn();
            }
            assert!(pair.got == sent, "{read_max} at once");
            let (mut rest, mut arrived) = (sent.as_slice(), Vec::new());
            while !rest.is_empty() {
                let taken = pair.session.write(&mut pair.socket, rest).expect("taken");
                rest = &rest[taken..];
                arrived.extend(pair.client_gets());
            }
            assert!(arrived == sent, "{write_max} at once");
        }
    }
}

#[test]
fn what_a_client_does_not_take_is_not_taken_from_us() {
    let mut pair = Pair::shaken(1);
    pair.socket.room = 0;
    let reply = numbers(50 << 20);
    let taken = pair.session.write(&mut pair.socket, &reply).expect("what the buffer holds");
    assert!((1..=64 << 10).contains(&taken), "{taken}");
    assert!(pair.session.has_pending());
    for _ in 0..3 {
        let again = pair.session.write(&mut pair.socket, &reply[taken..]);
        assert_eq!(again.expect_err("full").kind(), ErrorKind::WouldBlock);
    }
    let (mut at, mut arrived) = (taken, Vec::new());
    while at < reply.len() || pair.session.has_pending() {
        pair.socket.room = 100_000;
        match pair.session.write(&mut pair.socket, &reply[at..]) {
            Ok(taken) => {
                assert!(taken <= 64 << 10);
                at += taken;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        arrived.extend(pair.client_gets());
    }
    assert!(arrived == reply);
}

#[test]
fn an_end_comes_after_what_was_said() {
    let mut pair = Pair::shaken(1);
    pair.client.writer().write_all(b"the last word").expect("taken");
    pair.client.send_close_notify();
    pair.client_sends();
    assert!(!pair.session.has_ended());
    assert_eq!(pair.read().expect("both at once"), 13);
    assert!(pair.session.has_ended());
    assert_eq!(pair.got, b"the last word");
    assert_eq!(pair.read().expect("the end"), 0);
    // It is still answered, and told the end.
    pair.session.write(&mut pair.socket, b"an answer").expect("taken");
    pair.session.finish();
    pair.session.finish();
    assert!(pair.session.has_pending());
    pair.session.flush(&mut pair.socket).expect("sent");
    let wire = std::mem::take(&mut pair.socket.outgoing);
    let mut rest = wire.as_slice();
    let mut ends = 0;
    while !rest.is_empty() && pair.client.read_tls(&mut rest).expect("room") > 0 {
        ends += usize::from(pair.client.process_new_packets().expect("TLS").peer_has_closed());
    }
    assert_eq!((ends, rest.len()), (1, 0), "once");
    let mut answer = Vec::new();
    pair.client.reader().read_to_end(&mut answer).expect("a clean end");
    assert_eq!(answer, b"an answer");
}

#[test]
fn a_socket_that_closes_is_an_end() {
    let mut pair = Pair::shaken(0);
    pair.socket.closed = true;
    assert_eq!(pair.read().expect("the end"), 0);
    assert!(pair.session.has_ended());
}

#[test]
fn what_is_no_tls_is_refused_with_an_alert() {
    let mut pair = Pair::new(1);
    pair.socket.incoming.extend(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(pair.read().expect_err("no TLS").kind(), ErrorKind::InvalidData);
    // It is told, and nothing more.
    pair.session.finish();
    pair.session.flush(&mut pair.socket).expect("sent");
    let alert: [u8; 7] = pair.socket.outgoing.as_slice().try_into().expect("one alert");
    assert_eq!((alert[0], alert[5]), (21, 2), "an alert, and a fatal one");
}

#[test]
fn a_record_that_was_changed_on_its_way_is_refused() {
    let mut pair = Pair::shaken(1);
    pair.client.writer().write_all(b"FLUSHALL\r\n").expect("taken");
    pair.client_sends();
    *pair.socket.incoming.back_mut().expect("bytes") ^= 1;
    assert_eq!(pair.read().expect_err("changed").kind(), ErrorKind::InvalidData);
    assert!(pair.got.is_empty());
}
