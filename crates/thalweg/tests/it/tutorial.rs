//! The tutorial and the guide to SQL do what they say. The commands of the tutorial are run, and
//! what they print is compared. The statements of the guide are run.

use crate::server::Server;
use std::path::Path;
use std::process::Command;

/// Commands, and what the page says that they print.
fn steps(page: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line != "```sh" && line != "```text" {
            continue;
        }
        let block = lines.by_ref().take_while(|line| *line != "```");
        let block: String = block.flat_map(|line| [line, "\n"]).collect();
        match (line, steps.last_mut()) {
            ("```sh", _) => steps.push((block, String::new())),
            (_, Some((_, printed))) => *printed = block,
            _ => panic!("nothing was run that could have printed {block}"),
        }
    }
    steps
}

#[test]
fn every_command_of_the_tutorial_prints_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tutorial.md");
    let page = std::fs::read_to_string(path).expect("the tutorial");
    for program in ["redis-cli", "curl", "psql"] {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("skipped: {program} is missing; run scripts/test, which installs it");
            return;
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let node = Server::start(folder.path(), &[]);
    let postgres = node.postgres.expect("a door").port();
    let steps = steps(&page);
    assert!(steps.len() >= 9, "the page has {} steps", steps.len());
    for (command, printed) in steps {
        let here = command
            .replace("-p 7379", &format!("-p {}", node.resp.port()))
            .replace("http://127.0.0.1:7380", &node.http)
            .replace("-p 7432", &format!("-p {postgres}"));
        let output = Command::new("bash").args(["-c", &here]).output().expect("bash");
        let text = [output.stdout, output.stderr].concat();
        let found = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(found.trim_end(), printed.trim_end(), "{command}");
    }
}

/// The blocks of SQL on a page, without those that need files which are not here.
fn statements(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == "```sql") {
        let block = lines.by_ref().take_while(|line| *line != "```");
        let block: String = block.flat_map(|line| [line, "\n"]).collect();
        if !block.contains("'/data/") {
            blocks.push(block);
        }
    }
    blocks
}

#[test]
fn every_statement_of_the_guide_to_sql_runs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sql.md");
    let page = std::fs::read_to_string(path).expect("the guide");
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("skipped: psql is missing; run scripts/test, which installs it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let node = Server::start(folder.path(), &[]);
    let port = node.postgres.expect("a door").port().to_string();
    let blocks = statements(&page);
    assert!(blocks.len() >= 6, "the page has {} blocks of SQL", blocks.len());
    let script = folder.path().join("block.sql");
    for block in blocks {
        std::fs::write(&script, &block).expect("write");
        let output = Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "me", "-v", "ON_ERROR_STOP=1"])
            .args(["-X", "-q", "thalweg", "-f"])
            .arg(&script)
            .output()
            .expect("psql");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{errors}");
    }
}
