//! kill -9, again and again, with writers at work and a ledger outside the process. Nothing
//! acknowledged is lost, nothing appears twice, and nothing appears that was never sent.
//!
//! `THALWEG_TEST_KILLS` says how often; 200 unless told.

use crate::server::{Connection, Server};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WRITERS: usize = 4;

/// What a writer knows to be acknowledged, and what it has sent at most.
#[derive(Clone, Default)]
struct Ledger {
    acknowledged: u64,
    sent: u64,
}

/// Small checkpoints and segments, so that kills hit those, too.
const SMALL: [&str; 8] = [
    "--checkpoint-log",
    "1MiB",
    "--log-segment",
    "1MiB",
    "--partitions",
    "8",
    "--memory-max",
    "16MiB",
];

#[test]
fn nothing_acknowledged_is_lost_and_nothing_appears_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let kill = |server: &mut Server, _dead: &AtomicBool| server.kill();
    survive(folder.path(), times("THALWEG_TEST_KILLS", 200), kill);
}

/// How often something is done: what a variable of the environment says, or a number.
pub(crate) fn times(variable: &str, unless_told: u64) -> u64 {
    std::env::var(variable).ok().and_then(|times| times.parse().ok()).unwrap_or(unless_told)
}

/// Starts a node again and again, lets writers write for a moment, ends it in a cruel way, and
/// looks whether all is there. `end` may say that the node is dead before it is: what is
/// acknowledged later does not count.
pub(crate) fn survive(data: &Path, rounds: u64, mut end: impl FnMut(&mut Server, &AtomicBool)) {
    let mut ledgers = vec![Ledger::default(); WRITERS];
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    for round in 0..rounds {
        let mut server = Server::start(data, &SMALL);
        check(&server, &ledgers, round);
        let dead = AtomicBool::new(false);
        let (address, dead) = (server.resp, &dead);
        ledgers = std::thread::scope(|scope| {
            let writers: Vec<_> = ledgers
                .drain(..)
                .enumerate()
                .map(|(writer, ledger)| {
                    // Connected before the clock runs: a thread may wait for a processor longer
                    // than the node lives.
                    let connection = Connection::open(address);
                    scope.spawn(move || write(connection, writer, ledger, dead))
                })
                .collect();
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::thread::sleep(Duration::from_millis(20 + random % 120));
            end(&mut server, dead);
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
    }
    let server = Server::start(data, &SMALL);
    check(&server, &ledgers, rounds);
    let total: u64 = ledgers.iter().map(|ledger| ledger.acknowledged).sum();
    assert!(total > rounds * 10, "only {total} writes were acknowledged");
}

/// Writes in pipelines until the node is gone: number n is a counter step, a key, a record and a
/// field, as one.
fn write(
    mut connection: Connection,
    writer: usize,
    mut ledger: Ledger,
    dead: &AtomicBool,
) -> Ledger {
    // Where the node is: it may have taken what it never acknowledged.
    let Ok(counter) = connection.call(&format!("GET counter:{writer}")) else { return ledger };
    let mut next = counter.parse().unwrap_or(0u64) + 1;
    ledger.acknowledged = next - 1;
    ledger.sent = ledger.acknowledged;
    loop {
        let batch = 8;
        let mut bytes = Vec::new();
        for number in next..next + batch {
            let lines = format!(
                "MULTI\r\nINCR counter:{writer}\r\nSET key:{writer}:{number} {number}\r\nXADD \
                 stream:{writer} IDMP w{writer} {number} * n {number}\r\n\
                 HSET hash:{writer} f{} {number}\r\nEXEC\r\n",
                number % 100
            );
            bytes.extend_from_slice(lines.as_bytes());
        }
        ledger.sent = next + batch - 1;
        if connection.send(&bytes).is_err() {
            return ledger;
        }
        for number in next..next + batch {
            for _ in 0..5 {
                if connection.reply().is_err() {
                    return ledger;
                }
            }
            match connection.reply() {
                Ok(_) if dead.load(Ordering::SeqCst) => return ledger,
                Ok(reply) if reply.starts_with(&format!("[{number} OK ")) => {
                    ledger.acknowledged = number
                }
                // Its disk is gone.
                Ok(reply) if reply.starts_with("-MISCONF") || reply.starts_with("-EXECABORT") => {
                    return ledger;
                }
                Ok(reply) => panic!("writer {writer}, number {number}: {reply}"),
                Err(_) => return ledger,
            }
        }
        next += batch;
    }
}

fn check(server: &Server, ledgers: &[Ledger], round: u64) {
    let mut connection = server.connect();
    for (writer, ledger) in ledgers.iter().enumerate() {
        let counter: u64 =
            connection.call(&format!("GET counter:{writer}")).expect("get").parse().unwrap_or(0);
        assert!(
            (ledger.acknowledged..=ledger.sent).contains(&counter),
            "round {round}, writer {writer}: counter {counter}, acknowledged {}, sent {}",
            ledger.acknowledged,
            ledger.sent
        );
        // Each step brought a key and a record, in one transaction: all or none. The last ones in
        // detail, all by count.
        for number in counter.saturating_sub(20)..=counter + 1 {
            let expected =
                if (1..=counter).contains(&number) { number.to_string() } else { "nil".to_owned() };
            let found = connection.call(&format!("GET key:{writer}:{number}")).expect("get");
            assert_eq!(found, expected, "round {round}, writer {writer}, key {number}");
        }
        let length: u64 = connection
            .call(&format!("XLEN stream:{writer}"))
            .expect("xlen")
            .parse()
            .expect("a number");
        assert_eq!(length, counter, "round {round}, writer {writer}: records");
        if round.is_multiple_of(50) || ledger.acknowledged < 2_000 {
            let records = connection.call(&format!("XRANGE stream:{writer} - +")).expect("xrange");
            let numbers: Vec<&str> =
                records.split("[n ").skip(1).filter_map(|part| part.split(']').next()).collect();
            let distinct: HashSet<&str> = numbers.iter().copied().collect();
            assert_eq!(
                distinct.len() as u64,
                counter,
                "round {round}, writer {writer}: a record twice"
            );
        }
        let fields: u64 = connection
            .call(&format!("HLEN hash:{writer}"))
            .expect("hlen")
            .parse()
            .expect("a number");
        assert_eq!(fields, counter.min(100), "round {round}, writer {writer}: fields");
    }
}
