//! TLS, as stock clients speak it. `scripts/test` installs them.

use crate::serve::fails;
use crate::server::Server;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than a node takes to see new files.
const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate for this machine that signs itself, and its key.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        files.renew();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// Puts another certificate in the place of this one.
    fn renew(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        for (name, text) in
            [("certificate.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())]
        {
            std::fs::write(self.path("new"), text).expect("write");
            std::fs::rename(self.path("new"), self.path(name)).expect("rename");
        }
    }

    /// A node that keeps nothing, with TLS at every door.
    fn start(&self, more: &[&str]) -> Server {
        let (certificate, key) = (self.text("certificate.pem"), self.text("key.pem"));
        let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
        let addresses = ["--resp-tls", "127.0.0.1:0", "--http-tls", "127.0.0.1:0"];
        Server::start(Path::new("memory"), &[&tls, &addresses[..], more].concat())
    }
}

/// Whether a program ended well, and all that it said; nothing where it is not there.
fn run(program: &str, args: &[&str], password: &str) -> Option<(bool, String)> {
    let output = Command::new(program).args(args).env("PGPASSWORD", password).output();
    match output {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            Some((output.status.success(), text))
        }
        Err(error) => {
            eprintln!("skipped: {program}: {error}; run scripts/test, which installs it");
            None
        }
    }
}

fn psql(server: &Server, more: &str, statement: &str) -> Option<(bool, String)> {
    let port = server.postgres.expect("a door").port();
    let to = "host=localhost hostaddr=127.0.0.1 user=anybody dbname=thalweg";
    run("psql", &["-At", "-c", statement, &format!("{to} port={port} {more}")], "opensesame")
}

#[test]
fn redis_cli_speaks_tls() {
    let files = Files::new();
    let server = files.start(&["--password", "opensesame"]);
    let port = server.resp_tls.expect("a second address").port().to_string();
    let certificate = files.text("certificate.pem");
    let tls = ["-p", &port, "--tls", "--no-auth-warning", "-a", "opensesame"];
    let trusted = |args: &[&str]| {
        run("redis-cli", &[&tls[..], &["--cacert", &certificate], args].concat(), "")
    };
    let Some((is_well, answer)) = trusted(&["SET", "k", "v"]) else { return };
    assert!(is_well && answer == "OK", "{answer}");
    assert_eq!(trusted(&["-3", "GET", "k"]).expect("runs").1, "v");
    let (_, answer) = run("redis-cli", &[&tls[..], &["GET", "k"]].concat(), "").expect("runs");
    assert!(answer.contains("certificate"), "nobody has said that it is to be trusted: {answer}");
    let (_, answer) = run("redis-cli", &["-p", &port, "PING"], "").expect("runs");
    assert!(!answer.contains("PONG") && !answer.contains("NOAUTH"), "{answer}");
    let (_, answer) = trusted(&["CONFIG", "GET", "tls-*"]).expect("runs");
    assert!(answer.contains("tls-cert-file") && answer.contains(&certificate), "{answer}");
}

#[test]
fn curl_speaks_tls() {
    let files = Files::new();
    let server = files.start(&[]);
    let https = server.http_tls.clone().expect("a second address");
    assert!(https.starts_with("https://"), "{https}");
    let certificate = files.text("certificate.pem");
    let health = format!("{https}/healthz");
    let Some((is_well, answer)) = run("curl", &["-sS", "--cacert", &certificate, &health], "")
    else {
        return;
    };
    assert!(is_well && answer == "ok", "{answer}");
    let (is_well, answer) = run("curl", &["-sS", &health], "").expect("runs");
    assert!(!is_well && answer.contains("certificate"), "{answer}");
    let plain = health.replace("https", "http");
    assert!(!run("curl", &["-sS", &plain], "").expect("runs").0, "it speaks TLS only");
}

#[test]
fn psql_speaks_tls_and_does_without() {
    let files = Files::new();
    let server = files.start(&["--password", "opensesame"]);
    let certificate = files.text("certificate.pem");
    let verified = format!("sslmode=verify-full sslrootcert={certificate}");
    for mode in [verified.as_str(), "sslmode=require", "sslmode=prefer", "sslmode=disable"] {
        let Some((is_well, answer)) = psql(&server, mode, "SELECT 40 + 2") else { return };
        assert!(is_well && answer == "42", "{mode}: {answer}");
    }
    let large = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)";
    let (_, answer) = psql(&server, "sslmode=require", large).expect("runs");
    assert_eq!(answer.len(), 20_000 * 1_001 - 1);
    let without = Server::in_memory();
    let (_, answer) = psql(&without, "sslmode=require", "SELECT 1").expect("runs");
    assert!(answer.contains("does not support SSL"), "{answer}");
    assert_eq!(psql(&without, "sslmode=prefer", "SELECT 1").expect("runs").1, "1");
}

