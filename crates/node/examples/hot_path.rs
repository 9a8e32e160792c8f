//! SET and GET on one thread, as an event loop runs them: for counting instructions.
//!
//! `valgrind --tool=callgrind --toggle-collect='*measured*' target/release/examples/hot_path`

use std::hint::black_box;
use std::time::Instant;
use thalweg_node::{Durability, Engine, EngineSettings, Executed, Session};

const KEYS: u64 = 1_000;

/// Counts requests, and sees to it that they are looked at.
#[derive(Default)]
struct Seen {
    carried_out: u64,
    settled: u64,
}

#[inline(never)]
fn measured(engine: &Engine, requests: &[[&[u8]; 3]], words: usize, rounds: u64) -> Seen {
    let (mut session, mut seen) = (Session::default(), Seen::default());
    let mut answer = thalweg_machine::ReplyBuilder::default();
    for _ in 0..rounds {
        for request in requests {
            let args = request.get(..words).unwrap_or_default();
            let executed = engine.execute(&mut session, args, 1_700_000_000_000, &mut answer);
            if let Executed::Done(_, gate) = executed {
                seen.carried_out += 1;
                seen.settled += u64::from(engine.is_settled(&gate));
            }
            let _reply = black_box(std::mem::take(&mut answer).finish());
        }
    }
    seen
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let settings = EngineSettings { durability: Durability::Sync, ..EngineSettings::in_memory() };
    let engine = Engine::open(settings)?;
    let keys: Vec<_> = (0..KEYS).map(|number| format!("key:{number:012}").into_bytes()).collect();
    for (name, words) in [("SET", 3), ("GET", 2)] {
        let requests: Vec<[&[u8]; 3]> =
            keys.iter().map(|key| [name.as_bytes(), key.as_slice(), b"a value"]).collect();
        let started = Instant::now();
        let seen = measured(&engine, &requests, words, rounds);
        let nanoseconds = started.elapsed().as_nanos() as u64 / (rounds * KEYS);
        println!(
            "{name}: {nanoseconds} ns each, {} carried out, {} settled at once",
            seen.carried_out, seen.settled
        );
    }
    Ok(())
}
