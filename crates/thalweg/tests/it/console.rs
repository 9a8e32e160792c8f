//! The dashboard in a browser: somebody types SQL and clicks.

use crate::server::Server;
use crate::sql::sql;
use std::process::Command;

#[test]
fn somebody_clicks_through_the_console() {
    let browser = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    let (Some(browser), Some(python)) = (browser, std::env::var_os("THALWEG_TEST_PYTHON")) else {
        eprintln!(
            "skipped: there is no Chromium, or THALWEG_TEST_PYTHON is not set; scripts/test sees \
             to both"
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::in_memory();
    sql(&server, "CREATE STREAM clicks (page TEXT)");
    sql(
        &server,
        "CREATE MATERIALIZED VIEW totals AS SELECT page, count(*) AS c FROM clicks GROUP BY page",
    );
    sql(&server, "INSERT INTO clicks VALUES ('/'), ('/cart'), ('/')");
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/console.py"))
        .args([browser, &format!("{}/", server.http)])
        .arg(folder.path())
        .output()
        .expect("python");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("ok"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
