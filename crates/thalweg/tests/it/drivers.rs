//! The drivers that people reach Postgres with, against the Postgres door: each does real work and
//! checks what it gets. `scripts/test` installs them.

use crate::server::Server;
use std::path::Path;
use std::process::{Command, Output};

/// Debian's place for Java libraries and for Go packages.
const JDBC: &str = "/usr/share/java/postgresql.jar";
const GO: &str = "/usr/share/gocode";
const PGX: &str = "/usr/share/gocode/src/github.com/jackc/pgx/v4";
const PASSWORD: &str = "opensesame";

fn client(name: &str) -> String {
    format!("{}/tests/it/drivers/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A node of its own for the client, whose command is given the port and the password, and must end
/// with `ok`.
fn speak(client: impl FnOnce(&str) -> Command) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--password", PASSWORD]);
    let port = server.postgres.expect("a door").port().to_string();
    let Output { status, stdout, stderr } = client(&port).output().expect("the client runs");
    let text = String::from_utf8_lossy(&stdout);
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success() && text.trim().ends_with("ok"), "{text}{errors}");
}

fn skip(what: &str) {
    eprintln!("skipped: {what} is not here; run scripts/test, which installs it");
}

fn python(script: &str, driver: &[&str]) {
    let Ok(python) = std::env::var("THALWEG_TEST_PYTHON") else {
        return skip("the Python of the tests");
    };
    speak(|port| {
        let mut command = Command::new(python);
        command.arg(client(script)).args([port, PASSWORD]).args(driver);
        command
    });
}

#[test]
fn psycopg_sqlalchemy_and_pandas() {
    python("pg_clients.py", &[]);
}

#[test]
fn psycopg2() {
    python("pg_drivers.py", &["psycopg2"]);
}

#[test]
fn asyncpg() {
    python("pg_drivers.py", &["asyncpg"]);
}

#[test]
fn pg8000() {
    python("pg_drivers.py", &["pg8000"]);
}

#[test]
fn adbc() {
    python("pg_drivers.py", &["adbc"]);
}

#[test]
fn jdbc() {
    if Command::new("javac").arg("-version").output().is_err() || !Path::new(JDBC).exists() {
        return skip("a Java compiler with Postgres' driver");
    }
    speak(|port| {
        let mut command = Command::new("java");
        command.args(["-cp", JDBC, &client("JdbcClient.java"), port, PASSWORD]);
        command
    });
}

#[test]
fn node_postgres() {
    let Ok(modules) = std::env::var("THALWEG_TEST_NODE_MODULES") else {
        return skip("node-postgres");
    };
    speak(|port| {
        let mut command = Command::new("node");
        command.arg(client("pg_node.js")).args([port, PASSWORD]).env("NODE_PATH", modules);
        command
    });
}

#[test]
fn pgx() {
    if Command::new("go").arg("version").output().is_err() || !Path::new(PGX).exists() {
        return skip("Go with pgx");
    }
    speak(|port| {
        let mut command = Command::new("go");
        command.args(["run", &client("pg_pgx.go"), port, PASSWORD]);
        command.env("GO111MODULE", "off").env("GOPATH", GO);
        command
    });
}
