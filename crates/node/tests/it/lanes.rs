//! Several lanes: what may use several of them, what waits for several, and one that fails while
//! the others go on.

use crate::support::{
    bulk, call, call_words, code, key_of_lane, last_gates, on_disks, settle, words,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thalweg_base::SimulatedClock;
use thalweg_base::fs::{Fault, SimulatedFs};
use thalweg_machine::{Reply, ReplyBuilder};
use thalweg_node::{
    Durability, Engine, EngineError, EngineSettings, Executed, Gates, Health, Session,
};

const LANES: u16 = 4;

fn in_memory() -> EngineSettings {
    EngineSettings { lanes: LANES, partitions: 16, ..EngineSettings::in_memory() }
}

fn disks(seed: u64) -> Vec<SimulatedFs> {
    (0..LANES).map(|lane| SimulatedFs::new(seed * 10 + u64::from(lane))).collect()
}

/// A key of each lane.
fn keys(engine: &Engine) -> Vec<String> {
    (0..LANES).map(|lane| key_of_lane(engine, "key", lane)).collect()
}

fn try_call(engine: &Engine, line: &str) -> Result<Reply, EngineError> {
    let words = words(line);
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    engine.call(&args)
}

#[test]
fn what_writes_in_several_lanes_is_refused_before_anything_is_decided() {
    let engine = Engine::open(in_memory()).expect("open");
    let keys = keys(&engine);
    let (a, b) = (&keys[0], &keys[3]);
    call(&engine, &format!("SET {a} 1"));
    let digest = engine.digest();
    for line in [
        format!("MSET {a} 2 {b} 2"),
        format!("MSETNX {b} 2 {b}2 2 {a}3 3 {a} 2"),
        format!("DEL {a} {b}"),
        format!("RENAME {a} {b}"),
        format!("COPY {a} {b}"),
    ] {
        let refused = call(&engine, &line);
        assert_eq!(code(&refused), "CROSSSLOT", "{line}");
        let Reply::Error(error) = refused else { unreachable!() };
        assert_eq!(error.to_string(), "CROSSSLOT Keys in request are in different lanes");
    }
    let mut session = Session::default();
    for line in ["MULTI".to_owned(), format!("SET {a} 2"), format!("GET {b}")] {
        run(&engine, &mut session, &line);
    }
    assert_eq!(code(&run(&engine, &mut session, "EXEC").1), "CROSSSLOT");
    assert!(!session.in_transaction(), "it is over");
    assert_eq!(engine.digest(), digest, "nothing was decided");
    // Tags hold keys together.
    let same = format!("MSET {{{a}}}1 x {{{a}}}2 y");
    assert_eq!(call(&engine, &same), Reply::Simple("OK".into()));
    assert_eq!(call(&engine, &format!("RENAME {a} {{{a}}}3")), Reply::Simple("OK".into()));
}

/// Runs a command and does not wait for its gates.
fn run(engine: &Engine, session: &mut Session, line: &str) -> (Gates, Reply) {
    let words = words(line);
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut reply = ReplyBuilder::default();
    match engine.execute(session, &args, engine.now_ms(), &mut reply) {
        Executed::Done(_, gates) => (gates, reply.finish()),
        Executed::Suspended(wait) => panic!("{line} waits for {wait:?}"),
    }
}

#[test]
fn what_reads_may_read_in_several_lanes() {
    let clock = Arc::new(SimulatedClock::at_ms(1_700_000_000_000));
    let settings = EngineSettings { clock: clock.clone(), ..in_memory() };
    let engine = Engine::open(settings).expect("open");
    let keys = keys(&engine);
    for key in &keys {
        call(&engine, &format!("SET {key} of-{key}"));
    }
    let all = keys.join(" ");
    let values: Vec<Reply> = keys.iter().map(|key| bulk(&format!("of-{key}"))).collect();
    assert_eq!(call(&engine, &format!("MGET {all}")), Reply::Array(values));
    assert_eq!(call(&engine, &format!("EXISTS {all}")), Reply::Integer(4));
    assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(4));
    assert_eq!(call(&engine, "KEYS key*").elements().len(), 4);
    assert_eq!(call(&engine, "SCAN 0 COUNT 100").elements()[1].elements().len(), 4);
    let mut session = Session::default();
    for line in ["MULTI".to_owned(), format!("GET {}", keys[0]), format!("GET {}", keys[3])] {
        run(&engine, &mut session, &line);
    }
    let (_, reply) = run(&engine, &mut session, "EXEC");
    assert_eq!(reply.elements()[1], bulk(&format!("of-{}", keys[3])));
    // What has expired is absent, and nobody decides so: that would be a batch of several lanes.
    call(&engine, &format!("SET {} short PX 1", keys[1]));
    clock.advance_ms(2);
    let reply = call(&engine, &format!("MGET {all}"));
    assert_eq!(reply.elements()[1], Reply::Null);
    assert_ne!(reply.elements()[0], Reply::Null);
}

