//! Sealed segments: nothing is lost, nothing is read twice, wherever a record is.

use crate::support::Sql;
use crate::views::wait_for_views;
use std::path::Path;
use std::time::{Duration, Instant};
use thalweg_machine::Reply;

fn open(folder: &Path) -> Sql {
    Sql::in_folder(folder, 20)
}

fn insert(sql: &mut Sql, from: i64, to: i64) {
    let rows: Vec<String> = (from..to).map(|n| format!("({n}, 'k{}', {n}.5)", n % 7)).collect();
    for rows in rows.chunks(200) {
        sql.rows(&format!("INSERT INTO s (n, k, x) VALUES {}", rows.join(", ")));
    }
}

fn wait_for(sql: &mut Sql, query: &str, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let rows = sql.rows(query);
        if wanted(&rows) {
            return rows;
        }
        assert!(Instant::now() < deadline, "{query}: {rows}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const SUMS: &str = "SELECT count(*), sum(n), count(DISTINCT n), count(DISTINCT k), sum(x) FROM s";

#[test]
fn older_records_are_sealed_and_stay_in_every_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows(
        "CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION) PARTITION BY k WITH \
              (partitions = 2, segment_records = 100)",
    );
    sql.rows("CREATE MATERIALIZED VIEW early AS SELECT count(*) AS c, sum(n) AS s FROM s");
    insert(&mut sql, 0, 3_000);
    let in_memory = "SELECT max(records) < 200 FROM sys.streams";
    for _ in 0..2 {
        wait_for(&mut sql, in_memory, |rows| rows == "true");
        sql.rows(
            "CREATE OR REPLACE MATERIALIZED VIEW late AS SELECT count(*) AS c, sum(n) AS s FROM s",
        );
        wait_for_views(&mut sql);
        assert_eq!(sql.rows(SUMS), "3000 4498500 3000 7 4500000.0");
        assert_eq!(sql.rows("SELECT * FROM early"), "3000 4498500");
        assert_eq!(sql.rows("SELECT * FROM late"), "3000 4498500");
        assert_eq!(sql.rows("SELECT k, x FROM s WHERE n = 5"), "k5 5.5");
        assert_eq!(sql.rows("SELECT count(*) FROM s WHERE n >= 2990"), "10");
        assert_eq!(sql.rows("SELECT count(*) FROM (SELECT * FROM s LIMIT 2900)"), "2900");
        drop(sql);
        sql = open(folder.path());
    }
    let parquet = folder.path().join("segments/s");
    let own = format!("SELECT count(DISTINCT n) FROM '{}/0/*.parquet'", parquet.display());
    let sealed = "SELECT sum(sealed_records) FROM sys.streams WHERE partition = 0";
    assert_eq!(sql.rows(&own), sql.rows(sealed), "the files say the same to whoever reads them");
    sql.rows("DROP MATERIALIZED VIEW early");
    sql.rows("DROP MATERIALIZED VIEW late");
    sql.rows("DROP STREAM s");
    assert_eq!(files(&parquet.join("0")), Vec::<String>::new());
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION)");
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "0", "a new stream of the name begins empty");
}

#[test]
fn views_follow_while_records_are_sealed_under_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows(
        "CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION) PARTITION BY k WITH \
              (partitions = 3, segment_records = 7)",
    );
    sql.rows(
        "CREATE MATERIALIZED VIEW v WITH (batch_rows = 5) AS SELECT k, count(*) AS c, sum(n) \
              AS s FROM s GROUP BY k",
    );
    for round in 0..40 {
        insert(&mut sql, round * 50, (round + 1) * 50);
        if round % 4 == 0 {
            sql.rows("SEAL STREAM s");
        }
        if round % 15 == 14 {
            sql.crash();
            sql = open(folder.path());
        }
        let all = format!("{}", (round + 1) * 50);
        assert_eq!(sql.rows("SELECT count(*) FROM s"), all, "in round {round}");
    }
    wait_for_views(&mut sql);
    let batch = sql.rows("SELECT k, count(*), sum(n) FROM s GROUP BY k ORDER BY k");
    assert_eq!(sql.rows("SELECT * FROM v ORDER BY k"), batch);
}

#[test]
fn a_crash_between_the_manifest_and_the_trimming_shows_no_record_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION)");
    let add = |sql: &mut Sql| {
        for n in 1..=100 {
            let (id, n) = (format!("{n}-0"), n.to_string());
            let reply = sql.engine.call(&[b"XADD", b"s", id.as_bytes(), b"n", n.as_bytes()]);
            assert!(!matches!(reply, Ok(Reply::Error(_)) | Err(_)), "{reply:?}");
        }
    };
    add(&mut sql);
    sql.rows("SEAL STREAM s");
    // The same records are entries again, as if the node had died before they were trimmed.
    sql.engine.call(&[b"DEL", b"s"]).expect("del");
    add(&mut sql);
    std::fs::write(folder.path().join("segments/s/0/leftover.parquet"), b"half a file")
        .expect("write");
    sql.crash();
    let mut sql = open(folder.path());
    sql.rows("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c FROM s");
    wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT count(*), sum(n) FROM s"), "100 5050");
    assert_eq!(sql.rows("SELECT * FROM v"), "100");
    wait_for(&mut sql, "SELECT records FROM sys.streams", |rows| rows == "0");
    assert_eq!(files(&folder.path().join("segments/s/0")).len(), 1, "the leftover is gone");
}

