//! SQL through its doors: psql and curl; and views whose node is killed.

use crate::kill::times;
use crate::server::Server;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) fn sql(server: &Server, text: &str) -> String {
    let mut curl = Command::new("curl")
        .args([
            "-s",
            "--max-time",
            "30",
            "-H",
            "accept: text/csv",
            "-H",
            "content-type: text/plain",
        ])
        .args(["--data-binary", "@-"])
        .arg(format!("{}/sql", server.http))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl; scripts/test installs it");
    let mut input = curl.stdin.take().expect("its input");
    input.write_all(text.as_bytes()).expect("write to curl");
    drop(input);
    let output = curl.wait_with_output().expect("curl");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Each request is a session: what it has locked is free when it is answered.
#[test]
fn advisory_locks_end_with_their_request() {
    let server = Server::in_memory();
    for _ in 0..2 {
        let answer = sql(&server, "SELECT pg_try_advisory_lock(7) AS taken");
        assert_eq!(answer, "taken\ntrue");
    }
}

#[test]
fn psql() {
    let server = Server::in_memory();
    let run = |command: &str| server.psql("", command);
    let Some(answer) = run("CREATE STREAM clicks (at TIMESTAMP, page TEXT)") else { return };
    assert_eq!(answer, "CREATE STREAM");
    assert_eq!(run("INSERT INTO clicks VALUES ('2026-01-01', '/')").expect("runs"), "INSERT 0 1");
    assert_eq!(run("SELECT page FROM clicks").expect("runs"), "/");
    assert!(run("\\d").expect("runs").contains("public|clicks|table"));
    assert!(run("\\d clicks").expect("runs").contains("page|text"));
    assert!(run("\\dn").expect("runs").contains("sys"));
    assert!(run("\\l").expect("runs").contains("thalweg"));
    assert!(run("SELECT version()").expect("runs").contains("PostgreSQL"));
    assert!(run("SELECT * FROM nowhere").expect("runs").contains("ERROR"));
    assert_eq!(
        run("BEGIN; INSERT INTO clicks VALUES (NULL, 'x'); ROLLBACK; SELECT count(*) FROM clicks")
            .expect("runs"),
        "BEGIN\nINSERT 0 1\nROLLBACK\n1"
    );
}

#[test]
fn every_format_over_http() {
    let server = Server::in_memory();
    sql(&server, "CREATE STREAM s (n BIGINT NOT NULL, t TEXT)");
    let post = |kind: &str, body: &str| append(&server, "s", kind, body);
    assert!(post("application/json", "{\"n\": 1, \"t\": \"one\"}").contains("\"appended\":1"));
    assert!(
        post("application/json", "[{\"n\": 2}, {\"n\": 3, \"t\": null}]")
            .contains("\"appended\":2")
    );
    assert!(post("application/x-ndjson", "{\"n\": 4}\n{\"n\": 5}\n").contains("\"appended\":2"));
    assert!(post("text/csv", "t,n\nsix,6\n").contains("\"appended\":1"));
    let refused = post("application/x-ndjson", "{\"n\": 7}\n{\"n\": \"eight\"}\n");
    assert!(refused.contains("22P02") && refused.contains("record 2"), "{refused}");
    assert_eq!(sql(&server, "SELECT count(*) AS c, sum(n) AS s FROM s"), "c,s\n6,21");
    let with = |accept: &str| {
        let output = Command::new("curl")
            .args([
                "-s",
                "--max-time",
                "20",
                "-H",
                &format!("accept: {accept}"),
                "-H",
                "content-type: application/json",
            ])
            .args([
                "--data-binary",
                "{\"query\": \"SELECT n, t FROM s WHERE n = $1\", \"parameters\": [6]}",
            ])
            .arg(format!("{}/sql", server.http))
            .output()
            .expect("curl");
        output.stdout
    };
    let text = |accept: &str| String::from_utf8_lossy(&with(accept)).trim().to_owned();
    assert_eq!(text("application/x-ndjson"), "{\"n\":6,\"t\":\"six\"}");
    assert_eq!(text("text/csv"), "n,t\n6,six");
    let json: serde_json::Value = serde_json::from_str(&text("application/json")).expect("JSON");
    assert_eq!(json["rows"][0]["t"], "six");
    assert!(with("application/vnd.apache.arrow.stream").starts_with(&[0xFF; 4]));
}

/// Mistakes, and statements that would take everything: each is answered with a code, and the node
/// goes on.
#[test]
fn nobody_is_disturbed_by_a_bad_statement() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--sql-memory-max", "32MiB"]);
    sql(&server, "CREATE STREAM s (n BIGINT, j JSON)");
    let long = format!("SELECT '{}'", "x".repeat(10 << 20));
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let nested =
        format!("INSERT INTO s (j) VALUES ('{}{}')", "[".repeat(10_000), "]".repeat(10_000));
    for (text, code) in [
        ("SELECT", "42601"),
        (deep.as_str(), "54001"),
        ("INSERT INTO s VALUES (99999999999999999999)", "22"),
        (
            "SELECT array_agg(a.value) FROM generate_series(1, 3000000) a(value), \
             generate_series(1, 1000) b(value)",
            "53200",
        ),
        ("CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM gone", "42P01"),
        ("DROP TABLE s", "42809"),
    ] {
        let answer = sql(&server, text);
        let shown = &answer[..answer.len().min(300)];
        assert!(
            answer.contains(&format!("\"code\":\"{code}")),
            "{}: {shown}",
            &text[..text.len().min(60)]
        );
    }
    // Deep JSON is JSON; what looks into it must not fall over.
    sql(&server, &nested);
    sql(&server, "SELECT json_get(j, 0), json_length(j), j->0->0 FROM s");
    assert!(sql(&server, &long).len() > 10 << 20);
    assert_eq!(sql(&server, "SELECT 1 AS one"), "one\n1");
}