#[test]
fn python_clients_speak_tls() {
    let Ok(python) = std::env::var("THALWEG_TEST_PYTHON") else {
        eprintln!("skipped: run scripts/test, which installs redis-py and psycopg");
        return;
    };
    let files = Files::new();
    let server = files.start(&[]);
    let script = "
import sys, redis, psycopg
resp, postgres, certificate = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = redis.Redis('localhost', resp, ssl=True, ssl_ca_certs=certificate, protocol=3)
value = b'x' * (8 << 20)
client.set('large', value)
assert client.get('large') == value
with client.pipeline(transaction=False) as pipeline:
    for number in range(20000):
        pipeline.set(f'k{number}', number)
    assert all(pipeline.execute())
with psycopg.connect(f'host=localhost port={postgres} user=a dbname=thalweg sslmode=verify-full '
                     f'sslrootcert={certificate}') as connection:
    assert connection.pgconn.ssl_in_use
    assert connection.execute('SELECT %s::int + 1', (41,)).fetchone() == (42,)
";
    let resp = server.resp_tls.expect("a second address").port().to_string();
    let postgres = server.postgres.expect("a door").port().to_string();
    let args = ["-c", script, &resp, &postgres, &files.text("certificate.pem")];
    let (is_well, text) = run(&python, &args, "").expect("runs");
    assert!(is_well, "{text}");
}

/// Nobody restarts the node, and nobody tells it.
#[test]
fn a_renewed_certificate_is_in_use_soon() {
    let files = Files::new();
    let server = files.start(&[]);
    let health = format!("{}/healthz", server.http_tls.clone().expect("a second address"));
    let certificate = files.text("certificate.pem");
    let ask = || run("curl", &["-sS", "--cacert", &certificate, &health], "");
    let Some((is_well, answer)) = ask() else { return };
    assert!(is_well, "{answer}");
    files.renew();
    let (mut others, deadline) = (0, Instant::now() + PATIENCE);
    while !ask().expect("runs").0 {
        others += 1;
        assert!(Instant::now() < deadline, "the old certificate is still in use");
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("{others} connections were shown the old one");
    let mode = format!("sslmode=verify-full sslrootcert={certificate}");
    if let Some((is_well, answer)) = psql(&server, &mode, "SELECT 1") {
        assert!(is_well, "{answer}");
    }
}

#[test]
fn files_that_do_not_fit_are_refused_with_the_setting() {
    let (files, other) = (Files::new(), Files::new());
    let certificate = files.text("certificate.pem");
    let (key, others_key) = (files.text("key.pem"), other.text("key.pem"));
    let cases: &[(&[&str], &[&str])] = &[
        (&["--tls-certificate", &certificate], &["--tls-certificate needs", "--tls-key"]),
        (&["--tls-key", &key], &["--tls-key needs", "--tls-certificate"]),
        (&["--resp-tls", "127.0.0.1:0"], &["--resp-tls 127.0.0.1:0 needs", "--tls-certificate"]),
        (&["--http-tls", "127.0.0.1:0"], &["--http-tls 127.0.0.1:0 needs", "--tls-key"]),
        (
            &["--tls-certificate", "/nowhere.pem", "--tls-key", &key],
            &["the certificate in /nowhere.pem cannot be used", "--tls-certificate names"],
        ),
        (
            &["--tls-certificate", &certificate, "--tls-key", &certificate],
            &["there is no key in PEM in it", "--tls-key names"],
        ),
        (&["--tls-certificate", &certificate, "--tls-key", &others_key], &["KeyMismatch"]),
    ];
    for (args, words) in cases {
        let message = fails(&[&["serve", "--data", "memory"], *args].concat());
        for word in *words {
            assert!(message.contains(word), "{args:?}: {message}");
        }
    }
}

/// A client that is connected when the node stops learns why its connection has ended.
#[test]
fn postgres_clients_are_told_that_the_node_stops() {
    let files = Files::new();
    let mut server = files.start(&[]);
    let port = server.postgres.expect("a door").port();
    let to = format!("host=127.0.0.1 port={port} user=a dbname=thalweg sslmode=require");
    let child = Command::new("psql")
        .args(["-At", &to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no psql; run scripts/test, which installs it");
        return;
    };
    let mut input = child.stdin.take().expect("its input");
    input.write_all(b"SET application_name = 'idle';\n").expect("send");
    let deadline = Instant::now() + PATIENCE;
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle'";
    while psql(&server, "sslmode=require", idle).expect("runs").1 != "1" {
        assert!(Instant::now() < deadline, "it does not connect");
    }
    assert_eq!(server.terminate(), Some(0));
    input.write_all(b"SELECT 1;\n").expect("send");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("terminating connection due to administrator command"), "{text}");
}
