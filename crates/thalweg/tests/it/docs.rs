//! Pages that are made from tables are equal to what the tables say now, and links lead somewhere.

use std::path::Path;

#[test]
fn the_command_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let expected = thalweg_machine::render_reference();
    if std::env::var_os("THALWEG_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("write");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/commands.md is not current; run the test with THALWEG_UPDATE_DOCS=1"
    );
}

#[test]
fn the_reference_of_system_tables_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/system_tables.md");
    let expected = format!(
        "# System tables\n\nWhat a node says about itself, in SQL. The table `sys.columns` has \
         the same text.\n\n{}",
        thalweg_query::render_reference()
    );
    if std::env::var_os("THALWEG_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("write");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/system_tables.md is not current; run the test with THALWEG_UPDATE_DOCS=1"
    );
}

/// The heads of a page, as links name them.
fn anchors(page: &str) -> Vec<String> {
    let heads = page.lines().filter(|line| line.starts_with('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    heads
        .map(|head| {
            let head = head.trim_start_matches('#').trim().to_lowercase();
            head.chars().filter(kept).collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// Where the links of a page lead, those to other sites left out.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://"))
}

fn pages(folder: &Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_page = path.extension().is_some_and(|kind| kind == "md");
        match path.is_dir() {
            true => pages(&path, out),
            false if is_page => out.push(path),
            false => {}
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let names = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    let mut all: Vec<_> = names.iter().map(|name| root.join(name)).collect();
    pages(&root.join("docs"), &mut all);
    let (mut wrong, mut followed) = (Vec::new(), 0);
    for path in &all {
        let page = std::fs::read_to_string(path).expect("a page");
        for link in links(&page) {
            followed += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap_or(&root).join(file),
            };
            let is_there = match std::fs::read_to_string(&target) {
                Ok(text) => anchor.is_empty() || anchors(&text).iter().any(|head| head == anchor),
                Err(_) => target.is_dir() && anchor.is_empty(),
            };
            if !is_there {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(followed > 50, "{followed} links were found");
    assert!(wrong.is_empty(), "links lead nowhere:\n{}", wrong.join("\n"));
}
