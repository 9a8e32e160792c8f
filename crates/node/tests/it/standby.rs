//! A standby: it follows the logs of a live node and has the same state, and it decides nothing.

use crate::support::{History, bulk, call, contents, settle};
use std::sync::Arc;
use thalweg_base::SimulatedClock;
use thalweg_base::fs::SimulatedFs;
use thalweg_log::{LocalLog, LocalLogSettings, Log, MemoryLog};
use thalweg_machine::Reply;
use thalweg_node::{Durability, Engine, EngineSettings, Place, Role, Session};

fn settings(lanes: u16) -> EngineSettings {
    EngineSettings {
        partitions: 8,
        lanes,
        durability: Durability::Sync,
        ..EngineSettings::in_memory()
    }
}

fn memory_logs(lanes: u16) -> Vec<Arc<dyn Log>> {
    (0..lanes).map(|_| -> Arc<dyn Log> { Arc::new(MemoryLog::new(usize::MAX)) }).collect()
}

fn local_logs(lanes: u16) -> Vec<Arc<dyn Log>> {
    let log = |lane| -> Arc<dyn Log> {
        let settings = LocalLogSettings {
            directory: format!("log{lane}").into(),
            segment_bytes: 16 << 10,
            compress_min_bytes: 1 << 10,
        };
        Arc::new(LocalLog::open(Arc::new(SimulatedFs::new(1)), settings).expect("open"))
    };
    (0..lanes).map(log).collect()
}

#[test]
fn a_standby_that_follows_in_steps_ends_with_the_same_digest() {
    for seed in 0..24 {
        let lanes = if seed % 2 == 0 { 1 } else { 4 };
        let logs = if seed % 3 == 0 { local_logs(lanes) } else { memory_logs(lanes) };
        let leader = Engine::open_with_logs(settings(lanes), logs.clone()).expect("open");
        let mut history = History::new(seed);
        // Some of the log is there before the standby is.
        history.run(&leader, 50);
        let standby = Engine::open_standby(settings(lanes), logs).expect("open the standby");
        for _ in 0..10 {
            history.run(&leader, 40);
            if history.below(2) == 0 {
                standby.follow().expect("follow");
            }
        }
        settle(&leader);
        standby.follow().expect("follow");
        assert_eq!(leader.digest(), standby.digest(), "seed {seed}");
        standby.follow().expect("follow once more");
        assert_eq!(leader.digest(), standby.digest(), "seed {seed}: nothing has come");
        assert_eq!(call(&leader, "DBSIZE"), call(&standby, "DBSIZE"));
        let (led, followed) = (leader.report(), standby.report());
        for (led, followed) in led.lanes.iter().zip(&followed.lanes) {
            assert_eq!((led.role, followed.role), (Role::Leader, Role::Standby));
            assert_eq!(led.epoch, followed.epoch);
        }
    }
}

/// While the leader writes from several threads.
#[test]
fn a_standby_that_follows_a_busy_leader_ends_with_the_same_digest() {
    for logs in [memory_logs(4), local_logs(4)] {
        let leader = Engine::open_with_logs(settings(4), logs.clone()).expect("open");
        let standby = Engine::open_standby(settings(4), logs).expect("open the standby");
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let leader = &leader;
                    scope.spawn(move || History::new(500 + writer).run(leader, 1_500))
                })
                .collect();
            while !writers.iter().all(|writer| writer.is_finished()) {
                standby.follow().expect("follow");
            }
        });
        settle(&leader);
        standby.follow().expect("follow");
        assert_eq!(leader.digest(), standby.digest());
    }
}

#[test]
fn a_standby_decides_nothing() {
    let clock = Arc::new(SimulatedClock::at_ms(1_700_000_000_000));
    let settings = || EngineSettings { clock: clock.clone(), ..settings(2) };
    let logs = memory_logs(2);
    let leader = Engine::open_with_logs(settings(), logs.clone()).expect("open");
    let standby = Engine::open_standby(settings(), logs.clone()).expect("open the standby");
    call(&leader, "SET lasting 1");
    call(&leader, "SET short 1 PX 500");
    standby.follow().expect("follow");
    assert_eq!(call(&standby, "MGET lasting short"), Reply::Array(vec![bulk("1"), bulk("1")]));
    for line in ["SET lasting 2", "DEL lasting", "FLUSHALL", "MSET {a}1 1 {a}2 2"] {
        let refused = call(&standby, line);
        assert!(matches!(&refused, Reply::Error(error) if error.code == "READONLY"), "{refused:?}");
    }
    // Its leader is gone, so nobody decides that a key has expired.
    drop(leader);
    let digest = standby.digest();
    let appended = || -> u64 { logs.iter().map(|log| log.report().appended_batches).sum() };
    let before = appended();
    clock.advance_ms(1_000);
    assert_eq!(call(&standby, "GET short"), Reply::Null, "as good as deleted");
    assert_eq!(call(&standby, "EXISTS short lasting"), Reply::Integer(1));
    // The timers have had their turn, and more than one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!((standby.digest(), appended()), (digest, before), "nothing was decided");
    assert_eq!(standby.report().expired, 0);
    let leader = Engine::open_with_logs(settings(), logs).expect("open again");
    let gone = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        call(&leader, "DBSIZE") == Reply::Integer(1)
    });
    assert!(gone, "the leader deletes it");
    settle(&leader);
    standby.follow().expect("follow");
    assert_eq!(call(&standby, "DBSIZE"), Reply::Integer(1));
    assert_eq!(standby.report().lanes[0].epoch, 2);
}

