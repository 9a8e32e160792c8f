//! The stream of a view's changes. Who applies them one after the other has the rows of the view,
//! whatever happened in between.

use crate::support::Sql;
use crate::views::wait_for_views;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

type Row = BTreeMap<String, String>;

/// The changes, in order: what happened, and the row's columns.
fn changes(sql: &Sql, view: &str) -> Vec<(String, Row)> {
    let stream = format!("{view}.changes");
    let reply = sql.engine.call(&[b"XRANGE", stream.as_bytes(), b"-", b"+"]).expect("read");
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let record = |fields: &thalweg_machine::Reply| {
        let fields: Vec<String> =
            fields.elements().iter().map(|field| text(field.as_bytes())).collect();
        let mut row: Row =
            fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        (row.remove("_op").expect("an operation"), row)
    };
    reply.elements().iter().map(|entry| record(&entry.elements()[1])).collect()
}

/// Applies the changes; each must make sense where it comes.
fn apply(changes: &[(String, Row)], key: &str) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (operation, row) in changes {
        let name = row[key].clone();
        let before = rows.get(&name).cloned();
        match operation.as_str() {
            "insert" => assert!(before.is_none(), "{name} comes twice"),
            "update" => {
                let before = before.unwrap_or_else(|| panic!("{name} changes before it comes"));
                assert_ne!(&before, row, "{name} changes without a change");
            }
            "delete" => assert!(before.is_some(), "{name} goes before it comes"),
            other => panic!("{other}"),
        }
        if operation == "delete" {
            rows.remove(&name);
        } else {
            rows.insert(name, row.clone());
        }
    }
    rows
}

fn wait_until_told(sql: &mut Sql, view: &str, key: &str, column: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = apply(&changes(sql, view), key);
        let told: Vec<String> =
            told.values().map(|row| format!("{} {}", row[key], row[column])).collect();
        let now = sql.rows(&format!("SELECT {key}, {column} FROM {view} ORDER BY 1"));
        if told.join("\n") == now {
            return;
        }
        assert!(Instant::now() < deadline, "told {told:?}, is {now}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn open(folder: &Path) -> Sql {
    Sql::in_folder(folder, 200)
}

#[test]
fn changes_are_told_once_whatever_happens() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (k TEXT, n BIGINT) PARTITION BY k WITH (partitions = 4)");
    sql.rows(
        "CREATE MATERIALIZED VIEW v WITH (changes = 100000) AS SELECT k, sum(n) AS s FROM s \
              GROUP BY k HAVING sum(n) <> 7",
    );
    sql.rows(
        "CREATE MATERIALIZED VIEW above WITH (changes = 100000) AS SELECT k < 'c' AS low, \
              sum(s) AS s FROM v GROUP BY 1",
    );
    for round in 0..30 {
        sql.rows(&format!("INSERT INTO s VALUES ('a', {round}), ('b', 1), ('c{}', 1)", round % 4));
        if round % 7 == 6 {
            // Its changes are further on than its last checkpoint.
            wait_until_told(&mut sql, "v", "k", "s");
            wait_until_told(&mut sql, "above", "low", "s");
            sql.crash();
            sql = open(folder.path());
        }
    }
    wait_for_views(&mut sql);
    wait_until_told(&mut sql, "v", "k", "s");
    wait_until_told(&mut sql, "above", "low", "s");
    assert_eq!(
        sql.fails("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT count(*) FROM s"),
        "2BP01"
    );
    sql.rows("DROP MATERIALIZED VIEW above");
    sql.rows(
        "CREATE OR REPLACE MATERIALIZED VIEW v WITH (changes = 100000) AS SELECT k, max(n) AS \
              s FROM s WHERE k < 'c' GROUP BY k",
    );
    wait_until_told(&mut sql, "v", "k", "s");
    sql.rows("DROP MATERIALIZED VIEW v");
    assert_eq!(changes(&sql, "v"), Vec::new());
}

#[test]
fn rows_that_go_are_told_too() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM s (k TEXT, n BIGINT)");
    sql.rows("CREATE TABLE t (k TEXT PRIMARY KEY, class TEXT)");
    sql.rows("INSERT INTO t VALUES ('a', 'x'), ('b', 'y')");
    sql.rows(
        "CREATE MATERIALIZED VIEW v WITH (changes = 1000) AS SELECT class, sum(n) AS s FROM s \
              JOIN t ON s.k = t.k GROUP BY class",
    );
    sql.rows(
        "CREATE MATERIALIZED VIEW top WITH (changes = 1000) AS SELECT k, sum(n) AS s FROM s \
              GROUP BY k ORDER BY s DESC LIMIT 1",
    );
    sql.rows("INSERT INTO s VALUES ('a', 1), ('b', 2)");
    // An empty view would be told at once.
    wait_for_views(&mut sql);
    wait_until_told(&mut sql, "v", "class", "s");
    wait_until_told(&mut sql, "top", "k", "s");
    sql.rows("UPDATE t SET class = 'z' WHERE k = 'a'");
    sql.rows("INSERT INTO s VALUES ('a', 5)");
    wait_for_views(&mut sql);
    wait_until_told(&mut sql, "v", "class", "s");
    wait_until_told(&mut sql, "top", "k", "s");
    let gone = changes(&sql, "v").into_iter().filter(|(operation, _)| operation == "delete");
    let gone: Vec<Row> = gone.map(|(_, row)| row).collect();
    assert_eq!(gone, [Row::from([("class".into(), "x".into())])]);
}
