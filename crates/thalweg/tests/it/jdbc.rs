//! PostgreSQL's own JDBC driver against the Postgres door.

use crate::server::Server;
use std::path::Path;
use std::process::Command;

const DRIVER: &str = "/usr/share/java/postgresql.jar";

#[test]
fn jdbc() {
    let is_there = Command::new("javac").arg("-version").output().is_ok();
    if !is_there || !Path::new(DRIVER).exists() {
        eprintln!("skipped: there is no Java compiler or no {DRIVER}; scripts/test installs both");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--password", "open sesame"]);
    let port = server.postgres.expect("the Postgres door").port().to_string();
    let output = Command::new("java")
        .args(["-cp", DRIVER, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/JdbcClient.java")])
        .args([&port, "open sesame"])
        .output()
        .expect("java");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("ok"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
