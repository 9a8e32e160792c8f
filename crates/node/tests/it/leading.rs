//! Leading a lane: each start is a new term, a leader that was succeeded is deposed, and a log of
//! somebody else is refused.

use crate::support::{bulk, call, code};
use std::path::Path;
use std::sync::Arc;
use thalweg_base::checksum::crc32c;
use thalweg_base::slot::{SLOTS, slot_of};
use thalweg_log::{Batch, Log, LogError, MANY_PARTITIONS, MemoryLog, Origin};
use thalweg_machine::{Effect, EffectBuffer, PutExpiry, Reply};
use thalweg_node::{Durability, Engine, EngineError, EngineSettings, Role};

fn settings(lanes: u16) -> EngineSettings {
    EngineSettings {
        partitions: 4,
        lanes,
        durability: Durability::Sync,
        ..EngineSettings::in_memory()
    }
}

fn logs(count: u16) -> Vec<Arc<dyn Log>> {
    (0..count).map(|_| -> Arc<dyn Log> { Arc::new(MemoryLog::new(usize::MAX)) }).collect()
}

/// The origins in a log, each once, in order.
fn origins(log: &dyn Log) -> Vec<Origin> {
    let mut found: Vec<Origin> = Vec::new();
    log.follow(log.oldest(), &mut |_, batch| {
        if found.last() != Some(&batch.origin) {
            found.push(batch.origin);
        }
        Ok(())
    })
    .expect("it can be read");
    found
}

#[test]
fn each_start_is_a_new_term_that_stands_in_every_lanes_log() {
    let logs = logs(2);
    for start in 1..=3u32 {
        let engine = Engine::open_with_logs(settings(2), logs.clone()).expect("open");
        assert!(engine.report().lanes.iter().all(|lane| lane.epoch == start));
        if start == 2 {
            // The others write nothing, and are terms all the same.
            call(&engine, "SET k v");
        }
    }
    for (lane, log) in (0..).zip(&logs) {
        let origins = origins(log.as_ref());
        let epochs: Vec<u32> = origins.iter().map(|origin| origin.epoch).collect();
        assert_eq!(epochs, [1, 2, 3]);
        assert!(origins.iter().all(|origin| origin.lane == lane));
        assert!(origins.iter().all(|origin| origin.cluster == origins[0].cluster));
        assert!(origins[0].cluster != 0 && origins[0].writer != origins[1].writer);
    }
    assert_eq!(origins(logs[0].as_ref())[0].cluster, origins(logs[1].as_ref())[0].cluster);
}

#[test]
fn a_leader_that_was_succeeded_is_deposed() {
    let logs = logs(1);
    let old = Engine::open_with_logs(settings(1), logs.clone()).expect("open");
    call(&old, "SET k old");
    let new = Engine::open_with_logs(settings(1), logs.clone()).expect("open the successor");
    call(&new, "SET k new");
    // It does not know yet. What it decides now is not in the log, and nobody is told otherwise.
    let refused = old.call(&[b"SET", b"k", b"late"]);
    assert!(matches!(refused, Err(EngineError::Deposed { lane: 0 })), "{refused:?}");
    assert_eq!(code(&call(&old, "SET other 1")), "READONLY");
    assert_eq!(code(&call(&old, "FLUSHALL")), "READONLY");
    let refused = old.call(&[b"GET", b"k"]);
    assert!(matches!(refused, Err(EngineError::Deposed { .. })), "{refused:?}");
    assert_eq!(old.report().lanes[0].role, Role::Deposed);
    assert_eq!(call(&new, "GET k"), bulk("new"));
    drop(old);
    drop(new);
    let next = Engine::open_with_logs(settings(1), logs).expect("open again");
    assert_eq!(call(&next, "GET k"), bulk("new"), "what was refused left no trace");
}

