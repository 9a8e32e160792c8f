//! Continuous views against the answer of the same query run once over the same events: in another
//! order, with other options, with other numbers of partitions, and with a crash in the middle.

use crate::support::Sql;
use proptest::prelude::*;
use std::time::{Duration, Instant};
use thalweg_node::EngineSettings;
use thalweg_query::SqlSettings;

/// What views are asked, over a stream `e (ts, k, n, x)`.
const QUERIES: &[&str] = &[
    "SELECT k, count(*) AS c, sum(n) AS s, avg(n) AS a, min(n) AS lo, max(n) AS hi FROM e GROUP BY \
     k",
    "SELECT count(*) AS c, sum(x) AS s FROM e",
    "SELECT window_start, k, count(*) AS c, sum(n) AS s, avg(x) AS a FROM TUMBLE(e, ts, INTERVAL \
     '10' SECOND) GROUP BY window_start, k",
    "SELECT window_start, window_end, count(*) AS c, max(x) AS hi FROM HOP(e, ts, INTERVAL '5' \
     SECOND, INTERVAL '20' SECOND) GROUP BY window_start, window_end",
    "SELECT k, window_start, window_end, count(*) AS c, sum(n) AS s FROM SESSION(e, ts, INTERVAL \
     '3' SECOND, k) GROUP BY k, window_start, window_end",
    "SELECT k, count(DISTINCT n) AS d, approx_distinct(n) AS ad, count(*) FILTER (WHERE n > 50) AS \
     big FROM e WHERE n % 3 <> 1 GROUP BY k HAVING count(*) > 1",
    "SELECT CASE WHEN n < 30 THEN 'low' ELSE 'high' END AS class, sum(n) * 2 AS s FROM e GROUP BY \
     1 ORDER BY 2 DESC LIMIT 1",
    "SELECT DISTINCT k FROM e WHERE x IS NOT NULL",
    // Views over views, by their numbers here.
    "SELECT c % 3 AS m, count(*) AS g, sum(s) AS s FROM v0 GROUP BY 1",
    "SELECT window_start, sum(c) AS c, max(a) AS a, count(DISTINCT k) AS d FROM TUMBLE((SELECT \
     window_start AS at, k, c, a FROM v2), at, INTERVAL '1' MINUTE) GROUP BY window_start",
    "SELECT window_end, sum(c) AS c FROM HOP((SELECT window_end AS at, c FROM v3), at, INTERVAL \
     '20' SECOND, INTERVAL '1' MINUTE) GROUP BY window_end",
    "SELECT k, count(*) AS sessions, max(c) AS longest, max(window_end) AS last FROM v4 GROUP BY k",
    "SELECT max(c) AS c, min(window_start) AS first FROM v9",
    // Joins with a table and with keys.
    "SELECT class, count(*) AS c, sum(n) AS s, avg(n) AS a, count(DISTINCT n) AS d FROM e JOIN \
     names ON e.k = names.k GROUP BY class",
    "SELECT class, window_start, sum(n + 1) AS s FROM TUMBLE(e, ts, INTERVAL '10' SECOND) AS w \
     LEFT JOIN names ON w.k = names.k GROUP BY class, window_start",
    "SELECT window_end, count(*) AS c FROM HOP(e, ts, INTERVAL '5' SECOND, INTERVAL '20' SECOND) \
     AS w JOIN names ON w.k = names.k AND weight > n GROUP BY window_end",
    "SELECT upper(kv.value) AS v, count(*) AS c, max(x) AS hi FROM kv JOIN e ON kv.key = 'class:' \
     || e.k WHERE e.n > 3 GROUP BY 1 HAVING count(*) > 1",
    "SELECT class, sum(c) AS c FROM v2 JOIN names ON v2.k = names.k GROUP BY class",
    "SELECT count(*) AS c, sum(c) AS s FROM v13",
    // Aggregates of values of both, and of the table's alone.
    "SELECT class, sum(n * weight) AS s, avg(n * weight) AS a, count(n * weight) AS c, count(*) AS \
     r FROM e JOIN names ON e.k = names.k GROUP BY class",
    "SELECT window_start, sum(weight) AS w, count(weight) AS c, min(weight - n) AS lo, max(weight) \
     AS hi, count(DISTINCT weight % 7 + n) AS d FROM TUMBLE(e, ts, INTERVAL '10' SECOND) AS w LEFT \
     JOIN names ON w.k = names.k GROUP BY window_start",
    "SELECT sum(CASE WHEN n > weight THEN n ELSE weight END) AS s, sum(n * weight) FILTER (WHERE n \
     > 20) AS big, sum(n) FILTER (WHERE weight < 60) AS f, sum(weight) FILTER (WHERE n = 7) AS w, \
     count(*) FILTER (WHERE weight > n) AS c FROM e JOIN names ON e.k = names.k",
    "SELECT class, sum(worth) AS s, avg(worth) AS a, max(worth) AS hi FROM (SELECT class, n * \
     CAST(weight AS DECIMAL(8, 2)) AS worth FROM e JOIN names ON e.k = names.k WHERE weight <> n) \
     GROUP BY class",
    "SELECT window_end, kv.value AS v, sum(x * weight / 4) AS s, sum(2 * -weight) AS m, avg(x - \
     weight) AS a FROM HOP(e, ts, INTERVAL '5' SECOND, INTERVAL '20' SECOND) AS w JOIN names ON \
     w.k = names.k JOIN kv ON kv.key = 'class:' || w.k GROUP BY window_end, kv.value",
    "SELECT class, avg(CAST(n * weight AS DECIMAL(18, 6))) AS a, sum(n * CASE WHEN e.k = 'k0' THEN \
     weight ELSE 1 END) AS s, avg(DISTINCT n * weight) AS d FROM e LEFT JOIN names ON e.k = \
     names.k GROUP BY class",
    // The most frequent, of values and of groups.
    "SELECT k, top_k(n, 3) AS often FROM e GROUP BY k",
    "SELECT window_start, k, c FROM (SELECT window_start, k, count(*) AS c, row_number() OVER \
     (PARTITION BY window_start ORDER BY count(*) DESC, k) AS place FROM TUMBLE(e, ts, INTERVAL \
     '10' SECOND) GROUP BY window_start, k) WHERE place <= 2",
];