/// How many batches each lane's log has taken.
fn batches(engine: &Engine) -> Vec<u64> {
    engine.report().lanes.iter().map(|lane| lane.log.appended_batches).collect()
}

#[test]
fn everything_goes_with_one_batch_in_each_lane() {
    let disks = disks(1);
    let engine = on_disks(&disks).expect("open");
    for key in 0..100 {
        call(&engine, &format!("SET key{key} 1"));
    }
    let before = batches(&engine);
    for line in ["FLUSHALL", "FLUSHDB"] {
        assert_eq!(call(&engine, line), Reply::Simple("OK".into()));
        assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(0));
        call(&engine, "SET key1 1");
    }
    let one = engine.lane_of_partition(engine.partition_of(b"key1") as u16).expect("a lane");
    let expected = (0..LANES).map(|lane| if lane == one { 4 } else { 2 });
    let written = batches(&engine).into_iter().zip(before).map(|(after, before)| after - before);
    assert_eq!(written.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    drop(engine);
    let engine = on_disks(&disks).expect("open again");
    assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(1), "it is in the logs");
}

#[test]
fn a_reply_waits_for_each_lane_that_it_has_read() {
    let disks = disks(2);
    let engine = on_disks(&disks).expect("open");
    let keys = keys(&engine);
    let mut session = Session::default();
    let mut seen = Gates::NONE;
    for key in [&keys[1], &keys[2]] {
        let (gates, _) = run(&engine, &mut session, &format!("SET {key} 1"));
        seen.join(&gates);
    }
    let (gates, _) =
        run(&engine, &mut session, &format!("MGET {} {} {}", keys[1], keys[2], keys[3]));
    assert_eq!(sorted(&gates), sorted(&seen), "it waits for what it saw, and no more");
    let (alone, _) = run(&engine, &mut session, &format!("GET {}", keys[3]));
    assert!(engine.is_settled(&alone), "nobody waits for another lane");
    engine.wait_settled(&gates).expect("settled");
    assert!(engine.is_settled(&gates) && engine.is_settled(&seen));
    assert!(engine.is_settled(&last_gates(&engine)));
}

fn sorted(gates: &Gates) -> Vec<(u16, u64)> {
    let mut all: Vec<_> = gates.iter().map(|gate| (gate.lane(), gate.lsn())).collect();
    all.retain(|(_, lsn)| *lsn > 0);
    all.sort_unstable();
    all
}

