//! Connections of doors on tokio.

use crate::certificates::{Certificate, Files, VERSIONS};
use rustls::{ClientConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thalweg_listen::{AtOnce, Protocol, Stream, Tls, TlsSession};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both ends of a TCP connection: the client's, the server's.
async fn sockets() -> (TcpStream, TcpStream) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any).await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("connect"), accepted.expect("accept").0)
}

fn encrypted(tls: &Tls, socket: TcpStream, handshake_max: Duration) -> Stream {
    Stream::tls(socket, tls.config(Protocol::Http), handshake_max)
}

/// A client, for a thread of its own.
fn speak(
    socket: TcpStream,
    trusted: &Certificate,
    protocol: &[u8],
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let socket = socket.into_std().expect("a socket");
    socket.set_nonblocking(false).expect("blocking");
    StreamOwned::new(trusted.client(VERSIONS, &[protocol]), socket)
}

#[tokio::test]
async fn bytes_come_through_with_tls_and_without() {
    let certificate = Certificate::new();
    let tls = Files::with(&certificate).open();
    let (mut client, server) = sockets().await;
    let mut stream = Stream::plain(server);
    client.write_all(b"plain").await.expect("send");
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.expect("read");
    assert_eq!(&bytes, b"plain");
    assert!(stream.into_parts().is_some_and(|(_, tls)| tls.is_none()));

    let (client, server) = sockets().await;
    let speaking = tokio::task::spawn_blocking(move || {
        let mut client = speak(client, &certificate, b"http/1.1");
        client.write_all(b"hello").expect("send");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("a clean end");
        (answer, client.conn.alpn_protocol().map(<[u8]>::to_vec))
    });
    let mut stream = encrypted(&tls, server, PATIENCE);
    assert!(stream.protocol().is_none(), "not yet");
    stream.read_exact(&mut bytes).await.expect("read");
    assert_eq!(&bytes, b"hello");
    assert_eq!(stream.protocol(), Some(&b"http/1.1"[..]));
    let answer = vec![b'x'; 1 << 20];
    stream.write_all(&answer).await.expect("send");
    stream.shutdown().await.expect("an end");
    let (arrived, protocol) = speaking.await.expect("no panic");
    assert!(arrived == answer);
    assert_eq!(protocol.as_deref(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_handshake_has_a_limit_and_fails_for_good() {
    let tls: Arc<Tls> = Files::with(&Certificate::new()).open();
    let (_silent, server) = sockets().await;
    let mut stream = encrypted(&tls, server, Duration::from_millis(10));
    let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("the limit");
    assert_eq!(read.expect_err("too long").kind(), ErrorKind::TimedOut);
    assert_eq!(stream.write_u8(0).await.expect_err("broken").kind(), ErrorKind::NotConnected);
    stream.shutdown().await.expect("nothing is left to be said");
    assert!(stream.into_parts().is_none());

    let (mut client, server) = sockets().await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("send");
    let mut stream = encrypted(&tls, server, PATIENCE);
    assert_eq!(stream.handshake().await.expect_err("no TLS").kind(), ErrorKind::InvalidData);
    drop(stream);
    let mut alert = Vec::new();
    // The rest of what it sent was not read, so that the system may say so, too.
    let _end = client.read_to_end(&mut alert).await;
    assert_eq!(alert.first(), Some(&21), "an alert");
}

#[tokio::test]
async fn a_client_that_speaks_another_protocol_is_refused() {
    let certificate = Certificate::new();
    let tls = Files::with(&certificate).open();
    let (client, server) = sockets().await;
    let speaking = tokio::task::spawn_blocking(move || {
        speak(client, &certificate, b"h2").read(&mut [0]).expect_err("refused")
    });
    let mut stream = encrypted(&tls, server, PATIENCE);
    assert!(stream.handshake().await.is_err());
    drop(stream);
    let error = speaking.await.expect("no panic");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

/// What was opened before it is taken apart is not lost, and the end neither.
#[tokio::test]
async fn a_connection_goes_on_after_it_was_taken_apart() {
    let certificate = Certificate::new();
    let tls = Files::with(&certificate).open();
    let (client, server) = sockets().await;
    let sent: Vec<u8> = (0..10_000u32).flat_map(u32::to_be_bytes).collect();
    let speaking = tokio::task::spawn_blocking({
        let sent = sent.clone();
        move || {
            let mut client = speak(client, &certificate, b"http/1.1");
            client.write_all(&sent).expect("send");
            client.conn.send_close_notify();
            client.flush().expect("send");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).expect("a clean end");
            answer
        }
    });
    let mut stream = encrypted(&tls, server, PATIENCE);
    let mut got = vec![stream.read_u8().await.expect("a byte")];
    let (socket, session) = stream.into_parts().expect("after the handshake");
    let mut session = session.expect("TLS");
    let mut sealed = vec![0; 1_000];
    loop {
        let take = |piece: &[u8]| got.extend_from_slice(piece);
        match session.read(&mut AtOnce(&socket), &mut sealed, take) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let readable = tokio::time::timeout(PATIENCE, socket.readable()).await;
                readable.expect("something comes").expect("a socket");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(got == sent && session.has_ended());
    assert_eq!(session.write(&mut AtOnce(&socket), b"answer").expect("taken"), 6);
    session.finish();
    session.flush(&mut AtOnce(&socket)).expect("sent");
    assert_eq!(speaking.await.expect("no panic"), b"answer");
}

/// The same where all that the client has to say was opened before: nothing more comes.
#[tokio::test]
async fn what_was_opened_is_there_after_a_connection_was_taken_apart() {
    let certificate = Certificate::new();
    let tls = Files::with(&certificate).open();
    let (client, server) = sockets().await;
    let speaking = tokio::task::spawn_blocking(move || {
        let mut client = speak(client, &certificate, b"http/1.1");
        client.conn.complete_io(&mut client.sock).expect("a handshake");
        client.conn.writer().write_all(b"ab").expect("taken");
        client.conn.send_close_notify();
        client.flush().expect("send");
        client.read_to_end(&mut Vec::new()).expect("a clean end");
    });
    let mut stream = encrypted(&tls, server, PATIENCE);
    assert_eq!(stream.read_u8().await.expect("a byte"), b'a');
    let (socket, session) = stream.into_parts().expect("after the handshake");
    let mut session = session.expect("TLS");
    let (mut got, mut sealed) = (Vec::new(), [0; 1_000]);
    for count in [1, 0] {
        let take = |piece: &[u8]| got.extend_from_slice(piece);
        let read = session.read(&mut AtOnce(&socket), &mut sealed, take);
        assert_eq!(read.expect("opened before"), count);
    }
    assert_eq!(got, b"b");
    session.finish();
    session.flush(&mut AtOnce(&socket)).expect("sent");
    speaking.await.expect("no panic");
}

/// As libraries of protocols want it.
#[test]
fn a_connection_may_be_used_by_any_thread() {
    fn is_free<T: Send + Sync + Unpin>() {}
    is_free::<Stream>();
    is_free::<TlsSession>();
}
