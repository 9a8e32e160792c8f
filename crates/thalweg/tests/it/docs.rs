//! Pages that are made from tables are equal to what the tables say now.

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
        "# System tables\n\nWhat a node says about itself, in SQL. `sys.columns` holds this \
         page.\n\n{}",
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
