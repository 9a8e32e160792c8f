//! What the node's tests share: random histories, and engines to run them on.

use std::sync::Arc;
use thalweg_base::fs::SimulatedFs;
use thalweg_log::{LocalLog, LocalLogSettings, Log};
use thalweg_machine::Reply;
use thalweg_node::{Durability, Engine, EngineError, EngineSettings, Gate, Gates, Session};

/// A command as its words.
pub(crate) type Words = Vec<Vec<u8>>;

pub(crate) fn words(line: &str) -> Words {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

pub(crate) fn call(engine: &Engine, line: &str) -> Reply {
    call_words(engine, &words(line))
}

pub(crate) fn call_words(engine: &Engine, words: &[Vec<u8>]) -> Reply {
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    engine.call(&args).expect("the engine works")
}

pub(crate) fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

/// A seeded row of commands over few keys of all types, so that they meet often.
pub(crate) struct History {
    random: u64,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    pub(crate) fn next(&mut self) -> Words {
        let key = self.below(12);
        let (s, h, x) = (format!("s{key}"), format!("h{}", key % 4), format!("x{}", key % 3));
        let (n, f) = (self.below(1_000), self.below(6));
        let line = match self.below(30) {
            0..=3 => format!("SET {s} v{n}"),
            4 => format!("SET {s} v{n} PX 60000000"),
            5 => format!("INCRBY n{key} {n}"),
            6 => format!("APPEND {s} {n}"),
            7 => format!("SETRANGE {s} {} z{n}", n % 20),
            8 => format!("DEL {s} {h}"),
            9 => format!("RENAME {s} s{}", (key + 1) % 12),
            10 => format!("PERSIST {s}"),
            11..=13 => format!("HSET {h} f{f} {n} g{n} {f}"),
            14 => format!("HDEL {h} f{f} g{n}"),
            15 => format!("HINCRBY {h} c {n}"),
            16..=18 => format!("XADD {x} * f{f} {n}"),
            19 => format!("XADD {x} IDMP p {f} * i {n}"),
            20 => format!("XTRIM {x} MAXLEN {}", n % 30),
            21 => format!("XGROUP CREATE {x} g{} 0 MKSTREAM", f % 2),
            22 => format!("XREADGROUP GROUP g{} c{} COUNT 3 STREAMS {x} >", f % 2, n % 2),
            23 => format!("XAUTOCLAIM {x} g0 c{} 0 0 COUNT 2", n % 2),
            24 => format!("MSET {s} {n} other{f} {n}"),
            25 => format!("COPY {h} h{} REPLACE", f % 4),
            26 => format!("GETEX {s} EX 100000"),
            27 => format!("XGROUP DESTROY {x} g{}", f % 2),
            28 if n < 15 => "FLUSHALL".to_owned(),
            28 => format!("DEL {x}"),
            _ => format!("SET {h} now-a-string-{n}"),
        };
        words(&line)
    }

    /// Runs some of the history, part of it in transactions.
    pub(crate) fn run(&mut self, engine: &Engine, commands: usize) {
        let mut session = Session::default();
        let mut open = false;
        for _ in 0..commands {
            if !open && self.below(20) == 0 {
                open = true;
                engine.call_in(&mut session, &[b"MULTI"]).expect("multi");
            }
            let words = self.next();
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            engine.call_in(&mut session, &args).expect("the engine works");
            if open && self.below(4) == 0 {
                open = false;
                engine.call_in(&mut session, &[b"EXEC"]).expect("exec");
            }
        }
        if open {
            engine.call_in(&mut session, &[b"EXEC"]).expect("exec");
        }
    }
}

/// Everything in a node, read key by key, so that keys on disk are fetched. Comparable between
/// nodes.
pub(crate) fn contents(engine: &Engine) -> Vec<(Vec<u8>, Vec<Reply>)> {
    let mut keys: Vec<Vec<u8>> = call(engine, "KEYS *")
        .elements()
        .iter()
        .filter_map(|key| key.as_bytes().map(<[u8]>::to_vec))
        .collect();
    keys.sort();
    keys.into_iter()
        .map(|key| {
            let name = String::from_utf8(key.clone()).expect("keys of tests are text");
            let kind = call(engine, &format!("TYPE {name}"));
            let mut about = vec![kind.clone(), call(engine, &format!("PEXPIRETIME {name}"))];
            match kind.as_bytes().unwrap_or_default() {
                b"string" => about.push(call(engine, &format!("GET {name}"))),
                b"hash" => {
                    let Reply::Map(mut pairs) = call(engine, &format!("HGETALL {name}")) else {
                        panic!("HGETALL gives pairs");
                    };
                    pairs.sort_by_key(|(field, _)| field.as_bytes().map(<[u8]>::to_vec));
                    about.push(Reply::Map(pairs));
                }
                _ => about.push(call(engine, &format!("XINFO STREAM {name} FULL COUNT 0"))),
            }
            (key, about)
        })
        .collect()
}

/// Compares what two nodes hold and names the keys that differ.
pub(crate) fn assert_same_contents(
    before: &[(Vec<u8>, Vec<Reply>)],
    after: &[(Vec<u8>, Vec<Reply>)],
    round: u64,
) {
    let missing: Vec<_> = before.iter().filter(|key| !after.contains(key)).collect();
    let new: Vec<_> = after.iter().filter(|key| !before.contains(key)).collect();
    assert!(
        missing.is_empty() && new.is_empty() && before.len() == after.len(),
        "round {round}: {} and {} keys; gone: {missing:?}; new: {new:?}",
        before.len(),
        after.len(),
    );
}

/// What everything in a node waits for.
pub(crate) fn last_gates(engine: &Engine) -> Gates {
    let mut gates = Gates::NONE;
    for partition in engine.report().partitions {
        let lane = engine.lane_of_partition(partition.number).expect("a partition has a lane");
        gates.add(Gate::new(lane, partition.last_lsn));
    }
    gates
}

/// Waits until all that was decided is in the log.
pub(crate) fn settle(engine: &Engine) {
    let gates = last_gates(engine);
    while !gates.iter().all(|gate| engine.settled_lsn(gate.lane()) >= Some(gate.lsn())) {
        engine.flush();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A key of a lane, the first of those that begin so.
pub(crate) fn key_of_lane(engine: &Engine, prefix: &str, lane: u16) -> String {
    let mut names = (0..).map(|number| format!("{prefix}{number}"));
    let is_there = |name: &String| {
        let partition = engine.partition_of(name.as_bytes());
        engine.lane_of_partition(partition as u16) == Some(lane)
    };
    names.find(is_there).expect("each lane has keys")
}

/// The code of an error reply.
pub(crate) fn code(reply: &Reply) -> &'static str {
    match reply {
        Reply::Error(error) => error.code,
        other => panic!("no error: {other:?}"),
    }
}

/// A node of one lane with its log on a simulated disk, without a checkpoint store.
pub(crate) fn on_disk(fs: &SimulatedFs) -> Result<Engine, EngineError> {
    on_disks(std::slice::from_ref(fs))
}

/// A node with a lane, and its log, on each of these disks.
pub(crate) fn on_disks(disks: &[SimulatedFs]) -> Result<Engine, EngineError> {
    let open = |(number, fs): (usize, &SimulatedFs)| -> Result<Arc<dyn Log>, EngineError> {
        let settings = LocalLogSettings {
            directory: format!("log{number}").into(),
            segment_bytes: 64 << 10,
            compress_min_bytes: 2_048,
        };
        Ok(Arc::new(LocalLog::open(Arc::new(fs.clone()), settings)?))
    };
    let logs = disks.iter().enumerate().map(open).collect::<Result<Vec<_>, _>>()?;
    let settings = EngineSettings {
        durability: Durability::Sync,
        partitions: 4 * disks.len() as u16,
        lanes: disks.len() as u16,
        ..EngineSettings::in_memory()
    };
    Engine::open_with_logs(settings, logs)
}
