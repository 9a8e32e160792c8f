//! Settings from outside: every way in, CONFIG, `sys.settings`; and what is said where a node
//! cannot start.

use crate::serve::{fails, fails_with};
use crate::server::{PROGRAM, Server};
use crate::sql::sql;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `serve` says of these arguments, with doors that disturb nobody where they name none.
fn refusal(args: &[&str]) -> String {
    let mut all = vec!["serve"];
    for door in ["--resp", "--http", "--postgres"] {
        if !args.contains(&door) {
            all.extend([door, "127.0.0.1:0"]);
        }
    }
    if !args.contains(&"--data") {
        all.extend(["--data", "memory"]);
    }
    let message = fails(&[&all, args].concat());
    assert!(message.starts_with("thalweg: "), "{message}");
    message
}

#[test]
fn a_port_in_use_is_refused_with_the_setting_that_moves_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for door in ["--resp", "--http", "--postgres"] {
        let message = refusal(&[door, &address]);
        for words in [&address, "another program listens there", "another port with", door] {
            assert!(message.contains(words), "{door}: {message}");
        }
    }
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // Reserved for documentation: no machine has it.
    for door in ["--resp", "--http", "--postgres"] {
        let message = refusal(&[door, "203.0.113.1:7379", "--password", "secret"]);
        assert!(message.contains("this machine does not have that address"), "{message}");
        assert!(message.contains(door), "{message}");
    }
}

#[test]
fn data_that_cannot_be_opened_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a_file");
    std::fs::write(&file, "").expect("write");
    for place in [file.clone(), file.join("below")] {
        let place = place.to_str().expect("text");
        let message = refusal(&["--data", place]);
        for words in [place, "a file has that name", "--data"] {
            assert!(message.contains(words), "{message}");
        }
    }
    // Root may write everywhere but in the kernel's own folders.
    let message = refusal(&["--data", "/sys/thalweg"]);
    let reasons = ["let this user write there", "mounted to be read only"];
    assert!(reasons.iter().any(|reason| message.contains(reason)), "{message}");
    assert!(message.contains("/sys/thalweg") && message.contains("--data"), "{message}");
}

#[test]
fn segments_that_cannot_be_kept_are_refused_with_their_place() {
    let message = refusal(&["--segments", "/sys/segments"]);
    for words in ["segments cannot be kept in /sys/segments", "another place with `segments`"] {
        assert!(message.contains(words), "{message}");
    }
}