/// Kills in the middle of batches: after each, every view equals its recomputation.
#[test]
fn views_survive_kills() {
    /// Each kill is followed by a recomputation, which costs more the longer the stream is; it
    /// begins anew after so many.
    const ONE_STREAM: u64 = 250;
    let kills = times("THALWEG_TEST_VIEW_KILLS", 25);
    for first in (0..kills).step_by(ONE_STREAM as usize) {
        kill_over_views(first..kills.min(first + ONE_STREAM));
    }
}

const KILLED_VIEWS: [&str; 4] = [
    "SELECT k, count(*) AS c, sum(n) AS s FROM e GROUP BY k",
    "SELECT window_start, k, sum(n) AS s FROM TUMBLE(e, ts, INTERVAL '10' SECOND) GROUP BY \
     window_start, k",
    "SELECT window_start, count(*) AS c FROM HOP(e, ts, INTERVAL '10' SECOND, INTERVAL '1' MINUTE) \
     GROUP BY window_start",
    "SELECT k, window_start, window_end, count(*) AS c FROM SESSION(e, ts, INTERVAL '2' SECOND, k) \
     GROUP BY k, window_start, window_end",
];

/// Kills a server over one stream and its views again and again.
fn kill_over_views(rounds: std::ops::Range<u64>) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--view-checkpoint", "15ms"];
    let mut server = Server::start(folder.path(), &options);
    sql(
        &server,
        "CREATE STREAM e (ts TIMESTAMP, k TEXT, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5' \
         SECOND) \
                  PARTITION BY k WITH (partitions = 2, segment_records = 400)",
    );
    for (number, view) in KILLED_VIEWS.iter().enumerate() {
        let made = sql(
            &server,
            &format!("CREATE MATERIALIZED VIEW v{number} WITH (batch_rows = 50) AS {view}"),
        );
        assert!(made.contains("CREATE"), "{made}");
    }
    let mut second = 0i64;
    for round in rounds {
        for _ in 0..4 {
            append_records(&server, &mut second);
        }
        std::thread::sleep(Duration::from_millis(round * 7 % 30));
        server.kill();
        server = Server::start(folder.path(), &options);
        wait_for_live_views(&server, round);
        for (number, query) in KILLED_VIEWS.iter().enumerate() {
            let ordered =
                |source: &str| sql(&server, &format!("SELECT * FROM ({source}) q ORDER BY 1, 2"));
            let view = ordered(&format!("SELECT * FROM v{number}"));
            assert_eq!(view, ordered(query), "round {round}: {query}");
        }
    }
}