pub(crate) fn table_of(rows: &str) -> Vec<String> {
    let mut rows: Vec<String> = rows.lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

pub(crate) fn wait_for_views(sql: &mut Sql) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let behind = sql.rows(
            "SELECT view, state, lag, error FROM sys.views WHERE (lag > 0 OR \
                               state = 'backfill' OR error IS NOT NULL)",
        );
        if behind.is_empty() {
            return;
        }
        assert!(!behind.contains("failed"), "{behind}");
        assert!(Instant::now() < deadline, "views do not catch up: {behind}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn check_all(sql: &mut Sql, context: &str) {
    wait_for_views(sql);
    for (number, query) in QUERIES.iter().enumerate() {
        let view = table_of(&sql.rows(&format!("SELECT * FROM v{number}")));
        let batch = table_of(&sql.rows(query));
        assert_eq!(view, batch, "{context}: {query}");
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) second: i64,
    pub(crate) key: u8,
    pub(crate) number: Option<i64>,
}

pub(crate) fn insert(sql: &mut Sql, events: &[Event]) {
    for chunk in events.chunks(500) {
        let rows: Vec<String> = chunk
            .iter()
            .map(|event| {
                let number = event.number.map_or("NULL".to_owned(), |number| number.to_string());
                let x = event.number.map_or("NULL".to_owned(), |number| format!("{number}.25"));
                let (minute, second) = (event.second / 60, event.second % 60);
                format!(
                    "('2026-01-01 00:{minute:02}:{second:02}', 'k{}', {number}, {x})",
                    event.key
                )
            })
            .collect();
        sql.rows(&format!("INSERT INTO e VALUES {}", rows.join(", ")));
    }
}

pub(crate) fn create_stream(sql: &mut Sql, partitions: u16, lateness: &str) {
    sql.rows(&format!(
        "CREATE STREAM e (ts TIMESTAMP, k TEXT, n BIGINT, x DOUBLE PRECISION, \
         WATERMARK FOR ts AS ts - INTERVAL '{lateness}') PARTITION BY k WITH (partitions = \
         {partitions})"
    ));
}

fn create_views(sql: &mut Sql, knobs: &str) {
    sql.rows("CREATE TABLE names (k TEXT PRIMARY KEY, class TEXT, weight BIGINT)");
    sql.rows(
        "INSERT INTO names VALUES ('k0', 'a', 10), ('k1', 'b', 50), ('k2', 'a', 90), ('k9', \
              'c', 1)",
    );
    for (key, class) in [(b"class:k0", b"x"), (b"class:k1", b"y"), (b"class:k2", b"x")] {
        sql.engine.call(&[b"SET", key, class]).expect("set");
    }
    for (number, query) in QUERIES.iter().enumerate() {
        sql.rows(&format!("CREATE MATERIALIZED VIEW v{number} {knobs} AS {query}"));
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (0i64..900, 0u8..6, proptest::option::weighted(0.9, 0i64..100));
    let event = event.prop_map(|(second, key, number)| Event { second, key, number });
    proptest::collection::vec(event, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40,
        ..ProptestConfig::default() })]

    /// However events arrive, and whatever the knobs, a view says what the query says.
    #[test]
    fn views_equal_their_queries(
        events in events(),
        partitions in 1u16..4,
        batch_rows in prop::sample::select(vec![1usize, 7, 8_192]),
        split in 0usize..400,
        seal in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let settings =
            SqlSettings { segments: Some(folder.path().to_string_lossy().into_owned()),
                ..SqlSettings::default() };
        let mut sql = Sql::open(EngineSettings::in_memory(), settings);
        create_stream(&mut sql, partitions, "1 hour");
        let split = split.min(events.len());
        let (history, live) = events.split_at(split);
        let (older, newer) = history.split_at(history.len() / 2);
        insert(&mut sql, older);
        if seal {
            sql.rows("SEAL STREAM e");
        }
        insert(&mut sql, newer);
        create_views(&mut sql, &format!("WITH (batch_rows = {batch_rows}, batch_delay = '0ms')"));
        insert(&mut sql, live);
        check_all(&mut sql, "after all events");
        if seal {
            sql.rows("SEAL STREAM e");
            prop_assert_eq!(sql.rows("SELECT sum(records) FROM sys.streams"), "0");
        }
        sql.rows("UPDATE names SET class = 'd', weight = 20 WHERE k IN ('k1', 'k9')");
        sql.rows("DELETE FROM names WHERE k = 'k2'");
        check_all(&mut sql, "after the tables have changed");
    }
}

