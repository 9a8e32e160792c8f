//! Views over time: records that come too late, statements that make and change views, views that
//! fail, and views that have no memory.

use crate::support::Sql;
use crate::views::wait_for_views;
use std::time::{Duration, Instant};
use thalweg_node::EngineSettings;
use thalweg_query::SqlSettings;

#[test]
fn late_records_correct_within_the_lateness_and_are_set_aside_beyond() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "CREATE STREAM e (ts TIMESTAMP, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)",
    );
    sql.rows(
        "CREATE MATERIALIZED VIEW v WITH (lateness = '30 seconds') AS \
              SELECT window_start, sum(n) AS s FROM TUMBLE(e, ts, INTERVAL '10' SECOND) GROUP BY \
              window_start",
    );
    sql.rows("INSERT INTO e VALUES ('2026-01-01 00:00:01', 1), ('2026-01-01 00:00:20', 2)");
    // In time by the lateness, though the window is over.
    sql.rows("INSERT INTO e VALUES ('2026-01-01 00:00:02', 10)");
    wait_for_views(&mut sql);
    assert_eq!(
        sql.rows("SELECT * FROM v ORDER BY 1"),
        "2026-01-01T00:00:00 11\n2026-01-01T00:00:20 2"
    );
    sql.rows(
        "INSERT INTO e VALUES ('2026-01-01 00:01:00', 3), ('2026-01-01 00:00:03', 100), (NULL, 7)",
    );
    wait_for_views(&mut sql);
    assert_eq!(
        sql.rows("SELECT * FROM v ORDER BY 1"),
        "2026-01-01T00:00:00 11\n2026-01-01T00:00:20 2\n2026-01-01T00:01:00 3"
    );
    assert_eq!(sql.rows("SELECT late FROM sys.views"), "2");
    assert_eq!(sql.rows("SELECT json_get_str(data, 'n') FROM \"v.late\""), "100");
}

#[test]
fn late_records_of_history_are_set_aside_by_every_thread() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "CREATE STREAM e (ts TIMESTAMP, k TEXT, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5' \
         SECOND) \
         PARTITION BY k WITH (partitions = 4)",
    );
    // For each key a record in time, one that closes its window, and one that is late.
    for (minute, second) in [(0, 1), (1, 0), (0, 2)] {
        for key in 0..20 {
            sql.rows(&format!(
                "INSERT INTO e VALUES ('2026-01-01 00:{minute:02}:{second:02}', 'k{key}', {minute})"
            ));
        }
    }
    sql.rows(
        "CREATE MATERIALIZED VIEW v WITH (batch_rows = 3) AS \
              SELECT window_start, count(*) AS c FROM TUMBLE(e, ts, INTERVAL '10' SECOND) GROUP BY \
              window_start",
    );
    wait_for_views(&mut sql);
    assert_eq!(
        sql.rows("SELECT * FROM v ORDER BY 1"),
        "2026-01-01T00:00:00 20\n2026-01-01T00:01:00 20"
    );
    assert_eq!(sql.rows("SELECT late, lag FROM sys.views"), "20 0");
    let set_aside = "SELECT count(*), count(DISTINCT json_get_str(data, 'k')) FROM \"v.late\"";
    assert_eq!(sql.rows(set_aside), "20 20");
}

#[test]
fn a_year_of_late_data_and_a_clock_that_jumps_leave_the_rest_right() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "CREATE STREAM e (ts TIMESTAMP, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)",
    );
    sql.rows(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c \
              FROM HOP(e, ts, INTERVAL '1' SECOND, INTERVAL '10' SECOND) GROUP BY window_start",
    );
    sql.rows("INSERT INTO e VALUES ('2026-01-01 00:00:00', 1)");
    // A clock that is a year ahead closes everything before; what follows is late, and said to be.
    sql.rows("INSERT INTO e VALUES ('2027-01-01 00:00:00', 2)");
    for day in 1..=28 {
        sql.rows(&format!("INSERT INTO e VALUES ('2026-02-{day:02} 00:00:00', 3)"));
    }
    wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT count(*), sum(c) FROM v"), "20 20");
    assert_eq!(sql.rows("SELECT late FROM sys.views"), "28");
    assert_eq!(sql.rows("SELECT count(*) FROM \"v.late\""), "28");
}

#[test]
fn views_are_made_paused_replaced_and_dropped() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM s (k TEXT, n BIGINT)");
    sql.rows("CREATE MATERIALIZED VIEW v AS SELECT k, sum(n) AS s FROM s GROUP BY k");
    sql.rows("INSERT INTO s VALUES ('a', 1)");
    wait_for_views(&mut sql);
    sql.rows("PAUSE MATERIALIZED VIEW v");
    std::thread::sleep(Duration::from_millis(150));
    sql.rows("INSERT INTO s VALUES ('a', 2)");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(sql.rows("SELECT s FROM v"), "1");
    assert_eq!(sql.rows("SELECT state, lag FROM sys.views"), "paused 1");
    sql.rows("RESUME MATERIALIZED VIEW v");
    wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT s FROM v"), "3");
    sql.rows("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT k, count(*) AS c FROM s GROUP BY k");
    assert_eq!(sql.rows("SELECT c FROM v"), "2");
    assert_eq!(sql.fails("DROP STREAM s"), "2BP01");
    assert_eq!(sql.fails("DROP TABLE v"), "42809");
    sql.rows("DROP MATERIALIZED VIEW v");
    assert_eq!(sql.fails("SELECT * FROM v"), "42P01");
    sql.rows("DROP STREAM s");
}

