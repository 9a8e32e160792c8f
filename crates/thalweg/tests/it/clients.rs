//! Stock clients: redis-cli, redis-benchmark, redis-py. `scripts/test` installs them.

use crate::server::Server;
use std::process::Command;

/// Runs a program that must be there; `None` with a message where it is not.
fn run(program: &str, args: &[&str]) -> Option<String> {
    match Command::new(program).args(args).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success(),
                "{program} {args:?}: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(text)
        }
        Err(error) => {
            eprintln!("skipped: {program}: {error}; run scripts/test, which installs it");
            None
        }
    }
}

#[test]
fn redis_cli() {
    let server = Server::in_memory();
    let port = server.resp.port().to_string();
    let cli = |args: &[&str]| run("redis-cli", &[&["-p", &port], args].concat());
    let Some(answer) = cli(&["SET", "greeting", "hello world"]) else { return };
    assert_eq!(answer.trim(), "OK");
    assert_eq!(cli(&["-3", "GET", "greeting"]).expect("runs").trim(), "hello world");
    assert_eq!(cli(&["--scan"]).expect("runs").trim(), "greeting");
    assert!(cli(&["INFO", "server"]).expect("runs").contains("thalweg_version"));
    assert!(cli(&["COMMAND", "DOCS", "get"]).expect("runs").contains("Gives a string"));
    assert!(cli(&["CLUSTER", "SLOTS"]).expect("runs").contains("16383"));
    assert_eq!(
        cli(&["COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"]).expect("runs").trim(),
        "a\nb"
    );
    assert!(cli(&["CONFIG", "GET", "max*"]).expect("runs").contains("maxclients"));
    assert!(cli(&["LATENCY", "DOCTOR"]).expect("runs").contains("median"));
}

#[test]
fn redis_benchmark() {
    let server = Server::in_memory();
    let port = server.resp.port().to_string();
    let args = ["-p", &port, "-n", "20000", "-P", "16", "-q", "-t", "set,get,incr,hset,mset"];
    if let Some(report) = run("redis-benchmark", &args) {
        assert!(report.contains("GET") && !report.contains("Error"), "{report}");
    }
}

#[test]
fn redis_py() {
    let Ok(python) = std::env::var("THALWEG_TEST_PYTHON") else {
        eprintln!("skipped: run scripts/test, which installs redis-py");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/redis_py.py");
    run(&python, &[script, &server.resp.port().to_string()]);
}
