//! Checkpoints under load, the memory budget, and keys that are on disk only.

use crate::support::{bulk, call};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thalweg_machine::{PolicyName, Reply};
use thalweg_node::{Durability, Engine, EngineSettings};

fn small(path: &std::path::Path, eviction: PolicyName) -> EngineSettings {
    EngineSettings {
        partitions: 4,
        durability: Durability::None,
        memory_max_bytes: 4 << 20,
        eviction,
        segment_bytes: 1 << 20,
        checkpoint_log_bytes: 2 << 20,
        ..EngineSettings::in_directory(path)
    }
}

#[test]
fn data_beyond_the_memory_budget_is_on_disk_and_comes_back() {
    for policy in PolicyName::NAMES {
        let policy: PolicyName = policy.parse().expect("a name");
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::open(small(folder.path(), policy)).expect("open");
        let value = "v".repeat(200);
        let count = 60_000;
        for number in 0..count {
            assert_eq!(
                call(&engine, &format!("SET key{number} {value}{number}")),
                Reply::Simple("OK".into())
            );
        }
        call(&engine, "HSET hash a 1 b 2");
        call(&engine, "XADD stream 1-1 f v");
        engine.checkpoint().expect("checkpoint");
        let report = engine.report();
        let memory = report.total(|partition| partition.memory_bytes);
        assert!(memory < 8 << 20, "{policy:?}: {memory}");
        assert!(report.total(|partition| partition.evicted) > 0);
        assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(count + 2));
        for number in (0..count).step_by(997) {
            assert_eq!(
                call(&engine, &format!("GET key{number}")),
                bulk(&format!("{value}{number}"))
            );
        }
        assert_eq!(call(&engine, "EXISTS nothing key1 key2"), Reply::Integer(2));
        assert_eq!(call(&engine, "SET key5 new NX"), Reply::Null);
        assert_eq!(call(&engine, "DEL key7 key8 nothing"), Reply::Integer(2));
        assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(count));
        drop(engine);
        let engine = Engine::open(small(folder.path(), policy)).expect("open again");
        assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(count));
        assert_eq!(call(&engine, "GET key7"), Reply::Null);
        assert_eq!(call(&engine, "HGET hash b"), bulk("2"));
        assert_eq!(call(&engine, "XLEN stream"), Reply::Integer(1));
        assert_eq!(scan_count(&engine), count as usize);
    }
}

/// Keys that SCAN gives, each once.
fn scan_count(engine: &Engine) -> usize {
    let mut cursor = "0".to_owned();
    let mut seen = std::collections::HashSet::new();
    loop {
        let page = call(engine, &format!("SCAN {cursor} COUNT 500"));
        let [next, keys] = page.elements() else { panic!("SCAN gives a cursor and keys") };
        for key in keys.elements() {
            seen.insert(key.as_bytes().expect("a key").to_vec());
        }
        cursor = String::from_utf8(next.as_bytes().expect("a cursor").to_vec()).expect("text");
        if cursor == "0" {
            return seen.len();
        }
    }
}

#[test]
fn checkpoints_while_writers_write_lose_nothing() {
    for lanes in [1, 4] {
        check_that_writers_lose_nothing(lanes);
    }
}

fn check_that_writers_lose_nothing(lanes: u16) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = || EngineSettings {
        lanes,
        durability: Durability::Sync,
        ..small(folder.path(), PolicyName::S3Fifo)
    };
    let engine = Engine::open(settings()).expect("open");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let engine = &engine;
                scope.spawn(move || {
                    for number in 0..2_000 {
                        call(engine, &format!("INCR counter{writer}"));
                        call(engine, &format!("HSET hash{writer} f{} {number}", number % 50));
                        call(engine, &format!("SET k{writer}:{number} {number}"));
                        if number % 3 == 0 {
                            call(engine, &format!("DEL k{writer}:{}", number / 2));
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                engine.checkpoint().expect("checkpoint");
            }
        });
        for writer in writers {
            writer.join().expect("a writer");
        }
        done.store(true, Ordering::Relaxed);
    });
    let size = call(&engine, "DBSIZE");
    let before = crate::support::contents(&engine);
    drop(engine);
    let engine = Engine::open(settings()).expect("open again");
    assert_eq!(call(&engine, "DBSIZE"), size);
    assert!(crate::support::contents(&engine) == before, "contents differ after reopening");
    for writer in 0..4 {
        assert_eq!(call(&engine, &format!("GET counter{writer}")), bulk("2000"));
    }
}

#[test]
fn a_key_larger_than_the_budget_is_fetched_and_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open");
    let value = "v".repeat(1_000);
    for number in 0..1_500 {
        call(&engine, &format!("HSET large f{number} {value}"));
    }
    engine.checkpoint().expect("checkpoint");
    drop(engine);
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open again");
    for number in 0..100 {
        assert_eq!(call(&engine, &format!("HGET large f{number}")), bulk(&value));
        call(&engine, &format!("SET other{number} {value}"));
    }
}

/// Nobody asks for these keys again: they must go all the same.
#[test]
fn keys_that_expire_on_disk_are_deleted() {
    for lanes in [1, 4] {
        check_that_keys_expire_on_disk(lanes);
    }
}

