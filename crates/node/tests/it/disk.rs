//! A node on a disk that fails: nothing acknowledged is lost, and no reply says what is not true.

use crate::support::{bulk, call, on_disk, on_disks};
use thalweg_base::fs::{Fault, SimulatedFs};
use thalweg_machine::Reply;
use thalweg_node::{Engine, Health};

/// Two keys of one lane and two partitions.
fn names(engine: &Engine) -> [String; 2] {
    let place = |name: &str| {
        let partition = engine.partition_of(name.as_bytes());
        (partition, engine.lane_of_partition(partition as u16))
    };
    let left = "left".to_owned();
    let (partition, lane) = place(&left);
    let mut others = (0..).map(|number| format!("right{number}"));
    let right = others.find(|name| place(name).0 != partition && place(name).1 == lane);
    [left, right.expect("a lane has several partitions")]
}

#[test]
fn power_cuts_under_load_keep_what_was_acknowledged() {
    for seed in 0..200 {
        let fs = SimulatedFs::new(seed);
        // Several lanes share the disk; the keys are in one of them.
        let disks = vec![fs.clone(); if seed < 150 { 1 } else { 4 }];
        let mut acknowledged = 0u64;
        fs.fail(Fault::PowerCutAfter(seed % 120));
        if let Ok(engine) = on_disks(&disks) {
            for number in 1..=100u64 {
                let names = names(&engine);
                let [left, right] = &names;
                let pair = format!("MSET {left} {number} {right} {number} {{{left}}}:{number} x");
                let args = crate::support::words(&pair);
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                match engine.call(&args) {
                    Ok(Reply::Simple(_)) => acknowledged = number,
                    _ => break,
                }
            }
        }
        fs.power_cut();
        let engine = on_disks(&disks).expect("recovers");
        let names = names(&engine);
        let [left, right] = names.each_ref().map(|name| call(&engine, &format!("GET {name}")));
        assert_eq!(left, right, "seed {seed}: a transaction over two partitions was torn");
        let found: u64 = left
            .as_bytes()
            .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
            .unwrap_or(0);
        assert!(found >= acknowledged, "seed {seed}: {found} < {acknowledged}");
        for number in 1..=acknowledged {
            let last = format!("EXISTS {{{}}}:{number}", names[0]);
            assert_eq!(call(&engine, &last), Reply::Integer(1));
        }
    }
}

#[test]
fn after_a_failed_fsync_no_reply_is_given() {
    let fs = SimulatedFs::new(1);
    let engine = on_disk(&fs).expect("open");
    call(&engine, "SET before 1");
    fs.fail(Fault::SyncErrorAfter(0));
    assert!(engine.call(&[b"SET", b"during", b"1"]).is_err());
    assert_eq!(engine.health(), Health::Failed);
    let refused = engine.call(&[b"SET", b"after", b"1"]).expect("an answer");
    assert!(matches!(refused, Reply::Error(error) if error.code == "MISCONF"));
    drop(engine);
    fs.power_cut();
    let engine = on_disk(&fs).expect("open again");
    assert_eq!(call(&engine, "GET before"), bulk("1"));
    assert_eq!(call(&engine, "GET after"), Reply::Null);
}

#[test]
fn a_full_disk_refuses_writes_answers_reads_and_recovers() {
    let fs = SimulatedFs::new(2);
    fs.fail(Fault::Capacity(5 * (64 << 10)));
    let engine = on_disk(&fs).expect("open");
    let mut stored = 0;
    let mut noise = 1u64;
    let refusal = loop {
        // Incompressible, or the disk would never fill.
        let value: String = (0..500)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'a' + (noise >> 60) as u8)
            })
            .collect();
        match call(&engine, &format!("SET key{stored} {value}")) {
            Reply::Simple(_) => stored += 1,
            other => break other,
        }
    };
    assert!(matches!(&refusal, Reply::Error(error) if error.code == "MISCONF"), "{refusal:?}");
    assert_eq!(engine.health(), Health::Full);
    assert!(matches!(call(&engine, "GET key0"), Reply::Bulk(_)), "reads go on");
    fs.fail(Fault::Capacity(u64::MAX));
    let recovered = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        call(&engine, "SET again 1") == Reply::Simple("OK".into())
    });
    assert!(recovered, "writes are taken again without a restart");
    drop(engine);
    fs.power_cut();
    let engine = on_disk(&fs).expect("open again");
    assert_eq!(call(&engine, "GET again"), bulk("1"));
    assert_eq!(call(&engine, "DBSIZE"), Reply::Integer(stored + 1));
}
