//! The real orders of a shop by three ways: each gives the answers that pandas computed.

use crate::server::Server;
use std::path::Path;
use std::process::Command;

#[test]
fn three_ways_one_answer() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let parquet = data.join("online_retail_2010-12_2011-08.zstd.parquet");
    let Some(python) = std::env::var_os("THALWEG_TEST_PYTHON") else {
        eprintln!("skipped: THALWEG_TEST_PYTHON is not set; scripts/test sets it");
        return;
    };
    if !parquet.exists() {
        eprintln!("skipped: no {}", parquet.display());
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &[]);
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/real_orders.py"))
        .arg(server.resp.port().to_string())
        .arg(server.postgres.expect("the Postgres door").port().to_string())
        .arg(&server.http)
        .args([parquet, data.join("orders_expected.json"), folder.path().join("data/segments")])
        .current_dir(folder.path())
        .output()
        .expect("python");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("ok"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
