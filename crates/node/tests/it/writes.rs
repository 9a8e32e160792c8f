//! Writes and reads with types, on a node: transactions, keys on disk, and keys that are watched.

use crate::support::{bulk, call};
use thalweg_machine::{PolicyName, Reply, Write};
use thalweg_node::{Durability, Engine, EngineSettings, Session};

fn write(engine: &Engine, session: &mut Session, writes: &[Write<'_>]) -> bool {
    let outcome = engine.enter_blocking(|engine| engine.write_all(session, writes));
    outcome.expect("the engine works").expect("the writes are taken")
}

fn field(engine: &Engine, key: &str, field: &str) -> Option<Vec<u8>> {
    let mut value = b"what was there before".to_vec();
    let outcome = engine
        .enter_blocking(|engine| engine.read_field(key.as_bytes(), field.as_bytes(), &mut value));
    outcome.expect("the engine works").expect("a hash").then_some(value)
}

fn put<'a>(key: &'a str, name: &'a str, value: &'a str) -> Write<'a> {
    Write::PutField { key: key.as_bytes(), field: name.as_bytes(), value: value.as_bytes() }
}

#[test]
fn writes_of_several_partitions_are_one_transaction() {
    let engine = Engine::open(EngineSettings::in_memory()).expect("open");
    let keys: Vec<String> = (0..40).map(|number| format!("h{number}")).collect();
    let mut writes: Vec<Write<'_>> = keys.iter().map(|key| put(key, "a", "1")).collect();
    assert!(write(&engine, &mut Session::default(), &writes));
    call(&engine, "SET text x");
    writes.iter_mut().zip(&keys).for_each(|(write, key)| *write = put(key, "a", "2"));
    writes.push(put("text", "a", "2"));
    let refused =
        engine.enter_blocking(|engine| engine.write_all(&mut Session::default(), &writes));
    assert!(refused.expect("the engine works").is_err());
    for key in &keys {
        assert_eq!(field(&engine, key, "a").as_deref(), Some(&b"1"[..]), "{key}");
    }
    assert_eq!(field(&engine, "h0", "b"), None);
    assert_eq!(field(&engine, "nothing", "a"), None);
    let of_text = engine.enter_blocking(|engine| engine.read_field(b"text", b"a", &mut Vec::new()));
    assert!(of_text.expect("the engine works").is_err());
}

#[test]
fn what_is_watched_stops_writes_once() {
    let engine = Engine::open(EngineSettings::in_memory()).expect("open");
    let mut session = Session::default();
    for changes in [false, true, false] {
        engine.call_in(&mut session, &[b"WATCH", b"seen", b"other"]).expect("watch");
        if changes {
            call(&engine, "SET seen 1");
        }
        let happened = write(&engine, &mut session, &[put("hash", "a", "x"), put("b", "b", "y")]);
        assert_eq!(happened, !changes);
    }
    // Nothing is watched any more.
    call(&engine, "SET seen 2");
    assert!(write(&engine, &mut session, &[put("hash", "a", "z")]));
    assert_eq!(field(&engine, "hash", "a").as_deref(), Some(&b"z"[..]));
}

#[test]
fn keys_that_are_on_disk_are_fetched() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = || EngineSettings {
        partitions: 4,
        durability: Durability::None,
        memory_max_bytes: 2 << 20,
        eviction: PolicyName::Lru,
        segment_bytes: 1 << 20,
        ..EngineSettings::in_directory(folder.path())
    };
    let engine = Engine::open(settings()).expect("open");
    for number in 0..20 {
        call(&engine, &format!("HSET h{number} a {number} b kept"));
        call(&engine, &format!("XADD x{number} 1-1 n {number}"));
    }
    engine.checkpoint().expect("checkpoint");
    let filler = "v".repeat(500);
    for number in 0..8_000 {
        call(&engine, &format!("SET filler{number} {filler}"));
    }
    engine.checkpoint().expect("checkpoint");
    assert!(engine.report().total(|partition| partition.evicted) > 8_000 / 2);
    let names: Vec<String> = (0..20).map(|number| format!("h{number}")).collect();
    let streams: Vec<String> = (0..20).map(|number| format!("x{number}")).collect();
    let mut writes: Vec<Write<'_>> = names.iter().map(|key| put(key, "a", "new")).collect();
    writes.extend(streams.iter().map(|key| {
        let fields: &[&[u8]] = &[b"n", b"more"];
        Write::Append { key: key.as_bytes(), fields }
    }));
    assert!(write(&engine, &mut Session::default(), &writes));
    drop(engine);
    let engine = Engine::open(settings()).expect("open again");
    for (name, stream) in names.iter().zip(&streams) {
        assert_eq!(field(&engine, name, "a").as_deref(), Some(&b"new"[..]), "{name}");
        assert_eq!(call(&engine, &format!("HGET {name} b")), bulk("kept"), "{name}");
        assert_eq!(call(&engine, &format!("XLEN {stream}")), Reply::Integer(2), "{stream}");
    }
}
