//! The log determines the state: the leader, a replay from zero, and a checkpoint with its tail
//! agree.

use crate::support::{History, call, contents, settle};
use std::sync::Arc;
use thalweg_log::{Log, MemoryLog};
use thalweg_node::{Engine, EngineSettings};

fn logs(lanes: u16) -> Vec<Arc<dyn Log>> {
    (0..lanes).map(|_| -> Arc<dyn Log> { Arc::new(MemoryLog::new(usize::MAX)) }).collect()
}

fn with_logs(logs: &[Arc<dyn Log>], partitions: u16) -> Engine {
    let lanes = logs.len() as u16;
    let settings = EngineSettings { partitions, lanes, ..EngineSettings::in_memory() };
    Engine::open_with_logs(settings, logs.to_vec()).expect("open")
}

#[test]
fn a_replay_gives_the_same_digest() {
    for seed in 0..60 {
        for (partitions, lanes) in [(1, 1), (8, 1), (8, 4)] {
            let logs = logs(lanes);
            let leader = with_logs(&logs, partitions);
            History::new(seed).run(&leader, 400);
            settle(&leader);
            // Each engine has a hash seed of its own.
            let replayed = with_logs(&logs, partitions);
            assert_eq!(leader.digest(), replayed.digest(), "seed {seed}, {partitions}, {lanes}");
            assert!(call(&leader, "DBSIZE") == call(&replayed, "DBSIZE"));
        }
    }
}

#[test]
fn the_digest_notices_a_difference() {
    let one = Engine::open(EngineSettings::in_memory()).expect("open");
    let other = Engine::open(EngineSettings::in_memory()).expect("open");
    call(&one, "HSET h f 1");
    call(&other, "HSET h f 2");
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn concurrent_writers_replay_to_the_same_state() {
    for lanes in [1, 4] {
        let logs = logs(lanes);
        let leader = with_logs(&logs, 16);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let leader = &leader;
                scope.spawn(move || History::new(1_000 + writer).run(leader, 3_000));
            }
        });
        settle(&leader);
        assert_eq!(leader.digest(), with_logs(&logs, 16).digest(), "{lanes} lanes");
    }
}

#[test]
fn checkpoint_and_tail_give_the_same_contents() {
    for seed in 0..40 {
        let folder = tempfile::tempdir().expect("a folder");
        let lanes = if seed % 3 == 2 { 4 } else { 1 };
        let settings = || EngineSettings {
            partitions: 4,
            lanes,
            segment_bytes: 1 << 20,
            ..EngineSettings::in_directory(folder.path())
        };
        let model = EngineSettings { partitions: 4, lanes, ..EngineSettings::in_memory() };
        let model = Engine::open(model).expect("open");
        let mut history = History::new(seed);
        for round in 0..4 {
            let engine = Engine::open(settings()).expect("open");
            assert_eq!(names(&engine), names(&model), "seed {seed}, round {round}");
            for _ in 0..3 {
                run_on_both(&mut history, &engine, &model, 60);
                if history.below(2) == 0 {
                    engine.checkpoint().expect("checkpoint");
                }
            }
            let before = contents(&engine);
            assert_eq!(
                call(&engine, "DBSIZE"),
                call(&model, "DBSIZE"),
                "seed {seed}, round {round}"
            );
            drop(engine);
            let engine = Engine::open(settings()).expect("open again");
            assert_eq!(
                call(&engine, "DBSIZE"),
                call(&model, "DBSIZE"),
                "seed {seed}, round {round}, reopened"
            );
            assert!(contents(&engine) == before, "seed {seed}, round {round}: contents differ");
        }
    }
}

/// Runs a history on two engines. Record IDs that the clock gives are left out, so that both hold
/// the same keys.
fn run_on_both(history: &mut History, one: &Engine, other: &Engine, commands: usize) {
    for _ in 0..commands {
        let words = history.next();
        for engine in [one, other] {
            crate::support::call_words(engine, &words);
        }
    }
}

fn names(engine: &Engine) -> Vec<Vec<u8>> {
    contents(engine).into_iter().map(|(key, _)| key).collect()
}
