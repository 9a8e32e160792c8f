//! The order system, small: generated orders, a kill midway, and the real orders of a shop.

use crate::server::PROGRAM;
use std::path::Path;
use std::process::Command;

fn demo(args: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(["demo", "--exit", "--http", "127.0.0.1:0"])
        .args(args)
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("verified: "), "{text}");
    text
}

#[test]
fn generated_orders_are_settled_once() {
    let text = demo(&["--orders", "30000"]);
    assert!(text.contains("30000 orders settled by the views"), "{text}");
    // What begins is said, and once.
    for begins in [
        "> Producers send 30300 orders.",
        "late; its minute is still open, so it counts.",
        "is sent twice, as if its answer was lost; it counts once.",
        "> Every order is acknowledged; the views catch up with the last ones.",
    ] {
        assert_eq!(text.matches(begins).count(), 1, "{begins}: {text}");
    }
}

#[test]
fn a_port_that_is_taken_is_no_reason_to_stop() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = Command::new(PROGRAM)
        .args(["demo", "--exit", "--orders", "1000", "--http", &address])
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{address} is taken by another program")), "{text}");
    assert!(text.contains("verified: "), "{text}");
    // Nobody is told to do something about what was done already.
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("cannot listen"), "{errors}");
}

#[test]
fn a_kill_midway_loses_nothing() {
    let text = demo(&["--orders", "150000", "--window", "256", "--kill"]);
    assert!(text.contains("killed with SIGKILL"), "{text}");
    let (killed, back) = (text.find("> The node is killed"), text.find("> It is back after"));
    assert!(killed.is_some() && killed < back, "{text}");
    assert!(back < text.find("> The views go on from their last checkpoint."), "{text}");
}

#[test]
fn a_broken_file_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orders.jsonl");
    let good = r#"{"order_id":"1","product":"p","quantity":2,"price":1.5,"ts_ms":0}"#;
    std::fs::write(&path, format!("{good}\n{{\"order_id\":1}}\n")).expect("write");
    let path = path.to_str().expect("text");
    let output =
        Command::new(PROGRAM).args(["demo", "--exit", "--input", path]).output().expect("run");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("line 2"), "{message}");
}

/// The orders of December 2010 against sums that are computed here, from the file alone and in
/// another way.
#[test]
fn real_orders_agree_with_an_independent_count() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/orders_2010-12.csv");
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return;
    }
    let script = "import csv,sys,decimal\n\
        rows=list(csv.DictReader(open(sys.argv[1],newline='',encoding='utf-8')))\n\
        total=sum(int(r['Quantity'])*decimal.Decimal(r['UnitPrice']) for r in rows)\n\
        print(len(rows),len({r['StockCode'] for r in rows}),f'{total:.3f}')";
    let output = Command::new("python3").args(["-c", script]).arg(&path).output().expect("python3");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let [lines, products, revenue] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{text}")
    };
    let found = demo(&["--input", path.to_str().expect("text")]);
    let expected = format!("verified: {lines} orders, {products} products, revenue {revenue};");
    assert!(found.contains(&expected), "expected {expected}\n{found}");
}
