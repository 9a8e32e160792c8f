//! JSON files, and columns of times in files: a value is read exactly as it was written, or it is
//! refused.

use crate::support::Sql;
use proptest::prelude::*;
use std::path::Path;

fn put(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<i64>().prop_map(|value| value.to_string()),
        2 => any::<u64>().prop_map(|value| value.to_string()),
        2 => (any::<i32>(), 0u32..1000).prop_map(|(whole, part)| format!("{whole}.{part:03}")),
        1 => any::<u128>().prop_map(|value| (value / 10).to_string()),
        1 => prop::sample::select(vec!["1e3", "-0.5", "9007199254740993", "1e400",
            "0"]).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Of a column that nobody declared, an integer is read with all its digits, or the file is
    /// refused.
    #[test]
    fn integers_keep_their_digits(numbers in proptest::collection::vec(number(), 1..6)) {
        let folder = tempfile::tempdir().expect("a folder");
        let records: Vec<String> =
            numbers.iter().enumerate().map(|(n, v)| format!("{{\"n\": {n}, \"v\": \
                {v}}}")).collect();
        let path = put(folder.path(), "numbers.json", &(records.join("\n") + "\n"));
        let mut sql = Sql::in_memory();
        let table = format!("CREATE EXTERNAL TABLE f STORED AS JSON LOCATION '{path}'");
        if sql.try_run(&table).is_err() || sql.try_run("SELECT v FROM f").is_err() {
            return Ok(());
        }
        for (n, written) in numbers.iter().enumerate() {
            if written.contains(['.', 'e']) {
                continue;
            }
            let read = sql.rows(&format!("SELECT v::text FROM f WHERE n = {n}"));
            let whole = read.split('.').next().unwrap_or_default();
            let double = read.parse::<f64>().ok().map(|double| format!("{double:.0}"));
            let is_exact = whole == written || double.as_ref() == Some(written);
            prop_assert!(is_exact, "{} was read as {}", written, read);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = Sql::in_memory();
    let late: String = (0..1_500).map(|n| format!("{{\"a\": {n}}}\n")).collect();
    let path = put(folder.path(), "late.json", &(late + "{\"a\": 2.5}\n"));
    sql.rows(&format!("CREATE EXTERNAL TABLE late STORED AS JSON LOCATION '{path}'"));
    assert_eq!(sql.fails("SELECT sum(a) FROM late"), "22P02");
    let path = put(
        folder.path(),
        "declared.json",
        "{\"a\": 1.5, \"d\": 1.255, \"s\": {\"x\": 18446744073709551615}}\n",
    );
    sql.rows(&format!("CREATE EXTERNAL TABLE cut (a BIGINT) STORED AS JSON LOCATION '{path}'"));
    assert_eq!(sql.fails("SELECT * FROM cut"), "22P02");
    // What was declared with fewer digits is rounded, as anywhere.
    sql.rows(&format!(
        "CREATE EXTERNAL TABLE rounded (d NUMERIC(10, 2)) STORED AS JSON LOCATION '{path}'"
    ));
    assert_eq!(sql.rows("SELECT d FROM rounded"), "1.26");
    sql.rows(&format!("CREATE EXTERNAL TABLE nested STORED AS JSON LOCATION '{path}'"));
    assert_eq!(sql.rows("SELECT (s['x'])::text FROM nested"), "18446744073709551615");
    let wide: String = (0..1_200).map(|_| "{\"w\": 18446744073709551615}\n").collect();
    let path = put(folder.path(), "wide.json", &(wide + "{\"w\": 1.5}\n"));
    sql.rows(&format!("CREATE EXTERNAL TABLE wide STORED AS JSON LOCATION '{path}'"));
    assert_eq!(sql.fails("SELECT max(w) FROM wide"), "22P02");
}

#[test]
fn times_are_read_as_people_write_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = Sql::in_memory();
    let csv = "id,at,d,t,ok,p\n1,1998-04-30 \
               21:30,19980430,21:30,t,1.255\n2,1998-04-30,1998-04-30,21:30:15.5,no,\n3,,,,,\n";
    let csv = put(folder.path(), "times.csv", csv);
    let json = "{\"id\": 1, \"at\": \"1998-04-30 21:30\", \"d\": \"19980430\", \"t\": \
                \"21:30\"}\n{\"id\": 3}\n";
    let json = put(folder.path(), "times.json", json);
    sql.rows(&format!(
        "CREATE EXTERNAL TABLE c (id INT, at TIMESTAMP, d DATE, t TIME, ok BOOLEAN, p NUMERIC(6, \
         2)) STORED AS CSV LOCATION '{csv}' OPTIONS ('format.has_header' 'true')"
    ));
    sql.rows(&format!(
        "CREATE EXTERNAL TABLE j (id INT, at TIMESTAMP, d DATE, t TIME) STORED AS JSON LOCATION \
         '{json}'"
    ));
    let wanted = "1998-04-30 21:30:00 1998-04-30 21:30:00";
    for table in ["c", "j"] {
        let row = format!("SELECT at::text, d::text, t::text FROM {table} WHERE id = 1");
        assert_eq!(sql.rows(&row), wanted, "{table}");
        let nothing = format!("SELECT count(at), count(d), count(t) FROM {table} WHERE id = 3");
        assert_eq!(sql.rows(&nothing), "0 0 0", "{table}");
    }
    assert_eq!(sql.rows("SELECT ok, p::text FROM c WHERE id = 1"), "true 1.26");
    let bad = put(folder.path(), "bad.csv", "id,at\n1,yesterweek\n");
    sql.rows(&format!(
        "CREATE EXTERNAL TABLE b (id INT, at TIMESTAMP) STORED AS CSV LOCATION '{bad}' OPTIONS \
         ('format.has_header' 'true')"
    ));
    assert_eq!(sql.fails("SELECT at FROM b"), "22007");
    // A view over such a table reads it as its query does.
    sql.rows(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c FROM TUMBLE(c, at, \
              INTERVAL '1' DAY) GROUP BY window_start",
    );
    crate::views::wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT c FROM v"), "2");
}
