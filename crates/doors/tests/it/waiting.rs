//! Commands that wait, on one event loop: the loop serves its other connections meanwhile.

use crate::held_log::{Watchdog, held_node, on_held_nodes};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use thalweg_doors::resp::{RespDoor, RespSettings};
use thalweg_doors::{DoorSettings, Shared};
use thalweg_machine::{Reply, ReplyBuilder};
use thalweg_node::{Engine, EngineSettings, Session};

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A door with one event loop.
struct Served {
    engine: Engine,
    shared: Arc<Shared>,
    door: RespDoor,
}

impl Served {
    fn new(engine: Engine) -> Self {
        let shared = Shared::new(engine.clone(), DoorSettings::default(), Vec::new());
        let address = "127.0.0.1:0".parse().expect("an address");
        let settings = RespSettings { address, tls: None, threads: 1 };
        let door = RespDoor::open(shared.clone(), settings).expect("open");
        Self { engine, shared, door }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.door.address()).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client(stream)
    }

    /// Waits until something is true of the node.
    fn until(&self, what: &str, is_true: impl Fn(&Engine) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !is_true(&self.engine) {
            assert!(std::time::Instant::now() < deadline, "never: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.door.close(PATIENCE);
        assert!(self.shared.is_draining());
    }
}

struct Client(TcpStream);

impl Client {
    fn send(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).expect("send");
    }

    /// Reads exactly these bytes.
    fn expect(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        self.0.read_exact(&mut bytes).unwrap_or_else(|error| panic!("for {expected:?}: {error}"));
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    fn ask(&mut self, line: &str, expected: &str) {
        self.send(line);
        self.expect(expected);
    }
}

/// A value's length as it is now, whether that can be told to clients or not.
fn length(engine: &Engine, key: &[u8]) -> i64 {
    let mut reply = ReplyBuilder::default();
    engine.execute(&mut Session::default(), &[b"STRLEN", key], engine.now_ms(), &mut reply);
    match reply.finish() {
        Reply::Integer(length) => length,
        other => panic!("{other:?}"),
    }
}

#[test]
fn while_the_log_is_behind_others_are_served_and_nothing_is_done_twice() {
    const PIECE: usize = 512;
    const PIECES: usize = 40;
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        let served = Served::new(engine.clone());
        let (mut writer, mut other) = (served.connect(), served.connect());
        other.ask("PING", "+PONG\r\n");
        log.hold(&engine);
        let pipeline = format!("APPEND full {}\r\n", "x".repeat(PIECE)).repeat(PIECES);
        writer.0.write_all(pipeline.as_bytes()).expect("send");
        served.until("the writer is served", |engine| length(engine, b"full") > 0);
        other.ask("PING", "+PONG\r\n");
        other.ask("GET absent", "$-1\r\n");
        let before = length(&engine, b"full");
        assert!(before < (PIECE * PIECES) as i64, "a log that takes nothing has taken everything");
        log.release();
        for count in 1..=PIECES {
            writer.expect(&format!(":{}\r\n", count * PIECE));
        }
        assert_eq!(length(&engine, b"full"), (PIECE * PIECES) as i64);
        writer.ask("PING", "+PONG\r\n");
    });
}

#[test]
fn a_log_that_fails_ends_the_connections_that_wait_for_it() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        let served = Served::new(engine.clone());
        let (mut writer, mut other) = (served.connect(), served.connect());
        log.hold(&engine);
        let pipeline = format!("APPEND full {}\r\n", "x".repeat(512)).repeat(40);
        writer.0.write_all(pipeline.as_bytes()).expect("send");
        served.until("the writer is served", |engine| length(engine, b"full") > 0);
        other.ask("PING", "+PONG\r\n");
        log.break_down();
        let mut answer = Vec::new();
        writer.0.read_to_end(&mut answer).expect("it is closed, and not forgotten");
        assert!(answer.is_empty(), "nothing was durable: {}", String::from_utf8_lossy(&answer));
    });
}

#[test]
fn a_log_that_fails_lets_those_be_served_who_use_other_lanes() {
    let (engine, log) = held_node(4);
    let _watchdog = Watchdog::on(&log);
    let served = Served::new(engine.clone());
    let (mut writer, mut other) = (served.connect(), served.connect());
    let lane = |key: &str| engine.lane_of_partition(engine.partition_of(key.as_bytes()) as u16);
    let mut names = (0..).map(|number| format!("key{number}"));
    let free = names.find(|name| lane(name) != lane("full")).expect("a key of another lane");
    log.hold(&engine);
    // One connection waits in both lanes, for the slower one. The other does not notice.
    writer.send(&format!("SET {free} 1"));
    writer.expect("+OK\r\n");
    writer.send("SET full 1");
    writer.send(&format!("SET {free} 2"));
    other.ask(&format!("SET {free} 3"), "+OK\r\n");
    served.until("it is set", |engine| length(engine, b"full") > 0);
    log.break_down();
    let mut answer = Vec::new();
    writer.0.read_to_end(&mut answer).expect("it is closed, and not forgotten");
    assert!(answer.is_empty(), "in order, or not at all: {}", String::from_utf8_lossy(&answer));
    other.ask(&format!("INCRBY {free} 0"), &format!(":{}\r\n", value(&engine, &free)));
    let refused = "-MISCONF the log's disk failed; the node has stopped taking writes. Check the \
                   disk, then restart\r\n";
    other.ask("SET full 2", refused);
}

/// A number as it is now.
fn value(engine: &Engine, key: &str) -> String {
    let reply = engine.call(&[b"GET", key.as_bytes()]).expect("the engine works");
    String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned()
}

#[test]
fn a_blocked_reader_lets_others_be_served_and_is_woken() {
    let served = Served::new(Engine::open(EngineSettings::in_memory()).expect("open"));
    let (mut reader, mut writer) = (served.connect(), served.connect());
    reader.ask("XREAD BLOCK 1 STREAMS s $", "*-1\r\n");
    reader.send("XREAD BLOCK 0 STREAMS s $");
    served.until("the reader blocks", |engine| engine.waiter_count() == 1);
    writer.ask("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    let record = "*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    reader.expect(&format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{record}"));
    served.until("nobody blocks", |engine| engine.waiter_count() == 0);
}

#[test]
fn blocked_readers_of_a_group_take_turns() {
    let served = Served::new(Engine::open(EngineSettings::in_memory()).expect("open"));
    let mut writer = served.connect();
    writer.ask("XGROUP CREATE s g 0 MKSTREAM", "+OK\r\n");
    let mut readers = [served.connect(), served.connect()];
    for (index, reader) in readers.iter_mut().enumerate() {
        reader.send(&format!("XREADGROUP GROUP g c{index} BLOCK 0 STREAMS s >"));
        served.until("one more blocks", |engine| engine.waiter_count() == index + 1);
    }
    for (index, reader) in readers.iter_mut().enumerate() {
        writer.ask(&format!("XADD s {}-1 f v", index + 1), &format!("$3\r\n{}-1\r\n", index + 1));
        let id = format!("$3\r\n{}-1\r\n", index + 1);
        let record = format!("*2\r\n{id}*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
        reader.expect(&format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{record}"));
    }
    served.until("nobody blocks", |engine| engine.waiter_count() == 0);
}