#[test]
fn values_of_every_type_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows(
        "CREATE STREAM s (n BIGINT, b BOOLEAN, i2 SMALLINT, i4 INTEGER, x4 REAL, x8 DOUBLE \
              PRECISION, d4 DECIMAL(8, 2), d8 DECIMAL(18, 3), \
              d16 DECIMAL(38, 6), t TEXT, j JSON, y BYTEA, day DATE, at TIMESTAMP, atz \
              TIMESTAMPTZ, few BIGINT)",
    );
    // More values than a dictionary of numbers holds, some of them NULL, up and down by steps that
    // look like chance.
    sql.rows(
        "INSERT INTO s SELECT n, n % 3 = 0, r % 32768, CASE WHEN n % 5 > 0 THEN r - \
              2147483648 END, r / 7.0, CASE WHEN n % 11 > 0 THEN r / 3.0 END, \
              CAST(r % 1000000 AS DECIMAL(8, 2)) / 4, CAST(r AS DECIMAL(18, 3)) * -1, CAST(r AS \
              DECIMAL(38, 6)) / 9, 'text ' || r, \
              '{\"n\":' || r || '}', decode(lpad(r::text, 12, '0'), 'hex'), DATE '1970-01-01' + \
              CAST(r % 40000 AS INT) - 20000, \
              to_timestamp_micros(r * 1000 - 3000000000000), to_timestamp_micros(r * 1000000), n % \
              4 \
              FROM (SELECT value AS n, value * 2654435761 % 4294967296 AS r FROM \
              generate_series(1, 40000) AS t(value))",
    );
    for edge in [
        "9223372036854775807, true, 32767, 2147483647, 'NaN', 'Infinity', -999999.99, \
         999999999999.999",
        "-9223372036854775808, false, -32768, -2147483648, '-0', '-Infinity', 0, -999999999999.999",
    ] {
        sql.rows(&format!("INSERT INTO s (n, b, i2, i4, x4, x8, d4, d8) VALUES ({edge})"));
    }
    let all = "SELECT * FROM s ORDER BY n";
    let before = sql.rows(all);
    assert_eq!(before.lines().count(), 40_002);
    sql.rows("SEAL STREAM s");
    assert_eq!(sql.rows("SELECT sealed_records FROM sys.streams WHERE stream = 's'"), "40002");
    for (sealed, entry) in sql.rows(all).lines().zip(before.lines()) {
        assert_eq!(sealed, entry);
    }
}

#[test]
fn what_fits_no_column_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT NOT NULL, k TEXT) WITH (on_error = 'dead_letter')");
    for fields in [["n", "1", "colour", "red"], ["n", "many", "k", "a"], ["n", "2", "k", "b"]] {
        let mut args: Vec<&[u8]> = vec![b"XADD", b"s", b"*"];
        args.extend(fields.iter().map(|text| text.as_bytes()));
        sql.engine.call(&args).expect("add");
    }
    sql.rows("SEAL STREAM s");
    assert_eq!(sql.rows("SELECT n, k FROM s ORDER BY n"), "1 \n2 b");
    let rest = format!(
        "SELECT _rest FROM '{}' WHERE n = 1",
        folder.path().join("segments/s/0/*.parquet").display()
    );
    assert_eq!(sql.rows(&rest), "{\"colour\":\"red\"}");
    let dead = sql.rows("SELECT data FROM \"s.dead\"");
    assert!(dead.contains("many") && dead.contains("not a BIGINT"), "{dead}");
}

#[test]
fn a_consumer_group_holds_what_it_has_not_dealt_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION)");
    insert(&mut sql, 0, 10);
    sql.engine.call(&[b"XGROUP", b"CREATE", b"s", b"g", b"0"]).expect("a group");
    sql.rows("SEAL STREAM s");
    assert_eq!(sql.rows("SELECT records FROM sys.streams"), "10", "nothing was delivered");
    let read: [&[u8]; 9] =
        [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"6", b"STREAMS", b"s", b">"];
    sql.engine.call(&read).expect("read");
    sql.rows("SEAL STREAM s");
    assert_eq!(sql.rows("SELECT records FROM sys.streams"), "10", "nothing was acknowledged");
    let pending = sql.engine.call(&[b"XPENDING", b"s", b"g", b"-", b"+", b"5"]).expect("pending");
    for entry in pending.elements() {
        let id = entry.elements()[0].as_bytes().expect("an id").to_vec();
        sql.engine.call(&[b"XACK", b"s", b"g", &id]).expect("ack");
    }
    sql.rows("SEAL STREAM s");
    assert_eq!(sql.rows("SELECT records, sealed_records FROM sys.streams"), "5 5");
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "10");
}