#[test]
fn what_cannot_be_maintained_is_refused_with_the_reason() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM s (ts TIMESTAMP, k TEXT, n BIGINT)");
    sql.rows("CREATE TABLE t (k TEXT PRIMARY KEY)");
    for (query, reason) in [
        ("SELECT * FROM s", "no aggregate"),
        ("SELECT k, row_number() OVER (PARTITION BY k) FROM s", "no aggregate"),
        ("SELECT k FROM t GROUP BY k", "not a stream"),
        ("SELECT count(*) FROM s WHERE ts > now()", "now"),
        (
            "SELECT count(c) FROM (SELECT k, count(*) AS c FROM s GROUP BY k)",
            "aggregate of an aggregate",
        ),
        ("SELECT a.k, count(*) FROM s a JOIN s b ON a.k = b.k GROUP BY a.k", "join of streams"),
        (
            "SELECT t.k, stddev(s.n + length(t.k)) FROM s JOIN t ON s.k = t.k GROUP BY t.k",
            "values from a table",
        ),
        ("SELECT t.k, count(*) FROM s FULL JOIN t ON s.k = t.k GROUP BY t.k", "Full join"),
        ("SELECT k, array_agg(n) FROM s GROUP BY k", "order"),
        ("SELECT count(*) FROM HOP(s, ts, INTERVAL '1' SECOND, INTERVAL '2' SECOND)", "grouped by"),
        ("SELECT count(*) FROM s GROUP BY ROLLUP(k)", "ROLLUP"),
        (
            "SELECT window_start, max(window_end) FROM HOP(s, ts, INTERVAL '1' SECOND, INTERVAL \
             '2' SECOND) GROUP BY window_start",
            "before grouping",
        ),
        (
            "SELECT window_end, sum(n * length(t.k)) FILTER (WHERE window_start > TIMESTAMP \
             '2026-01-01 00:00:00') \
             FROM HOP(s, ts, INTERVAL '1' SECOND, INTERVAL '2' SECOND) AS h JOIN t ON h.k = t.k \
             GROUP BY window_end",
            "before grouping",
        ),
        (
            "SELECT corr(DISTINCT s.n, length(t.k)) FROM s JOIN t ON s.k = t.k",
            "values from a table",
        ),
        (
            "SELECT sum(s.__row * length(t.k)) FROM (SELECT n + 1 AS __row, k FROM s) s JOIN t ON \
             s.k = t.k",
            "__row",
        ),
    ] {
        let error =
            sql.try_run(&format!("CREATE MATERIALIZED VIEW v AS {query}")).expect_err(query);
        assert!(error.message.contains(reason), "{query}: {error:?}");
        assert_eq!(error.state.code(), "0A000", "{query}: {error:?}");
    }
    let plan = sql.rows(
        "EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT k, sum(n) FROM s WHERE n > 1 GROUP BY k",
    );
    assert!(plan.contains("incremental: group by no window"), "{plan}");
}

#[test]
fn a_view_that_fails_says_why_and_keeps_its_last_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Sql::in_folder(folder.path(), 10);
    let mut sql = open();
    sql.rows("CREATE STREAM s (n BIGINT)");
    sql.rows("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, max(100 / n) AS m FROM s");
    sql.rows("INSERT INTO s VALUES (1), (2)");
    wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT * FROM v"), "2 100");
    sql.rows("INSERT INTO s VALUES (5), (0)");
    for _ in 0..2 {
        let deadline = Instant::now() + Duration::from_secs(20);
        while sql.rows("SELECT state FROM sys.views") != "failed" {
            assert!(Instant::now() < deadline, "{}", sql.rows("SELECT * FROM sys.views"));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(sql.rows("SELECT error FROM sys.views").contains("zero"));
        assert_eq!(sql.rows("SELECT count(*) FROM s"), "4", "the stream does not care");
        drop(sql);
        sql = open();
    }
    sql.rows(
        "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT count(*) AS c, max(100 / nullif(n, \
              0)) AS m FROM s",
    );
    assert_eq!(sql.rows("SELECT * FROM v"), "4 100");
}

#[test]
fn views_wait_where_their_memory_is_spent() {
    let settings = SqlSettings { view_memory_max_bytes: 4 << 20, ..SqlSettings::default() };
    let mut sql = Sql::open(EngineSettings::in_memory(), settings);
    sql.rows("CREATE STREAM s (n BIGINT)");
    sql.rows("CREATE MATERIALIZED VIEW large AS SELECT n, count(*) AS c FROM s GROUP BY n");
    sql.rows("CREATE MATERIALIZED VIEW small AS SELECT count(*) AS c FROM s");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut total = 0;
    while sql.rows("SELECT state FROM sys.views WHERE view = 'small'") != "starved" {
        assert!(Instant::now() < deadline, "{}", sql.rows("SELECT * FROM sys.views"));
        sql.rows(&format!(
            "INSERT INTO s SELECT value + {total} FROM generate_series(1, 20000) AS t(value)"
        ));
        total += 20_000;
    }
    sql.rows("INSERT INTO s SELECT value FROM generate_series(1, 20000) AS t(value)");
    total += 20_000;
    std::thread::sleep(Duration::from_millis(300));
    let behind = sql.rows("SELECT lag >= 20000 FROM sys.views WHERE view = 'small'");
    assert_eq!(behind, "true", "it does wait");
    sql.rows("DROP MATERIALIZED VIEW large");
    wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT c FROM small"), total.to_string());
}
