//! Our reader of CSV and Arrow's read the same. A table with `newlines_in_values` is left to
//! Arrow's.

use crate::support::Sql;
use proptest::prelude::*;
use std::path::Path;

const COLUMNS: &str = "a BIGINT, b DOUBLE PRECISION, c TEXT, d INTEGER";

fn tables(sql: &mut Sql, columns: &str, file: &Path, header: bool) {
    tables_with(sql, columns, file, &header.to_string());
}

fn tables_with(sql: &mut Sql, columns: &str, file: &Path, header: &str) {
    let file = file.display();
    let plain = format!("'format.has_header' '{header}'");
    for (table, options) in
        [("plain", plain.clone()), ("full", format!("{plain}, 'format.newlines_in_values' 'true'"))]
    {
        sql.rows(&format!("DROP TABLE IF EXISTS {table}"));
        sql.rows(&format!(
            "CREATE EXTERNAL TABLE {table} ({columns}) STORED AS CSV LOCATION '{file}' OPTIONS \
             ({options})"
        ));
    }
}

/// What both readers say; an error is one word, for they may name it differently.
fn both(sql: &mut Sql, query: &str) -> [String; 2] {
    ["plain", "full"].map(|table| {
        sql.try_run(&query.replace("TABLE", table)).unwrap_or_else(|_| "refused".to_owned())
    })
}

fn integer() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => any::<i64>().prop_map(|value| value.to_string()),
        8 => (-100i64..100).prop_map(|value| value.to_string()),
        2 => Just(String::new()),
        1 => proptest::sample::select(vec![
            "-0", "007", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
                "-", "+5", "1.0", "1e3", " 1", "x",
        ]).prop_map(str::to_owned),
    ]
}

fn double() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (any::<i32>(), 0usize..12).prop_map(|(value, digits)| format!("{:.digits$}",
            f64::from(value) / 1e4)),
        4 => any::<f64>().prop_map(|value| value.to_string()),
        2 => Just(String::new()),
        1 => proptest::sample::select(vec![
            "-0.0", "5.", ".5", "-.5", "1e5", "1E-5", "NaN", "inf", "-", ".", "0.1e",
                "123456789012345678901234567890.5",
            "9007199254740993", "0.30000000000000004", "1.7976931348623157e308",
        ]).prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z ]{0,20}",
        2 => "[äöü€ ]{0,5}",
        1 => proptest::sample::select(vec![
            "\"quoted\"", "\"open", "\"a,b\"", "\"a \"\"b\"\"\"", "it's", "a\"b", "\"a\nb\"", "'",
                "\"\"",
        ]).prop_map(str::to_owned),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let small = prop_oneof![
        8 => any::<i32>().prop_map(|value| value.to_string()),
        1 => proptest::sample::select(vec!["", "2147483648", "-2147483649",
            "0x1"]).prop_map(str::to_owned),
    ];
    let whole =
        (integer(), double(), text(), small).prop_map(|(a, b, c, d)| format!("{a},{b},{c},{d}"));
    prop_oneof![
        60 => whole,
        1 => Just(String::new()),
        1 => proptest::sample::select(vec!["1,2", "1,2,x,3,4", ",,,",
            "1,2,x"]).prop_map(str::to_owned),
    ]
}

