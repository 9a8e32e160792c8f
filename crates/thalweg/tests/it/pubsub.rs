//! Publishing and listening, with redis-py.

use crate::server::Server;
use std::process::Command;

#[test]
fn channels_streams_and_changes_of_views() {
    let Some(python) = std::env::var_os("THALWEG_TEST_PYTHON") else {
        eprintln!("skipped: run scripts/test, which installs redis-py");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pubsub.py"))
        .arg(server.resp.port().to_string())
        .arg(server.postgres.expect("the Postgres door").port().to_string())
        .output()
        .expect("python");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("ok"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