/// A checkpoint of its own, and evicted keys, before it follows on: as a leader after a restart.
#[test]
fn a_standby_keeps_checkpoints_of_its_own() {
    for lanes in [1, 4] {
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = Some(7);
        let logs = memory_logs(lanes);
        let led = EngineSettings { cluster, ..settings(lanes) };
        let leader = Engine::open_with_logs(led, logs.clone()).expect("open");
        let mut history = History::new(u64::from(lanes));
        for _ in 0..4 {
            let place = Place::Directory(folder.path().to_owned());
            let followed = EngineSettings { cluster, place, ..settings(lanes) };
            let standby =
                Engine::open_standby(followed.clone(), logs.clone()).expect("open the standby");
            let second = Engine::open_standby(followed, logs.clone()).err().expect("refused");
            assert!(second.to_string().contains("in use"), "{second}");
            for _ in 0..3 {
                history.run(&leader, 60);
                settle(&leader);
                standby.follow().expect("follow");
                standby.checkpoint().expect("checkpoint");
            }
            history.run(&leader, 20);
            settle(&leader);
            standby.follow().expect("follow");
            let (there, here) = (contents(&leader), contents(&standby));
            crate::support::assert_same_contents(&there, &here, u64::from(lanes));
        }
        let kept: u64 = logs.iter().map(|log| log.oldest().at).sum();
        assert_eq!(kept, 0, "a standby does not trim its leader's log");
    }
}

#[test]
fn readers_that_block_on_a_standby_are_woken_by_what_it_follows() {
    let logs = memory_logs(1);
    let leader = Engine::open_with_logs(settings(1), logs.clone()).expect("open");
    let standby = Engine::open_standby(settings(1), logs).expect("open the standby");
    let (sender, woken) = std::sync::mpsc::channel();
    let waiter = standby.add_waiter(Arc::new(move || {
        // The test may be over.
        let _nobody_listens = sender.send(());
    }));
    standby.wait_for(waiter, &[b"stream".to_vec()]);
    call(&leader, "XADD stream 1-1 f v");
    assert!(woken.try_recv().is_err(), "it does not know yet");
    standby.follow().expect("follow");
    assert!(woken.try_recv().is_ok());
    assert_eq!(call(&standby, "XLEN stream"), Reply::Integer(1));
}

/// It has little memory, and reads in one step what a leader wrote in many.
#[test]
fn a_standby_far_behind_keeps_its_memory_budget() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = memory_logs(1);
    let cluster = Some(7);
    let led = EngineSettings { cluster, memory_max_bytes: 1 << 30, ..settings(1) };
    let leader = Engine::open_with_logs(led, logs.clone()).expect("open");
    let place = Place::Directory(folder.path().to_owned());
    let memory_max_bytes = 4 << 20;
    let followed = EngineSettings { cluster, place, memory_max_bytes, ..settings(1) };
    let standby = Engine::open_standby(followed, logs).expect("open the standby");
    let value = "v".repeat(1_000);
    let mut session = Session::default();
    for round in 0..2 {
        for number in 0..5_000 {
            let key = format!("key{round}:{number}");
            let args: [&[u8]; 3] = [b"SET", key.as_bytes(), value.as_bytes()];
            leader.run_in(&mut session, &args).expect("the engine works");
        }
        settle(&leader);
        standby.follow().expect("follow");
        // What is dirty stays until it is stored; what is stored leaves when more comes.
        standby.checkpoint().expect("checkpoint");
    }
    let report = standby.report();
    let memory = report.total(|partition| partition.memory_bytes);
    assert!(memory < 8 << 20 && report.total(|partition| partition.evicted) > 0, "{memory}");
    assert_eq!(call(&standby, "DBSIZE"), Reply::Integer(10_000));
    assert_eq!(call(&standby, "GET key0:7"), bulk(&value));
}