/// Those who wait when it happens hear of it.
#[test]
fn whoever_waits_at_the_gate_of_a_deposed_leader_is_told() {
    let logs = logs(1);
    let old = Engine::open_with_logs(settings(1), logs.clone()).expect("open");
    let _new = Engine::open_with_logs(settings(1), logs).expect("open the successor");
    let waiting: Vec<_> = (0..4)
        .map(|number| {
            let old = old.clone();
            std::thread::spawn(move || old.call(&[b"INCR", format!("k{number}").as_bytes()]))
        })
        .collect();
    for thread in waiting {
        // One that came later is refused; one that came before does not know what became of it.
        match thread.join().expect("a thread") {
            Err(EngineError::Deposed { .. }) => {}
            Ok(refused) => assert_eq!(code(&refused), "READONLY"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn keys_that_expire_on_a_deposed_leader_are_absent_and_nobody_says_so() {
    let logs = logs(1);
    let old = Engine::open_with_logs(settings(1), logs.clone()).expect("open");
    call(&old, "SET short v PX 60");
    let _new = Engine::open_with_logs(settings(1), logs).expect("open the successor");
    let _refused = old.call(&[b"SET", b"k", b"late"]);
    let digest = old.digest();
    let absent = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        call(&old, "EXISTS short") == Reply::Integer(0)
    });
    assert!(absent);
    // The timers have had their turn, and more than one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(old.digest(), digest, "the timers have not touched it");
    assert_eq!(old.report().expired, 0);
}

fn put(log: &dyn Log, origin: Origin, partition: u16, key: &[u8]) {
    let mut effects = EffectBuffer::default();
    effects.push(1 << 20, &Effect::Put { key, value: b"v", expiry: PutExpiry::Never });
    let batch = Batch {
        partition,
        first_lsn: effects.first_lsn(),
        last_lsn: effects.last_lsn(),
        time_ms: 0,
        origin,
        count: effects.count(),
        payload: effects.bytes(),
    };
    log.append(&[batch]).expect("append");
}

fn refusal(settings: EngineSettings, logs: Vec<Arc<dyn Log>>) -> String {
    match Engine::open_with_logs(settings, logs) {
        Ok(_) => panic!("it opens"),
        Err(error @ EngineError::Log(LogError::Replay { .. })) => error.to_string(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn batches_of_another_cluster_or_lane_are_refused_by_name() {
    let ours = Origin { cluster: 7, lane: 1, epoch: 2, writer: 5 };
    let in_cluster = || EngineSettings { cluster: Some(7), ..settings(2) };
    let cases = [
        (Origin { cluster: 8, ..ours }, 3, "is of cluster 0000000000000008, and this is cluster"),
        (Origin { lane: 0, ..ours }, 3, "it is of lane 0, and this is the log of lane 1"),
        (Origin { cluster: 0, ..ours }, 3, "does not say of which cluster"),
        (ours, 0, "partition 0, which lane 1 has not"),
        (ours, 9, "partition 9, but there are 4"),
        (ours, 3, "it has a key of partition 1"),
        (ours, MANY_PARTITIONS, "it has a key of partition 1"),
    ];
    for (origin, partition, what) in cases {
        let logs = logs(2);
        put(logs[1].as_ref(), origin, partition, b"k");
        let said = refusal(in_cluster(), logs);
        assert!(said.contains(what), "{said}");
    }
    let logs = logs(2);
    // Of four partitions the second lane has the last two.
    let own = (0..).map(|number| format!("k{number}"));
    let own = own.into_iter().find(|key| slot_of(key.as_bytes()) >= SLOTS / 2);
    put(logs[1].as_ref(), ours, MANY_PARTITIONS, own.expect("a key").as_bytes());
    Engine::open_with_logs(in_cluster(), logs.clone()).expect("its own are welcome");
    // Exchanged, they are nobody's.
    let swapped = vec![logs[1].clone(), logs[0].clone()];
    let said = refusal(in_cluster(), swapped);
    assert!(said.contains("it is of lane 1, and this is the log of lane 0"), "{said}");
}

#[test]
fn a_log_of_another_data_directory_is_refused() {
    let folders = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    for folder in &folders {
        let engine = Engine::open(EngineSettings::in_directory(folder.path())).expect("open");
        call(&engine, "SET k v");
    }
    let [one, other] = folders.each_ref().map(|folder| folder.path().join("log"));
    std::fs::remove_dir_all(&one).expect("remove");
    std::fs::rename(&other, &one).expect("rename");
    let opened = Engine::open(EngineSettings::in_directory(folders[0].path()));
    let said = opened.err().expect("refused").to_string();
    assert!(said.contains("belongs to another data directory"), "{said}");
    let asked =
        EngineSettings { cluster: Some(1), ..EngineSettings::in_directory(folders[1].path()) };
    let said = Engine::open(asked).err().expect("refused").to_string();
    assert!(said.contains("choose another directory"), "{said}");
}

/// A log segment as version 0.1 wrote it: one batch of format 1.
fn old_segment(effects: &EffectBuffer, partition: u16) -> Vec<u8> {
    let mut bytes = b"THALWEG\0".to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.resize(60, 0);
    bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
    let payload = effects.bytes();
    let length = (payload.len() as u32).to_le_bytes();
    let mut body = [length, length].concat();
    for number in [effects.first_lsn(), effects.last_lsn(), 1_700_000_000_000, 0] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    body.extend_from_slice(&1u32.to_le_bytes());
    body.extend_from_slice(&effects.count().to_le_bytes());
    body.extend_from_slice(&partition.to_le_bytes());
    body.extend_from_slice(&[0, 0]);
    let chained = [&[0; 4], body.as_slice(), payload].concat();
    bytes.extend_from_slice(b"TWB1");
    bytes.extend_from_slice(&crc32c(&chained).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&crc32c(&body).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(64 << 10, 0);
    bytes
}

/// With its log alone: the store of that version is tested where the store is.
#[test]
fn a_data_directory_of_the_first_version_opens_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut effects = EffectBuffer::default();
    for (lsn, key) in [(1 << 20, &b"one"[..]), ((1 << 20) + 1, b"two"), ((3 << 20) + 5, b"three")] {
        effects.push(lsn, &Effect::Put { key, value: b"old", expiry: PutExpiry::Never });
    }
    std::fs::create_dir_all(folder.path().join("log")).expect("create");
    let segment = folder.path().join(Path::new("log/0000000000000001.log"));
    std::fs::write(&segment, old_segment(&effects, MANY_PARTITIONS)).expect("write");
    for start in 2..5u32 {
        let engine = Engine::open(EngineSettings::in_directory(folder.path())).expect("open");
        assert_eq!(engine.report().lanes[0].epoch, start, "the old version had epoch 1");
        for key in ["one", "two", "three"] {
            assert_eq!(call(&engine, &format!("GET {key}")), bulk("old"));
        }
        assert_eq!(call(&engine, "INCR starts"), Reply::Integer(i64::from(start) - 1));
    }
    let engine = Engine::open(EngineSettings::in_directory(folder.path())).expect("open");
    engine.checkpoint().expect("checkpoint");
    assert!(!Path::new(&segment).exists(), "the old segment is trimmed like any other");
    assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(4));
}