#[test]
fn both_readers_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines.csv");
    let sql = std::cell::RefCell::new(Sql::in_memory());
    // No look at the past: its failures are written down below.
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let begin =
        proptest::sample::select(vec!["", "", "", "", "\n", "\r\n", "\r", "\u{feff}", "x\r"]);
    let head = proptest::sample::select(vec![
        "a,b,c,d",
        "a,b,c,d",
        "a,b,c,d",
        "a,b,c",
        "a,b,c,d,e",
        "x",
        "\"a\",b,c,d",
        "\"a,b\",c,d",
        "\"a,b,c\",d",
    ]);
    let input = (begin, head, proptest::collection::vec(line(), 0..12), any::<[bool; 3]>());
    runner
        .run(&input, |(begin, head, lines, [header, windows, open])| {
            let end = if windows { "\r\n" } else { "\n" };
            let mut bytes = if header { format!("{head}{end}") } else { String::new() };
            bytes.insert_str(0, begin);
            bytes.push_str(&lines.join(end));
            if !open && !lines.is_empty() {
                bytes.push_str(end);
            }
            std::fs::write(&file, &bytes).expect("write");
            let mut sql = sql.borrow_mut();
            tables(&mut sql, COLUMNS, &file, header);
            for query in
                ["SELECT * FROM TABLE", "SELECT c, a FROM TABLE", "SELECT count(*) FROM TABLE"]
            {
                let [plain, full] = both(&mut sql, query);
                prop_assert_eq!(plain, full, "{} of {:?}", query, bytes);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_file_in_pieces_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines.csv");
    // More than what DataFusion reads in one piece.
    let rows = 400_000u64;
    let mut text = String::from("a,b,c,d\n");
    for row in 0..rows {
        text.push_str(&format!("{row},{}.25,name of {row},{}\n", row % 1_000, row % 7));
    }
    assert!(text.len() > 10 << 20);
    std::fs::write(&file, &text).expect("write");
    let mut sql = Sql::in_memory();
    tables(&mut sql, COLUMNS, &file, true);
    let query = "SELECT count(*) AS n, count(DISTINCT a) AS a, sum(a) AS s, sum(b) AS b, sum(d) AS \
                 d, max(c) AS c FROM TABLE";
    let [plain, full] = both(&mut sql, query);
    assert_eq!(plain, full);
    assert!(plain.contains(&rows.to_string()), "{plain}");
    // A quote near the end, beyond the first piece.
    text.push_str("1,1.5,\"a, b\",1\n");
    std::fs::write(&file, &text).expect("write");
    let [plain, full] = both(&mut sql, query);
    assert_eq!(plain, full);
    assert_eq!(sql.rows("SELECT c FROM plain WHERE c LIKE '%,%'"), "a, b");
}

#[test]
fn long_lines_and_lone_columns_are_read_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines.csv");
    let mut sql = Sql::in_memory();
    let long = |length: usize| format!("1,2.5,{},3\n", "x".repeat(length));
    let short = "7,0.25,short,1\r\n,,,\r\n9,,none,2\n".repeat(1_000);
    for lengths in [vec![8_180, 8_192, 9_000], vec![300_000, 10, 600_000], vec![5 << 20, 20_000]] {
        let lines: Vec<String> = lengths.iter().map(|&length| long(length) + &short).collect();
        std::fs::write(&file, lines.concat()).expect("write");
        tables(&mut sql, COLUMNS, &file, false);
        let query = "SELECT count(*) AS n, sum(a) AS a, sum(b) AS b, sum(length(c)) AS c, sum(d) \
                     AS d, count(a) AS an, count(b) AS bn, count(d) AS dn, sum(a * d) AS ad FROM \
                     TABLE";
        let [plain, full] = both(&mut sql, query);
        assert_eq!(plain, full, "{lengths:?}");
        assert!(plain.contains(&(lines.len() * 3_001).to_string()), "{plain}");
    }
    let lines = "7,short\r\n8,\r\n,\r\n9,ends\n".repeat(2_000);
    std::fs::write(&file, lines).expect("write");
    tables(&mut sql, "a BIGINT, b TEXT", &file, false);
    let [plain, full] =
        both(&mut sql, "SELECT a, b, count(*) AS n FROM TABLE GROUP BY a, b ORDER BY a");
    assert_eq!(plain, full);
    for text in [
        "1\n\n2\n",
        "\r\n1\r\n",
        "1\n2\n\r\n",
        "1\r\n2",
        "\n\n",
        "1\n-\n",
        "1,2\n3\n",
        "1\n2,\n",
        "1\n\u{feff}2\n",
    ] {
        std::fs::write(&file, text).expect("write");
        tables(&mut sql, "a BIGINT", &file, false);
        for query in ["SELECT a FROM TABLE", "SELECT count(*) FROM TABLE"] {
            let [plain, full] = both(&mut sql, query);
            assert_eq!(plain, full, "{query} of {text:?}");
        }
    }
}

#[test]
fn any_byte_may_be_between_the_fields() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines.csv");
    let mut sql = Sql::in_memory();
    for delimiter in [";", "|", "\t", "#", "\u{b}", "\u{c}", "\u{1}"] {
        let lines: Vec<String> = (0..30_000)
            .map(|row| {
                [row.to_string(), format!("{row}.5"), "x".repeat(row % 40), "7".to_owned()]
                    .join(delimiter)
            })
            .collect();
        std::fs::write(&file, lines.join("\n")).expect("write");
        let options = format!("false', 'format.delimiter' '{delimiter}");
        tables_with(&mut sql, COLUMNS, &file, &options);
        let query = "SELECT count(*) AS n, sum(a) AS a, sum(b) AS b, sum(length(c)) AS c, sum(d) \
                     AS d FROM TABLE";
        let [plain, full] = both(&mut sql, query);
        assert_eq!(plain, full, "{delimiter:?}");
        assert!(plain.contains("30000"), "{delimiter:?} {plain}");
    }
}

#[test]
fn what_arrow_refuses_says_where_it_began_to_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines.csv");
    std::fs::write(&file, "1,1.5,a,1\n".repeat(1_000) + "x,1,a,1\n").expect("write");
    let mut sql = Sql::in_memory();
    tables(&mut sql, COLUMNS, &file, false);
    let error = sql.try_run("SELECT sum(a) FROM plain").expect_err("x is no number").to_string();
    assert!(error.contains("byte 10000 of the file") && error.contains('x'), "{error}");
}