#[test]
fn retention_by_size_and_by_time_drops_the_oldest_segments() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows(
        "CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION) WITH (segment_records = 500, \
              retention_bytes = '20KiB')",
    );
    insert(&mut sql, 0, 6_000);
    sql.rows("SEAL STREAM s");
    let bytes = "SELECT segments_bytes <= 20480 AND segments > 0 FROM sys.streams";
    wait_for(&mut sql, bytes, |rows| rows == "true");
    let (least, most) = (sql.rows("SELECT min(n) FROM s"), sql.rows("SELECT max(n) FROM s"));
    assert!(least.parse::<i64>().expect("a number") >= 500, "{least}");
    assert_eq!(most, "5999");
    sql.rows("DROP STREAM s");
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION) WITH (retention = '300ms')");
    insert(&mut sql, 0, 100);
    sql.rows("SEAL STREAM s");
    wait_for(&mut sql, "SELECT count(*) FROM s", |rows| rows == "0");
}

#[test]
fn late_records_of_segments_are_set_aside_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows(
        "CREATE STREAM s (ts TIMESTAMP, n BIGINT, word TEXT, WATERMARK FOR ts AS ts - \
              INTERVAL '1' SECOND)",
    );
    sql.rows(
        "INSERT INTO s VALUES ('2026-01-01 00:00:00', 1, 'a'), ('2026-01-01 01:00:00', 2, \
              'b'), ('2026-01-01 00:00:01', 3, 'too late')",
    );
    sql.rows("SEAL STREAM s");
    sql.rows(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c FROM TUMBLE(s, ts, \
              INTERVAL '10' SECOND) GROUP BY window_start",
    );
    wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT late FROM sys.views"), "1");
    let late = sql.rows("SELECT data ->> 'n', data ->> 'word' FROM \"v.late\"");
    assert_eq!(late, "3 too late");
}

#[test]
fn what_a_producer_may_repeat_is_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION)");
    sql.engine.call(&[b"XADD", b"s", b"*", b"n", b"0"]).expect("add");
    // What comes behind them frees none of them.
    let plain = |sql: &Sql| sql.engine.call(&[b"XADD", b"s", b"*", b"n", b"0"]).expect("add");
    let add = |sql: &Sql, n: u64| {
        let n = n.to_string();
        let args: [&[u8]; 8] =
            [b"XADD", b"s", b"IDMP", b"p", n.as_bytes(), b"*", b"n", n.as_bytes()];
        sql.engine.call(&args).expect("add").as_bytes().map(<[u8]>::to_vec)
    };
    let first: Vec<_> = (1..=20).map(|n| add(&sql, n)).collect();
    for _ in 0..5 {
        plain(&sql);
    }
    sql.rows("SEAL STREAM s");
    assert_eq!(sql.rows("SELECT records, sealed_records FROM sys.streams"), "25 1");
    let again: Vec<_> = (1..=20).map(|n| add(&sql, n)).collect();
    assert_eq!(first, again, "each is known by the record that it repeats");
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "26");
}

#[test]
fn a_segment_that_is_missing_or_cut_is_no_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION)");
    insert(&mut sql, 0, 50);
    sql.rows("SEAL STREAM s");
    let name = files(&folder.path().join("segments/s/0")).remove(0);
    let path = folder.path().join("segments/s/0").join(name);
    let whole = std::fs::read(&path).expect("read");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("write");
    assert_eq!(sql.fails("SELECT count(*) FROM s"), "XX000");
    std::fs::remove_file(&path).expect("remove");
    assert_eq!(sql.fails("SELECT count(*) FROM s"), "XX000");
    std::fs::write(&path, &whole).expect("write");
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "50");
}

#[test]
fn many_records_that_fit_no_column_keep_nothing_from_being_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT NOT NULL) WITH (on_error = 'dead_letter')");
    for number in 0..20_000 {
        let text = if number % 10 == 0 { number.to_string() } else { "none".to_owned() };
        sql.engine.call(&[b"XADD", b"s", b"*", b"n", text.as_bytes()]).expect("add");
    }
    sql.rows("SEAL STREAM s");
    assert_eq!(sql.rows("SELECT records, segments > 1 FROM sys.streams"), "0 true");
    assert_eq!(sql.rows("SELECT count(*), max(n) FROM s"), "2000 19990");
    assert_eq!(sql.rows("SELECT count(*) FROM \"s.dead\""), "18000");
}

#[test]
fn a_stream_that_was_half_dropped_leaves_nothing_to_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION)");
    insert(&mut sql, 0, 50);
    sql.rows("SEAL STREAM s");
    // As if the node had died after the first step of DROP STREAM.
    sql.engine.call(&[b"HDEL", b"thalweg:catalog", b"s"]).expect("hdel");
    sql.engine.call(&[b"UNLINK", b"s"]).expect("unlink");
    sql.crash();
    let mut sql = open(folder.path());
    sql.rows("CREATE STREAM s (n BIGINT, k TEXT, x DOUBLE PRECISION)");
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "0");
    sql.crash();
    let mut sql = open(folder.path());
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "0", "not after a restart either");
}
