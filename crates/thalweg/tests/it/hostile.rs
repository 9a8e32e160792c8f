//! Clients that attack or are broken. Each gets a clear error or loses its connection, memory stays
//! within its limits, and other clients do not notice.

use crate::server::{Connection, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is left of a connection: everything the node says until it closes.
fn say(server: &Server, bytes: &[u8]) -> String {
    let mut connection = server.connect();
    // The node may close in the middle.
    let _cut = connection.send(bytes);
    let mut text = Vec::new();
    connection.stream.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    let _cut = connection.stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn hostile_frames_get_an_error_and_are_cut() {
    let server = Server::in_memory();
    let mut healthy = server.connect();
    let before = server.resident_bytes();
    for bytes in [
        "*2147483648\r\n",
        "*9223372036854775808\r\n",
        "*-5\r\n",
        "*1\r\n$2147483648\r\n",
        "*1\r\n$9223372036854775807\r\n",
        "*1\r\n$-7\r\n",
        "*1\r\n*1\r\n*1\r\n$4\r\nPING\r\n",
        "*1000001000\r\n$1\r\na\r\n",
        "$5\r\nhello\r\n*x\r\n",
    ] {
        let answer = say(&server, bytes.as_bytes());
        assert!(answer.contains("-ERR"), "{bytes:?}: {answer:?}");
        assert_eq!(healthy.call("PING").expect("others go on"), "PONG");
    }
    let deep = "*1\r\n".repeat(100_000);
    assert!(say(&server, deep.as_bytes()).contains("Protocol error"));
    let endless_line = vec![b'x'; 1 << 20];
    assert!(say(&server, &endless_line).contains("too big inline request"));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[test]
fn a_million_arguments_are_taken_and_more_are_refused() {
    let server = Server::in_memory();
    let mut connection = server.connect();
    let count = 1_000_000;
    let mut frame = format!("*{count}\r\n$3\r\nDEL\r\n").into_bytes();
    for _ in 1..count {
        frame.extend_from_slice(b"$1\r\nk\r\n");
    }
    connection.send(&frame).expect("send");
    assert_eq!(connection.reply().expect("an answer"), "0");
    assert!(say(&server, b"*1048577\r\n").contains("invalid multibulk length"));
}

#[test]
fn a_client_that_does_not_read_is_cut_and_memory_stays_bounded() {
    let server = Server::start(std::path::Path::new("memory"), &["--output-max", "4MiB"]);
    let mut healthy = server.connect();
    let value = "v".repeat(1 << 20);
    healthy.call(&format!("SET large {}", &value[..60_000])).expect("set");
    healthy
        .send(
            format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n{value}\r\n", value.len()).as_bytes(),
        )
        .expect("send");
    assert_eq!(healthy.reply().expect("an answer"), "OK");
    let before = server.resident_bytes();
    let mut deaf = TcpStream::connect(server.resp).expect("connect");
    deaf.set_nonblocking(true).expect("nonblocking");
    let asking = b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n".repeat(100);
    for _ in 0..100 {
        // Full buffers and a cut connection are what this is about.
        let _full_or_cut = deaf.write(&asking);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(healthy.call("PING").expect("others go on"), "PONG");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more for a client that does not read");
}

#[test]
fn ten_thousand_connections_and_no_more() {
    let limit: usize = std::fs::read_to_string("/proc/self/limits")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("Max open files"))?;
            line.split_whitespace().nth(3)?.parse().ok()
        })
        .unwrap_or(1_024);
    // Each connection is a file on this side, too.
    let count = 10_000.min(limit.saturating_sub(200));
    if count < 10_000 {
        eprintln!("the limit of open files allows {count} connections instead of 10,000");
    }
    let max = count.to_string();
    let server = Server::start(std::path::Path::new("memory"), &["--connections-max", &max]);
    let mut first = server.connect();
    assert_eq!(first.call("SET a 1").expect("set"), "OK");
    let before = server.resident_bytes();
    let started = Instant::now();
    let mut all = Vec::new();
    while all.len() < count - 1 {
        match TcpStream::connect(server.resp) {
            Ok(stream) => all.push(stream),
            Err(error) => panic!("after {} connections: {error}", all.len()),
        }
    }
    for stream in all.iter_mut().step_by(97) {
        stream.write_all(b"PING\r\n").expect("send");
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"+PONG\r\n");
    }
    assert_eq!(first.call("GET a").expect("get"), "1");
    let each = server.resident_bytes().saturating_sub(before) / count as u64;
    assert!(each < 8 << 10, "{each} bytes a connection");
    assert!(say(&server, b"").contains("max number of clients reached"));
    drop(all);
    let room = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let mut again = Connection::open(server.resp);
        again.call("PING").is_ok_and(|answer| answer == "PONG")
    });
    assert!(room, "closed connections make room, after {:?}", started.elapsed());
}

