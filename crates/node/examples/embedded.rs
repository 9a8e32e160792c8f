//! Thalweg as a library: a durable node inside a program, no server and no sockets.
//!
//! `cargo run --release -p thalweg-node --example embedded`

use thalweg_node::{Engine, EngineSettings, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join("thalweg-embedded-example");
    let engine = Engine::open(EngineSettings::in_directory(&directory))?;

    // Every call returns when its outcome is durable.
    engine.call(&[b"INCR", b"starts"])?;
    let starts = engine.call(&[b"GET", b"starts"])?;
    println!("started {} times", String::from_utf8_lossy(starts.as_bytes().unwrap_or_default()));

    // Several commands as one.
    let mut session = Session::default();
    engine.call_in(&mut session, &[b"MULTI"])?;
    engine.call_in(&mut session, &[b"XADD", b"log", b"*", b"event", b"started"])?;
    engine.call_in(&mut session, &[b"HINCRBY", b"totals", b"events", b"1"])?;
    let outcome = engine.call_in(&mut session, &[b"EXEC"])?;
    println!("one transaction, {} results", outcome.elements().len());

    let report = engine.report();
    println!(
        "{} keys, log of {} bytes, settled LSN {}",
        report.total(|p| p.keys),
        report.log.size_bytes,
        report.lanes.first().map_or(0, |lane| lane.settled_lsn)
    );
    Ok(())
}