fn ordered(count: i64) -> Vec<Event> {
    (0..count)
        .map(|at| Event { second: at * 900 / count, key: (at % 5) as u8, number: Some(at % 97) })
        .collect()
}

#[test]
fn windows_that_have_closed_stay_right() {
    let mut sql = Sql::in_memory();
    create_stream(&mut sql, 1, "5 seconds");
    create_views(&mut sql, "");
    insert(&mut sql, &ordered(3_000));
    check_all(&mut sql, "in order");
    let frozen = sql.rows("SELECT watermark FROM sys.views WHERE view = 'v2'");
    assert_eq!(frozen, "2026-01-01T00:14:54Z");
}

#[test]
fn a_node_that_comes_back_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Sql::in_folder(folder.path(), 20);
    let events = ordered(4_000);
    let mut sql = open();
    create_stream(&mut sql, 2, "5 seconds");
    create_views(&mut sql, "WITH (batch_rows = 100)");
    for (round, part) in events.chunks(1_000).enumerate() {
        insert(&mut sql, part);
        wait_for_views(&mut sql);
        if round % 2 == 0 {
            // As a crash leaves it: no last checkpoint.
            sql.crash();
        } else {
            drop(sql);
        }
        sql = open();
        check_all(&mut sql, &format!("after restart {round}"));
    }
}

#[test]
fn a_session_is_open_while_a_record_in_time_may_join_it() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "CREATE STREAM e (ts TIMESTAMP, k TEXT, WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)",
    );
    let query = "SELECT k, window_start, count(*) AS c FROM SESSION(e, ts, INTERVAL '10' SECOND, \
                 k) GROUP BY k, window_start";
    sql.rows(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
    // When the last one comes, k has been silent for a gap; and still it is less than a gap behind.
    for (second, key) in [(0, "k"), (10, "j"), (5, "k")] {
        sql.rows(&format!("INSERT INTO e VALUES ('2026-01-01 00:00:{second:02}', '{key}')"));
        wait_for_views(&mut sql);
    }
    assert_eq!(sql.rows("SELECT late FROM sys.views"), "0");
    let ordered = |source: &str| format!("SELECT * FROM ({source}) q ORDER BY 1, 2");
    assert_eq!(sql.rows(&ordered("SELECT * FROM v")), sql.rows(&ordered(query)));
}

#[test]
fn a_window_of_a_view_over_hopping_windows_is_shown_once() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM e (ts TIMESTAMP, n BIGINT, WATERMARK FOR ts AS ts)");
    sql.rows(
        "CREATE MATERIALIZED VIEW v AS SELECT window_end, count(*) AS c FROM HOP(e, ts, \
              INTERVAL '1' MINUTE, INTERVAL '10' MINUTE) GROUP BY window_end",
    );
    sql.rows(
        "CREATE MATERIALIZED VIEW w AS SELECT window_start, sum(c) AS c FROM TUMBLE((SELECT \
              window_end AS at, c FROM v), at, INTERVAL '10' MINUTE) GROUP BY window_start",
    );
    for time in ["11:45:00", "12:00:00", "11:52:00", "11:59:30", "12:31:00", "12:25:00"] {
        sql.rows(&format!("INSERT INTO e VALUES ('2026-01-01 {time}', 1)"));
        wait_for_views(&mut sql);
        let view = table_of(&sql.rows("SELECT * FROM w"));
        let batch = "SELECT window_start, sum(c) AS c FROM TUMBLE((SELECT window_end AS at, c FROM \
                     v), at, INTERVAL '10' MINUTE) GROUP BY window_start";
        assert_eq!(view, table_of(&sql.rows(batch)), "after {time}");
    }
}