/// What the node says when records of a media type are appended to a stream.
fn append(server: &Server, stream: &str, kind: &str, body: &str) -> String {
    let output = Command::new("curl")
        .args(["-s", "--max-time", "20", "-H", &format!("content-type: {kind}")])
        .args(["--data-binary", body])
        .arg(format!("{}/streams/{stream}", server.http))
        .output()
        .expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Appends 300 records as one batch; every forty of them, it is a second later.
fn append_records(server: &Server, second: &mut i64) {
    let lines: Vec<String> = (0..300)
        .map(|at| {
            *second += i64::from(at % 40 == 0);
            format!(
                "{{\"ts\":{},\"k\":\"k{}\",\"n\":{}}}",
                1_768_435_200_000 + *second * 1_000,
                at % 7,
                at
            )
        })
        .collect();
    let text = append(server, "e", "application/x-ndjson", &lines.join("\n"));
    assert!(text.contains("\"appended\":300"), "{text}");
}

fn wait_for_live_views(server: &Server, round: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while sql(server, "SELECT count(*) AS c FROM sys.views WHERE lag > 0 OR state <> 'live'")
        != "c\n0"
    {
        let views = sql(server, "SELECT view, state, lag, error FROM sys.views");
        assert!(Instant::now() < deadline, "round {round}: {views}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A page of another site must not run statements in the name of whoever looks at it, and SQL
/// writes no files.
#[test]
fn neither_other_sites_nor_files() {
    let server = Server::in_memory();
    let post = |origin: &str| {
        let output = Command::new("curl")
            .args(["-s", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["-H", &format!("origin: {origin}"), "-H", "content-type: text/plain"])
            .args(["--data-binary", "SELECT 1"])
            .arg(format!("{}/sql", server.http))
            .output()
            .expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(post("http://evil.example"), "403");
    assert_eq!(post("null"), "403");
    assert_eq!(post(&server.http), "200");
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("out.csv");
    let answer = sql(&server, &format!("COPY (SELECT 1) TO '{}' STORED AS CSV", target.display()));
    assert!(answer.contains("0A000"), "{answer}");
    assert!(!target.exists());
}

/// Two thousand connections that do nothing keep nobody waiting.
#[test]
fn idle_connections_disturb_nobody() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::io::{Read, Write};
    const IDLE: usize = 2_000;
    let limit = getrlimit(Resource::Nofile);
    let wanted = Some(limit.maximum.unwrap_or(65_536).min(65_536));
    setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: limit.maximum })
        .expect("a limit");
    let server = Server::in_memory();
    let address = server.postgres.expect("the Postgres door");
    let parameters = b"user\0anybody\0database\0thalweg\0\0";
    let mut startup = ((parameters.len() + 8) as u32).to_be_bytes().to_vec();
    startup.extend(196_608u32.to_be_bytes());
    startup.extend(parameters);
    let open = || {
        let mut stream = std::net::TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        stream.write_all(&startup).expect("send");
        stream
    };
    let mut idle: Vec<_> = (0..IDLE).map(|_| open()).collect();
    for stream in &mut idle {
        // Each is let in, up to "ready for query": `Z`, its length, `I`.
        let mut seen = Vec::new();
        while !seen.ends_with(b"Z\0\0\0\x05I") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            seen.push(byte[0]);
        }
    }
    let clients = sql(&server, "SELECT count(*) AS c FROM sys.clients WHERE door = 'postgres'");
    assert_eq!(clients, format!("c\n{IDLE}"));
    assert_eq!(sql(&server, "SELECT 1 AS one"), "one\n1");
    drop(idle);
    let deadline = Instant::now() + Duration::from_secs(30);
    while sql(&server, "SELECT count(*) AS c FROM sys.clients WHERE door = 'postgres'") != "c\n0" {
        assert!(Instant::now() < deadline, "connections stay behind");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Somebody has written into the catalog's own key. The node starts, and everything else is there.
#[test]
fn a_catalog_that_others_wrote_to_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), &[]);
    sql(&server, "CREATE TABLE good (id int PRIMARY KEY); INSERT INTO good VALUES (7)");
    sql(&server, "CREATE TABLE bad (id int PRIMARY KEY); INSERT INTO bad VALUES (7)");
    let mut keys = server.connect();
    let written = keys.call("HSET thalweg:catalog bad {no-json").expect("the node answers");
    assert_eq!(written, "0");
    server.terminate();
    let mut server = Server::start(folder.path(), &[]);
    assert_eq!(sql(&server, "SELECT id FROM good"), "id\n7");
    for statement in ["SELECT id FROM bad", "CREATE TABLE bad (id int)"] {
        let answer = sql(&server, statement);
        assert!(answer.contains("XX001") && answer.contains("thalweg:catalog"), "{answer}");
    }
    let mut keys = server.connect();
    assert_eq!(keys.call("DEL thalweg:catalog").expect("the node answers"), "1");
    assert_eq!(keys.call("SET thalweg:catalog text").expect("the node answers"), "OK");
    server.terminate();
    let server = Server::start(folder.path(), &[]);
    let answer = sql(&server, "CREATE TABLE other (id int)");
    assert!(answer.contains("wrong kind of value"), "{answer}");
    assert_eq!(sql(&server, "SELECT 1 AS one"), "one\n1");
}
