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
    ("thalweg-listen", &[]),
    ("thalweg-doors", &["thalweg-base", "thalweg-listen", "thalweg-machine", "thalweg-node"]),
    ("thalweg-query", &["thalweg-base", "thalweg-listen", "thalweg-machine", "thalweg-node"]),
    (
        "thalweg",
        &[
            "thalweg-base",
            "thalweg-doors",
            "thalweg-listen",
            "thalweg-machine",
            "thalweg-node",
            "thalweg-query",
        ],
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

/// The map is read in one sitting; what it leaves out is a page away.
#[test]
fn the_map_is_short_and_names_every_decision() {
    const MAP_LINES_MAX: usize = 150;
    let root = root();
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let lines = map.lines().count();
    assert!(lines <= MAP_LINES_MAX, "ARCHITECTURE.md has {lines} lines");
    let mut notes = Vec::new();
    files_of_kind("md", &root.join("docs/design"), &mut notes);
    assert!(!notes.is_empty(), "docs/design has no page");
    for note in notes {
        let name = note.strip_prefix(&root).expect("inside").display().to_string();
        assert!(map.contains(&format!("({name})")), "ARCHITECTURE.md does not link to {name}");
    }
}

fn files_of_kind(kind: &str, folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_of_kind(kind, &path, out);
        } else if path.extension().is_some_and(|extension| extension == kind) {
            out.push(path);
        }
    }
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    files_of_kind("rs", folder, out);
}

/// What people read.
fn pages(root: &Path) -> Vec<PathBuf> {
    let names =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"];
    let mut pages: Vec<PathBuf> = names.iter().map(|page| root.join(page)).collect();
    files_of_kind("md", &root.join("docs"), &mut pages);
    pages
}

/// The lines of a page that are prose, from 1. What is typed or printed is as it is.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    page.lines().enumerate().filter_map(move |(number, line)| {
        is_code ^= line.trim_start().starts_with("```");
        (!is_code).then_some((number + 1, line))
    })
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
    let mut wrong = Vec::new();
    for path in pages(&root) {
        let text = std::fs::read_to_string(&path).expect("text");
        // A row of a table is one line.
        let lines = prose(&text).filter(|(_, line)| !line.trim_start().starts_with('|'));
        for (number, line) in lines {
            if line.chars().count() > COLUMNS_MAX {
                wrong.push(format!("{}:{number}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "lines are longer than {COLUMNS_MAX}: {}", wrong.join(", "));
}

/// The page that says which words are used, and which are not.
const WORDS: &str = "docs/design/words.md";

/// The first column of the page's last table.
fn words_not_used(page: &str) -> Vec<String> {
    let (_, table) = page.split_once("## Words that we do not use").expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    rows.skip(1).map(str::to_lowercase).collect()
}

/// A line without what stands between backticks, in small letters.
fn without_code(line: &str) -> String {
    let parts = line.split('`').step_by(2);
    parts.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Whether a line has a word, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(start, found)| {
        let (before, after) = (&line[..start], &line[start + found.len()..]);
        !is_letter(before.chars().next_back()) && !is_letter(after.chars().next())
    })
}

#[test]
fn words_that_we_do_not_use_are_not_used() {
    let root = root();
    let words = words_not_used(&std::fs::read_to_string(root.join(WORDS)).expect("the words"));
    assert!(words.len() > 20, "the page has {} words", words.len());
    let mut wrong = Vec::new();
    let mut look = |path: &Path, number: usize, line: &str| {
        let line = without_code(line);
        for word in words.iter().filter(|word| has_word(&line, word)) {
            wrong.push(format!("{}:{number}: {word}", path.display()));
        }
    };
    for path in pages(&root).iter().filter(|path| !path.ends_with(WORDS)) {
        let text = std::fs::read_to_string(path).expect("text");
        prose(&text).for_each(|(number, line)| look(path, number, line));
    }
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                look(&path, number + 1, line);
            }
        }
    }
    assert!(wrong.is_empty(), "{WORDS} says what to say instead:\n{}", wrong.join("\n"));
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
