//! Starting and ending the program.

use crate::server::{PROGRAM, Server};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

pub(crate) fn fails(args: &[&str]) -> String {
    fails_with(args, &[])
}

/// What the program says where it does not work. A node that works would serve for ever: it ends
/// at its first word.
pub(crate) fn fails_with(args: &[&str], variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(PROGRAM)
        .args(args)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    let out = child.stdout.take().expect("its output");
    let first = BufReader::new(out).lines().next();
    if first.is_some_and(|line| line.is_ok_and(|line| line.starts_with("ready "))) {
        child.kill().expect("kill");
        child.wait().expect("wait");
        panic!("{args:?} went through");
    }
    let output = child.wait_with_output().expect("wait");
    assert!(!output.status.success(), "{args:?} went through");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_public_address_without_a_password_is_refused() {
    let message = fails(&["serve", "--data", "memory", "--resp", "0.0.0.0:0"]);
    assert!(message.contains("--password"), "{message}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for args in [
        ["--durability", "maybe"],
        ["--memory-max", "1KiB"],
        ["--eviction", "random"],
        ["--config", "/nowhere"],
    ] {
        let message = fails(&[&["serve", "--data", "memory"], args.as_slice()].concat());
        assert!(message.starts_with("thalweg: "), "{message}");
    }
}

#[test]
fn sigterm_ends_the_node_when_everything_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let mut pipeline = String::new();
    for number in 0..5_000 {
        pipeline.push_str(&format!("SET k{number} {number}\r\n"));
    }
    connection.send(pipeline.as_bytes()).expect("send");
    assert_eq!(connection.reply().expect("an answer"), "OK");
    assert_eq!(server.terminate(), Some(0));
    let mut acknowledged = 1;
    while connection.reply().is_ok() {
        acknowledged += 1;
    }
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let kept: usize = connection.call("DBSIZE").expect("dbsize").parse().expect("a number");
    assert!(kept >= acknowledged, "{kept} < {acknowledged}");
}

#[test]
fn a_second_node_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Server::start(folder.path(), &[]);
    let data = folder.path().to_str().expect("text");
    let message = fails(&["serve", "--data", data, "--resp", "127.0.0.1:0", "--http", "off"]);
    assert!(message.contains("in use"), "{message}");
}

#[test]
fn bench_reports_what_it_did() {
    let server = Server::in_memory();
    let target = server.resp.to_string();
    for (workload, rate) in [("mixed", "5000"), ("xadd", "0"), ("incr", "0")] {
        let output = Command::new(PROGRAM)
            .args([
                "bench",
                "--target",
                &target,
                "--workload",
                workload,
                "--rate",
                rate,
                "--duration",
                "500ms",
            ])
            .args(["--keys", "1000", "--json", "--clients", "10"])
            .output()
            .expect("run");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(output.status.success() && report["errors"] == 0, "{report}");
        let requests = report["requests"].as_u64().expect("a number");
        if rate == "5000" {
            assert!((2_400..=2_600).contains(&requests), "{report}");
        } else {
            assert!(requests > 1_000, "{report}");
        }
    }
}

#[test]
fn the_doctor_says_what_keeps_a_node_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let doctor = || {
        let output = Command::new(PROGRAM)
            .args(["doctor", "--http", "off", "--postgres", "off", "--resp", &address, "--data"])
            .arg(folder.path())
            .output()
            .expect("run");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (is_well, found) = doctor();
    assert!(!is_well && found.contains(&format!("{address} is in use")), "{found}");
    drop(taken);
    let (is_well, found) = doctor();
    assert!(is_well && found.contains("fdatasync") && found.contains("memory"), "{found}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