/// The power of one lane's disk goes in the middle of a commit; the others write on.
#[test]
fn a_crash_in_one_lane_takes_nothing_from_the_others() {
    for seed in 0..40u64 {
        let disks = disks(seed);
        let engine = on_disks(&disks).expect("open");
        let keys = keys(&engine);
        let broken = (seed % u64::from(LANES)) as usize;
        disks[broken].fail(Fault::PowerCutAfter(seed % 23));
        let counts: Vec<u64> = std::thread::scope(|scope| {
            let writers: Vec<_> = keys
                .iter()
                .map(|key| {
                    let engine = &engine;
                    let line = format!("INCR {key}");
                    scope.spawn(move || {
                        let counted =
                            |_: &u64| matches!(try_call(engine, &line), Ok(Reply::Integer(_)));
                        (0..60u64).take_while(counted).count() as u64
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
        for (lane, count) in counts.iter().enumerate() {
            assert!(*count == 60 || lane == broken, "seed {seed}: lane {lane} stopped at {count}");
        }
        assert!(counts[broken] < 60, "seed {seed}: it never broke");
        assert!(!engine.has_failed() && engine.health() == Health::Failed);
        drop(engine);
        disks.iter().for_each(SimulatedFs::power_cut);
        let engine = on_disks(&disks).expect("recovers");
        for (key, acknowledged) in keys.iter().zip(counts) {
            let found = call(&engine, &format!("GET {key}"));
            let text = found.as_bytes().map(|text| String::from_utf8_lossy(text).into_owned());
            let found: u64 = text.map_or(0, |text| text.parse().expect("a number"));
            assert!(
                found >= acknowledged && found <= acknowledged + 1,
                "seed {seed}: {key} has {found}, and {acknowledged} were acknowledged"
            );
        }
    }
}

#[test]
fn a_lane_that_failed_is_refused_and_the_others_serve_on() {
    let disks = disks(3);
    let engine = on_disks(&disks).expect("open");
    let keys = keys(&engine);
    for key in &keys {
        call(&engine, &format!("SET {key} before"));
    }
    disks[1].fail(Fault::SyncErrorAfter(0));
    let lost = try_call(&engine, &format!("SET {} during", keys[1]));
    assert!(matches!(lost, Err(EngineError::Failed)), "{lost:?}");
    assert_eq!(code(&call(&engine, &format!("SET {} after", keys[1]))), "MISCONF");
    // What was never durable is never shown, and what was is.
    assert!(matches!(try_call(&engine, &format!("GET {}", keys[1])), Err(EngineError::Failed)));
    assert_eq!(call(&engine, &format!("SET {} after", keys[2])), Reply::Simple("OK".into()));
    assert_eq!(call(&engine, &format!("GET {}", keys[0])), bulk("before"));
    // All or nothing: a lane that takes no writes refuses it for all.
    assert_eq!(code(&call(&engine, "FLUSHALL")), "MISCONF");
    assert_eq!(call(&engine, &format!("EXISTS {} {}", keys[0], keys[2])), Reply::Integer(2));
    let healths: Vec<Health> = engine.report().lanes.iter().map(|lane| lane.health).collect();
    assert_eq!(healths, [Health::Ok, Health::Failed, Health::Ok, Health::Ok]);
    assert!(!engine.has_failed());
}

#[test]
fn a_full_log_refuses_the_keys_of_its_lane_and_no_others() {
    let disks = disks(4);
    disks[2].fail(Fault::Capacity(5 * (64 << 10)));
    let engine = on_disks(&disks).expect("open");
    let keys = keys(&engine);
    let mut noise = 1u64;
    let refused = loop {
        // Incompressible, or the disk would never fill.
        let value: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        })
        .take(900)
        .collect();
        let set = vec![b"SET".to_vec(), keys[2].clone().into_bytes(), value];
        let reply = call_words(&engine, &set);
        if reply != Reply::Simple("OK".into()) {
            break reply;
        }
    };
    assert_eq!(code(&refused), "MISCONF");
    assert_eq!(engine.health(), Health::Full);
    for (lane, key) in keys.iter().enumerate().filter(|(lane, _)| *lane != 2) {
        let reply = call(&engine, &format!("SET {key} 1"));
        assert_eq!(reply, Reply::Simple("OK".into()), "lane {lane} has room");
    }
    assert!(matches!(call(&engine, &format!("GET {}", keys[2])), Reply::Bulk(_)));
    disks[2].fail(Fault::Capacity(u64::MAX));
    let recovered = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        call(&engine, &format!("SET {} 1", keys[2])) == Reply::Simple("OK".into())
    });
    assert!(recovered, "writes are taken again without a restart");
}

#[test]
fn the_number_of_lanes_is_kept_and_each_has_a_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = |lanes| EngineSettings {
        partitions: 16,
        lanes,
        ..EngineSettings::in_directory(folder.path())
    };
    for (lanes, what) in [(3, "power of two"), (0, "power of two"), (32, "power of two")] {
        let error = Engine::open(settings(lanes)).err().expect("refused");
        assert!(error.to_string().contains(what), "{error}");
    }
    let engine = Engine::open(settings(LANES)).expect("open");
    for key in 0..200 {
        call(&engine, &format!("SET key{key} {key}"));
    }
    let digest = engine.digest();
    drop(engine);
    for name in ["log", "log-01", "log-02", "log-03"] {
        assert!(folder.path().join(name).join("0000000000000001.log").exists(), "{name}");
    }
    let error = Engine::open(settings(1)).err().expect("refused");
    assert!(error.to_string().contains("created with 4 lanes"), "{error}");
    let engine = Engine::open(settings(LANES)).expect("open again");
    assert_eq!(engine.digest(), digest);
}

/// Writers of all lanes and transactions within them, while checkpoints trim the logs.
#[test]
fn checkpoints_trim_each_lane() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = || EngineSettings {
        lanes: LANES,
        partitions: 16,
        durability: Durability::None,
        segment_bytes: 64 << 10,
        ..EngineSettings::in_directory(folder.path())
    };
    let engine = Engine::open(settings()).expect("open");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                engine.checkpoint().expect("checkpoint");
            }
        });
        for number in 0..20_000 {
            let key = number % 500;
            call(&engine, &format!("MSET {{k{key}}}a {number} {{k{key}}}b {number}"));
        }
        done.store(true, Ordering::Relaxed);
    });
    settle(&engine);
    engine.checkpoint().expect("checkpoint");
    for lane in engine.report().lanes {
        assert!(lane.log.appended_bytes > 128 << 10, "{lane:?}");
        assert!(lane.log.segments <= 2, "{lane:?}");
    }
    drop(engine);
    let engine = Engine::open(settings()).expect("open again");
    for key in 0..500 {
        let pair = call(&engine, &format!("MGET {{k{key}}}a {{k{key}}}b"));
        let expected = bulk(&(19_500 + key).to_string());
        assert_eq!(pair, Reply::Array(vec![expected.clone(), expected]));
    }
}