fn check_that_keys_expire_on_disk(lanes: u16) {
    let folder = tempfile::tempdir().expect("a folder");
    let small = |path, policy| EngineSettings { lanes, ..crate::checkpoint::small(path, policy) };
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open");
    for number in 0..100 {
        call(&engine, &format!("SET key{number} v PX 200"));
        call(&engine, &format!("SET lasting{number} v"));
    }
    engine.checkpoint().expect("checkpoint");
    drop(engine);
    std::thread::sleep(Duration::from_millis(250));
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open again");
    assert_eq!(call(&engine, "KEYS key*").elements().len(), 0);
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while call(&engine, "DBSIZE") != Reply::Integer(100) {
        assert!(std::time::Instant::now() < patience, "{:?} keys", call(&engine, "DBSIZE"));
        std::thread::sleep(Duration::from_millis(20));
    }
    engine.checkpoint().expect("checkpoint");
    drop(engine);
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open a third time");
    assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(100));
}

/// One command names more cold keys than the budget holds: they are all there when it runs.
#[test]
fn a_command_on_more_cold_keys_than_the_budget_holds_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = || EngineSettings {
        partitions: 1,
        memory_max_bytes: 1 << 20,
        ..small(folder.path(), PolicyName::S3Fifo)
    };
    let engine = Engine::open(settings()).expect("open");
    let value = "v".repeat(400);
    for number in 0..6_000 {
        call(&engine, &format!("SET key{number} {value}"));
    }
    engine.checkpoint().expect("checkpoint");
    drop(engine);
    let engine = Engine::open(settings()).expect("open again");
    let names: Vec<String> = (0..6_000).map(|number| format!("key{number}")).collect();
    let reply = call(&engine, &format!("MGET {}", names.join(" ")));
    assert_eq!(reply.elements().len(), 6_000);
    assert!(reply.elements().iter().all(|element| *element == bulk(&value)));
}

/// Deletions, re-creations and overwrites that race with checkpoints: what a reopened node has is
/// what was there.
#[test]
fn keys_that_come_and_go_during_checkpoints_are_right_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = || EngineSettings {
        partitions: 1,
        durability: Durability::Interval,
        ..small(folder.path(), PolicyName::S3Fifo)
    };
    for round in 0..6u64 {
        let engine = Engine::open(settings()).expect("open");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    engine.checkpoint().expect("checkpoint");
                }
            });
            let mut history = crate::support::History::new(round + 77);
            for number in 0..6_000u64 {
                let (key, field) = (history.below(300), history.below(40));
                match history.below(8) {
                    0 => call(&engine, &format!("DEL key{key} hash{}", key % 20)),
                    1 | 2 => call(&engine, &format!("SET key{key} {number}")),
                    3 => call(&engine, &format!("HDEL hash{} f{field}", key % 20)),
                    4 => call(&engine, &format!("XADD stream{} * n {number}", key % 10)),
                    5 => call(&engine, &format!("XTRIM stream{} MAXLEN {field}", key % 10)),
                    6 => call(&engine, &format!("DEL stream{}", key % 10)),
                    _ => call(&engine, &format!("HSET hash{} f{field} {number}", key % 20)),
                };
            }
            done.store(true, Ordering::Relaxed);
        });
        engine.checkpoint().expect("checkpoint");
        let (size, before) = (call(&engine, "DBSIZE"), crate::support::contents(&engine));
        drop(engine);
        let engine = Engine::open(settings()).expect("open again");
        assert_eq!(call(&engine, "DBSIZE"), size, "round {round}");
        crate::support::assert_same_contents(&before, &crate::support::contents(&engine), round);
    }
}

#[test]
fn transactions_on_keys_that_were_never_stored_are_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open");
    for number in 0..100 {
        call(&engine, &format!("SET stored{number} v"));
    }
    engine.checkpoint().expect("checkpoint");
    drop(engine);
    // All of it is cold now.
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open again");
    let mut session = thalweg_node::Session::default();
    let mut call = |args: &[&[u8]]| engine.call_in(&mut session, args).expect("works");
    call(&[b"SET", b"fresh", b"1"]);
    call(&[b"MULTI"]);
    call(&[b"DEL", b"fresh"]);
    call(&[b"SET", b"fresh", b"2"]);
    assert_eq!(call(&[b"EXEC"]).elements().len(), 2);
    assert_eq!(call(&[b"GET", b"fresh"]), bulk("2"));
    call(&[b"MULTI"]);
    call(&[b"RANDOMKEY"]);
    call(&[b"FLUSHALL"]);
    call(&[b"RANDOMKEY"]);
    let replies = call(&[b"EXEC"]);
    assert!(
        matches!(replies.elements(), [Reply::Bulk(_), Reply::Simple(_), Reply::Null]),
        "{replies:?}"
    );
}

#[test]
fn many_readers_of_one_cold_key_cause_one_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open");
    call(&engine, "SET hot value");
    engine.checkpoint().expect("checkpoint");
    drop(engine);
    let engine = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open again");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(call(&engine, "GET hot"), bulk("value")));
        }
    });
    assert_eq!(engine.report().loads, 1);
}

#[test]
fn without_a_store_a_spent_budget_refuses_writes_and_reads_go_on() {
    let settings =
        EngineSettings { partitions: 1, memory_max_bytes: 1 << 20, ..EngineSettings::in_memory() };
    let engine = Engine::open(settings).expect("open");
    let value = "v".repeat(10_000);
    let mut refused = false;
    for number in 0..1_000 {
        refused |= matches!(call(&engine, &format!("SET key{number} {value}")),
            Reply::Error(error) if error.code == "OOM");
    }
    assert!(refused);
    assert_eq!(call(&engine, "GET key0"), bulk(&value));
    assert_eq!(call(&engine, "DEL key0 key1 key2"), Reply::Integer(3));
}

#[test]
fn a_data_directory_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Engine::open(small(folder.path(), PolicyName::S3Fifo)).expect("open");
    let error = Engine::open(small(folder.path(), PolicyName::S3Fifo)).err().expect("refused");
    assert!(error.to_string().contains("in use"), "{error}");
}