#[test]
fn slow_and_half_open_clients_disturb_nobody() {
    let server = Server::start(std::path::Path::new("memory"), &["--idle-timeout", "1s"]);
    let mut slow: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    for connection in &mut slow {
        connection.send(b"*3\r\n$3\r\nSET\r\n$1").expect("send");
    }
    let mut healthy = server.connect();
    for number in 0..1_000 {
        assert_eq!(healthy.call(&format!("SET k{number} v")).expect("set"), "OK");
    }
    // A byte at a time still makes a command.
    let mut patient = server.connect();
    for byte in b"*1\r\n$4\r\nPING\r\n" {
        patient.send(&[*byte]).expect("send");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(patient.reply().expect("an answer"), "PONG");
    // Those that said no more are closed.
    let closed = slow.iter_mut().all(|connection| connection.reply().is_err());
    assert!(closed);
    // Closing one side after a pipeline still gets its answers.
    let mut half = server.connect();
    half.send(b"SET half 1\r\nGET half\r\n").expect("send");
    half.stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
    assert_eq!(half.reply().expect("an answer"), "OK");
    assert_eq!(half.reply().expect("an answer"), "1");
    assert!(half.reply().is_err());
}

#[test]
fn http_connections_that_make_no_request_are_closed() {
    let server = Server::start(std::path::Path::new("memory"), &["--idle-timeout", "1s"]);
    server.connect().call("XADD s * f v").expect("a record");
    let address = server.http.trim_start_matches("http://").to_owned();
    let connect = |begin: &[u8]| {
        let mut stream = std::net::TcpStream::connect(&address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(begin).expect("send");
        stream
    };
    let request: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let long: &[u8] =
        b"GET /streams/s?after=$&wait=2500ms HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    // Nothing, half a head, one request and no more, one and half of the next.
    let idle =
        [&b""[..], &request[..20], request, &[request, &request[..20]].concat()].map(connect);
    let mut waits = connect(long);
    for mut stream in idle {
        let mut told = Vec::new();
        let end = stream.read_to_end(&mut told);
        let told = String::from_utf8_lossy(&told);
        assert!(end.is_ok() && !told.contains(" 4"), "{end:?} {told}");
    }
    // A request that takes longer than that is answered.
    let mut told = String::new();
    waits.read_to_string(&mut told).expect("an answer");
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
}

#[test]
fn without_the_password_nothing_is_said() {
    let server = Server::start(std::path::Path::new("memory"), &["--password", "open sesame"]);
    let mut stranger = server.connect();
    for command in ["GET a", "INFO", "CONFIG GET requirepass", "CLIENT LIST", "MULTI", "FLUSHALL"] {
        let answer = stranger.call(command).expect("an answer");
        assert!(answer.starts_with("-NOAUTH"), "{command}: {answer}");
    }
    assert!(stranger.call("AUTH wrong").expect("an answer").starts_with("-WRONGPASS"));
    assert!(
        say(&server, b"*1\r\n$100000\r\n").contains("invalid bulk length"),
        "tight limits before AUTH"
    );
    assert_eq!(stranger.call("AUTH \"open sesame\"").expect("an answer"), "OK");
    assert_eq!(stranger.call("GET a").expect("an answer"), "nil");
    assert_eq!(stranger.call("CONFIG GET requirepass").expect("an answer"), "[requirepass (set)]");
}

#[test]
fn a_pipeline_with_more_replies_than_the_buffer_holds_is_answered_whole() {
    let server = Server::start(std::path::Path::new("memory"), &["--output-max", "1MiB"]);
    let mut connection = server.connect();
    let value = "v".repeat(3 << 20);
    let set = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n{value}\r\n", value.len());
    connection.send(set.as_bytes()).expect("send");
    assert_eq!(connection.reply().expect("an answer"), "OK");
    connection.send(&b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n".repeat(40)).expect("send");
    for _ in 0..40 {
        assert_eq!(connection.reply().expect("an answer").len(), value.len());
    }
}

/// A node whose keys are all on disk only: `cold` is 41, and `stream` has a record.
fn with_cold_keys(folder: &Path) -> Server {
    let mut server = Server::start(folder, &["--checkpoint-log", "1MiB"]);
    let mut connection = server.connect();
    assert_eq!(connection.call("SET cold 41").expect("set"), "OK");
    assert_eq!(connection.call("XADD stream 1-1 n 1").expect("xadd"), "1-1");
    // Enough for a checkpoint; after the restart all keys are cold.
    let mixed = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (number << 31);
    let value: String = (0..3_000).map(|number| format!("{:016x}", mixed(number))).collect();
    for number in 0..60 {
        assert_eq!(connection.call(&format!("SET large{number} {value}")).expect("set"), "OK");
    }
    std::thread::sleep(Duration::from_millis(500));
    drop(connection);
    assert_eq!(server.terminate(), Some(0));
    Server::start(folder, &[])
}

/// Its command waited for a key first, and then for a record: the connection must not stay for
/// ever.
#[test]
fn a_client_that_leaves_while_its_command_waits_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_cold_keys(folder.path());
    let mut leaving = server.connect();
    leaving.send(b"XREAD BLOCK 0 STREAMS stream $\r\n").expect("send");
    let mut connection = server.connect();
    let mut wait_for = |line: &str| {
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            let info = connection.call("INFO clients").expect("info");
            if info.contains(line) {
                return;
            }
            assert!(Instant::now() < patience, "no {line} in {info}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_for("blocked_clients:1");
    drop(leaving);
    wait_for("connected_clients:1\r\n");
}

/// Replies that are not wanted stay away also where the command had to wait, and the next ones are
/// in step.
#[test]
fn unwanted_replies_of_waiting_commands_stay_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_cold_keys(folder.path());
    let mut connection = server.connect();
    connection
        .send(b"CLIENT REPLY SKIP\r\nINCR cold\r\nGET cold\r\nCLIENT REPLY SKIP\r\n")
        .expect("send");
    connection.send(b"XREAD BLOCK 50 STREAMS nothing $\r\nECHO next\r\n").expect("send");
    assert_eq!(connection.reply().expect("a reply"), "42");
    assert_eq!(connection.reply().expect("a reply"), "next");
}

/// A client that has closed its side after sending still gets every reply, however slowly it reads.
#[test]
fn a_client_that_has_closed_its_side_is_answered_whole() {
    let server = Server::start(Path::new("memory"), &["--output-max", "1MiB"]);
    let mut connection = server.connect();
    let value = "v".repeat(10_000);
    assert_eq!(connection.call(&format!("SET large {value}")).expect("set"), "OK");
    let commands = "GET large\r\n".repeat(20_000);
    connection.send(commands.as_bytes()).expect("send");
    connection.stream.shutdown(std::net::Shutdown::Write).expect("close our side");
    for number in 0..20_000 {
        assert_eq!(connection.reply().expect("a reply").len(), 10_000, "reply {number}");
    }
}

/// Statements that nobody would think of: most are nonsense, many ask for too much. The same seed
/// gives the same ones.
#[test]
fn statements_by_chance_end_and_the_node_lives() {
    let Ok(python) = std::env::var("THALWEG_TEST_PYTHON") else {
        eprintln!("skipped: run scripts/test, which installs psycopg");
        return;
    };
    let count = std::env::var("THALWEG_TEST_STATEMENTS").unwrap_or_else(|_| "300".to_owned());
    let server = Server::start(Path::new("memory"), &["--memory-max", "2GiB"]);
    let output = std::process::Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile_sql.py"))
        .args([server.resp, server.postgres.expect("a door")].map(|door| door.port().to_string()))
        .args(["7", &count])
        // Other tests run beside this one: how long things take is measured elsewhere.
        .env("THALWEG_TEST_SLOW", "1")
        .output()
        .expect("python");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// CONFIG SET reaches all doors: one limit of connections, one password.
#[test]
fn limits_and_passwords_hold_at_every_door() {
    let server = Server::in_memory();
    let mut control = server.connect();
    let http = |path: &str| {
        let mut stream =
            TcpStream::connect(server.http.trim_start_matches("http://")).expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        let _cut = stream.read_to_string(&mut answer);
        answer
    };
    let postgres = |password: &str| server.psql(password, "SELECT 1");
    assert!(http("/data/nothing").starts_with("HTTP/1.1 404"));
    assert_eq!(control.call("CONFIG SET maxclients 1").expect("a reply"), "OK");
    assert!(
        http("/data/nothing").starts_with("HTTP/1.1 503"),
        "the only connection is the one that asks"
    );
    if let Some(text) = postgres("") {
        assert!(text.contains("too many clients"), "{text}");
    }
    assert_eq!(control.call("CONFIG SET maxclients 100").expect("a reply"), "OK");
    assert_eq!(control.call("CONFIG SET requirepass secret").expect("a reply"), "OK");
    assert!(http("/data/nothing").starts_with("HTTP/1.1 401"));
    if let Some(text) = postgres("wrong") {
        assert!(text.to_lowercase().contains("password authentication failed"), "{text}");
        assert_eq!(postgres("secret").expect("psql").trim(), "1");
    }
}