/// A disk of one MiB, which only this process sees.
#[test]
fn a_full_disk_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().to_str().expect("text");
    let mount = format!("mount -t tmpfs -o size=1m tmpfs '{disk}'");
    let inside =
        |script: &str| Command::new("unshare").args(["-rm", "sh", "-c", script]).output().ok();
    if !inside(&mount).is_some_and(|output| output.status.success()) {
        eprintln!("skipped: this process may not mount a disk of its own");
        return;
    }
    let serve = "serve --resp 127.0.0.1:0 --http off --postgres off";
    let script = format!("{mount} && exec timeout 60 '{PROGRAM}' {serve} --data '{disk}/data'");
    let output = inside(&script).expect("run");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{message}");
    for words in ["thalweg: the disk is full", disk, "free some space"] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn another_number_of_partitions_is_refused_with_the_right_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), &["--partitions", "8"]);
    assert_eq!(server.terminate(), Some(0));
    let data = folder.path().to_str().expect("text");
    let message = refusal(&["--data", data, "--partitions", "16"]);
    assert!(message.contains("set `partitions` to 8 instead of 16"), "{message}");
    Server::start(folder.path(), &["--partitions", "8"]);
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_one() {
    let message = fails(&["serve", "--memmory-max", "1GiB"]);
    assert!(message.contains("'--memory-max'"), "{message}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("thalweg.toml");
    std::fs::write(&path, "memmory-max = \"1GiB\"\n").expect("write");
    let message = refusal(&["--config", path.to_str().expect("text")]);
    assert!(message.contains("did you mean 'memory-max'?"), "{message}");
}

#[test]
fn the_environment_is_read_and_named() {
    let args = ["serve", "--data", "memory", "--resp", "127.0.0.1:0"];
    let message = fails_with(&args, &[("THALWEG_VIEW_CHECKPOINT", "often")]);
    for words in ["--view-checkpoint takes a duration", "'often'", "THALWEG_VIEW_CHECKPOINT"] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn the_system_table_says_where_each_value_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("thalweg.toml");
    std::fs::write(&path, "eviction = \"lru\"\n").expect("write");
    let more = ["--config", path.to_str().expect("text"), "--sync-interval", "2s"];
    let variables = [("THALWEG_STREAM_IDLE", "7s"), ("THALWEG_PASSWORD", "")];
    let server = Server::start_with(Path::new("memory"), &more, &variables);
    let row = |name: &str| {
        let columns = "value, default_value, source, can_change";
        sql(&server, &format!("SELECT {columns} FROM sys.settings WHERE name = '{name}'"))
    };
    let heading = "value,default_value,source,can_change\n";
    assert_eq!(row("eviction"), format!("{heading}lru,s3-fifo,file,false"));
    assert_eq!(row("sync-interval"), format!("{heading}2s,1s,command line,false"));
    assert_eq!(row("stream-idle"), format!("{heading}7s,5s,environment,false"));
    assert_eq!(row("body-max"), format!("{heading}64MiB,64MiB,default,true"));
    let mut control = server.connect();
    assert_eq!(control.call("CONFIG SET body-max-bytes 1kb").expect("a reply"), "OK");
    assert_eq!(row("body-max"), format!("{heading}1KiB,64MiB,CONFIG SET,true"));
}

#[test]
fn config_set_reaches_what_it_names_and_says_what_it_takes() {
    let server = Server::in_memory();
    let mut control = server.connect();
    let mut call = |command: &str| control.call(command).expect("a reply");
    let put = || {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT"])
            .args(["-H", "content-type: application/octet-stream", "--data-binary"])
            .arg("x".repeat(5_000))
            .arg(format!("{}/data/key", server.http))
            .output()
            .expect("curl; scripts/test installs it");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(put(), "201");
    assert_eq!(call("CONFIG SET body-max-bytes 4kb"), "OK");
    assert_eq!(put(), "413");
    assert_eq!(call("CONFIG GET body-max-bytes"), "[body-max-bytes 4096]");
    // All or none.
    let refused = call("CONFIG SET body-max-bytes 8kb maxclients none");
    assert!(refused.contains("'maxclients'") && refused.contains("a number from 1"), "{refused}");
    assert_eq!(call("CONFIG GET body-max-bytes"), "[body-max-bytes 4096]");
    let refused = call("CONFIG SET maxmemory 1gb");
    assert!(refused.contains("restart with another --memory-max"), "{refused}");
    assert!(call("CONFIG SET nothing 1").contains("Unknown option"));
    assert!(call("CONFIG REWRITE").starts_with('-'));
    assert_eq!(call("CONFIG RESETSTAT"), "OK");
}

#[test]
fn a_terminal_without_a_node_says_how_to_start_one() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let message = fails(&["sql", "--url", &url, "-c", "SELECT 1"]);
    assert!(message.contains("start one with `thalweg serve`"), "{message}");
}

#[test]
fn completions_know_commands_flags_and_names() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(PROGRAM).args(["completions", shell]).output().expect("run");
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for word in ["serve", "doctor", "memory-max", "s3-fifo", "completions"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        // Whether the shell itself takes it, where it is installed.
        let Ok(mut child) = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn() else {
            eprintln!("skipped: there is no {shell} here");
            continue;
        };
        let mut input = child.stdin.take().expect("its input");
        input.write_all(script.as_bytes()).expect("write");
        drop(input);
        assert!(child.wait().expect("wait").success(), "{shell} does not take the script");
    }
    assert!(fails(&["completions", "cmd"]).contains("possible values: bash, zsh, fish"));
}