#[test]
fn aggregates_of_a_join_take_odd_values_as_their_query_does() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM e (ts TIMESTAMP, k TEXT, n BIGINT, i INTEGER, d DECIMAL(38, 10))");
    sql.rows("CREATE TABLE t (k TEXT PRIMARY KEY, w BIGINT, j INTEGER, p DECIMAL(38, 10))");
    sql.rows(
        "INSERT INTO t VALUES ('a', 3, 100000, 1000000), ('b', NULL, 7, 0.5), ('c', 0, 1, NULL)",
    );
    let queries = [
        // 32 bits are no more than that before they are summed: the view is refused where its query
        // is.
        "SELECT t.k, sum(i * j) AS s, avg(i * j) AS a, count(i * j) AS c FROM e JOIN t ON e.k = \
         t.k GROUP BY t.k",
        "SELECT sum(n * w) AS s, avg(n * w) AS a, min(n * w) AS lo FROM e JOIN t ON e.k = t.k",
        "SELECT sum(CAST(n * w AS DECIMAL(6, 2))) AS s FROM e JOIN t ON e.k = t.k",
        "SELECT sum(CAST(n * w AS DECIMAL(38, 20))) AS s FROM e JOIN t ON e.k = t.k",
        "SELECT t.k, avg(d * p) AS a, sum(d * p) AS s FROM e LEFT JOIN t ON e.k = t.k GROUP BY t.k",
        "SELECT sum(100 / n * w) FILTER (WHERE n <> 0) AS s FROM e JOIN t ON e.k = t.k",
        "SELECT window_end, sum(n * w) FILTER (WHERE n > w) AS s, max(w) AS hi \
         FROM HOP(e, ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) AS h JOIN t ON h.k = t.k GROUP \
         BY window_end",
        "SELECT sum(w) FILTER (WHERE n > 1000000) AS s, count(w) FILTER (WHERE n > 1000000) AS c \
         FROM e JOIN t ON e.k = t.k",
    ];
    for (number, query) in queries.iter().enumerate() {
        sql.rows(&format!("CREATE MATERIALIZED VIEW v{number} AS {query}"));
    }
    for rows in [
        // No rows at first, then some that join nothing or nothing but NULL.
        None,
        Some(
            "('z', 9223372036854775807, 2000000000, 1), ('z', 9223372036854775807, 1, 1), ('c', \
             30000, 1, 1)",
        ),
        Some(
            "('b', 5, NULL, 1000000), ('a', 2, 100000, 1000000), ('a', 7, 100000, 999999.5), ('a', \
             NULL, 3, NULL), ('a', 0, 0, 0)",
        ),
    ] {
        for row in rows.unwrap_or_default().split("), (").filter(|row| !row.is_empty()) {
            let row = row.trim_matches(['(', ')']);
            sql.rows(&format!("INSERT INTO e VALUES ('2026-01-01 00:00:01', {row})"));
        }
        wait_for_views(&mut sql);
        for (number, query) in queries.iter().enumerate() {
            let mut answer = |text: &str| match sql.try_run(text) {
                Ok(_) => Ok(table_of(&sql.rows(text))),
                Err(error) => Err(error.state.code()),
            };
            let view = answer(&format!("SELECT * FROM v{number}"));
            assert_eq!(view, answer(query), "after {rows:?}: {query}");
        }
    }
}

#[test]
fn a_join_that_looks_at_no_record_has_no_groups_without_records() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM s (n BIGINT)");
    sql.rows("CREATE TABLE t (k TEXT PRIMARY KEY)");
    sql.rows("INSERT INTO t VALUES ('a'), ('b')");
    let query = "SELECT t.k, count(*) AS c FROM s CROSS JOIN t GROUP BY t.k";
    sql.rows(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
    for rows in [None, Some("(1), (2)")] {
        if let Some(rows) = rows {
            sql.rows(&format!("INSERT INTO s VALUES {rows}"));
        }
        wait_for_views(&mut sql);
        assert_eq!(table_of(&sql.rows("SELECT * FROM v")), table_of(&sql.rows(query)));
    }
}
