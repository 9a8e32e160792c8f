//! The rules of the house that can be checked: which crate may use which, a map that names every
//! crate, heads on every module, and files that stay readable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crate, floor, and the crates of ours that it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("thalweg-base", &[]),
    ("thalweg-log", &["thalweg-base"]),
    ("thalweg-machine", &["thalweg-base"]),
    ("thalweg-store", &["thalweg-base"]),
    ("thalweg-node", &["thalweg-base", "thalweg-log", "thalweg-machine", "thalweg-store"]),
    ("thalweg-doors", &["thalweg-base", "thalweg-machine", "thalweg-node"]),
    ("thalweg-query", &["thalweg-base", "thalweg-machine", "thalweg-node"]),
    (
        "thalweg",
        &["thalweg-base", "thalweg-doors", "thalweg-machine", "thalweg-node", "thalweg-query"],
    ),
];

/// Longer files are places to ask whether they hold two things.
const LINES_MAX: usize = 400;
/// Tables, of which a line more is no more to understand.
const TABLES: &[&str] = &["crates/machine/src/command/table.rs"];
/// What fits beside another window, in code and prose alike.
const COLUMNS_MAX: usize = 100;
/// What fits a screen.
const FUNCTION_LINES_MAX: usize = 60;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn crates_use_only_what_they_may() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let ours = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|name| name.starts_with("thalweg"));
        found.insert(package["name"].as_str().expect("a name"), ours.collect());
    }
    assert_eq!(
        found.len(),
        EDGES.len(),
        "a crate came or went: change the table and ARCHITECTURE.md"
    );
    for (name, allowed) in EDGES {
        for used in &found[name] {
            assert!(allowed.contains(used), "{name} must not use {used}");
        }
    }
}

#[test]
fn the_map_names_every_crate() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (name, _) in EDGES {
        let folder = format!("`crates/{}/`", name.trim_start_matches("thalweg-"));
        assert!(map.contains(&folder), "ARCHITECTURE.md does not name {folder}");
    }
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn every_module_says_what_it_is_for_and_stays_readable() {
    let root = root();
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        let name = path.strip_prefix(&root).expect("inside").display().to_string();
        if !text.starts_with("//!") {
            wrong.push(format!("{name} does not begin with what it is for"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && !TABLES.contains(&name.as_str()) {
            wrong.push(format!("{name} has {lines} lines"));
        }
        wrong.extend(long_functions(&text).map(|found| format!("{name}: {found}")));
        wrong.extend(long_lines(&text).map(|line| format!("{name}:{line} is long")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Functions that do not fit a screen. The formatter has put their ends where they begin.
fn long_functions(text: &str) -> impl Iterator<Item = String> {
    let mut open: Option<(usize, String, String)> = None;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let trimmed = line.trim_start();
        let blanks = line.get(..line.len() - trimmed.len()).unwrap_or_default();
        let head = trimmed.split('(').next().unwrap_or_default();
        if head.starts_with("fn ") || head.contains(" fn ") && !trimmed.starts_with("//") {
            open = Some((number, format!("{blanks}}}"), head.to_owned()));
        }
        let (start, end, name) = open.as_ref()?;
        let lines = number + 1 - start;
        let is_long = line == end && lines > FUNCTION_LINES_MAX;
        let found = is_long.then(|| format!("{name} has {lines} lines"));
        if line == end {
            open = None;
        }
        found
    })
}

/// The numbers of lines that are too long.
fn long_lines(text: &str) -> impl Iterator<Item = usize> {
    let is_long = |(_, line): &(usize, &str)| line.chars().count() > COLUMNS_MAX;
    text.lines().enumerate().filter(is_long).map(|(number, _)| number + 1)
}

#[test]
fn prose_fits_beside_another_window() {
    let root = root();
    let mut pages: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "bench/README.md"]
        .iter()
        .map(|page| root.join(page))
        .collect();
    let docs = std::fs::read_dir(root.join("docs")).expect("docs");
    pages.extend(docs.map(|entry| entry.expect("an entry").path()));
    let mut wrong = Vec::new();
    for path in pages.iter().filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let text = std::fs::read_to_string(path).expect("text");
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            // A row of a table is one line; what is typed is typed as it stands.
            let is_prose = !is_code && !line.trim_start().starts_with('|');
            if is_prose && line.chars().count() > COLUMNS_MAX {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "lines are longer than {COLUMNS_MAX}: {}", wrong.join(", "));
}

#[test]
fn the_machine_is_deterministic_by_construction() {
    let root = root();
    let mut files = Vec::new();
    sources(&root.join("crates/machine/src"), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        for banned in [
            "SystemTime",
            "Instant::now",
            "std::fs",
            "std::net",
            "tokio",
            "async fn",
            "std::thread",
        ] {
            assert!(!text.contains(banned), "{} uses {banned}", path.display());
        }
    }
}
