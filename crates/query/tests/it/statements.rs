//! Streams, tables and key-value data through statements.

use crate::support::Sql;

#[test]
fn a_stream_takes_rows_from_sql_and_from_redis_clients() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "CREATE STREAM orders (ts TIMESTAMP, product TEXT NOT NULL, qty BIGINT, price \
              DECIMAL(10,2)) \
              PARTITION BY product WITH (partitions = 4)",
    );
    sql.rows(
        "INSERT INTO orders VALUES ('2026-01-15 00:00:01', 'a', 2, 1.50), ('2026-01-15 \
              00:00:02', 'b', 1, 3)",
    );
    sql.engine
        .call(&[
            b"XADD",
            b"orders:2",
            b"*",
            b"product",
            b"c",
            b"qty",
            b"5",
            b"price",
            b"0.25",
            b"ts",
            b"1768435203000",
        ])
        .expect("append");
    assert_eq!(
        sql.rows("SELECT product, qty * price AS total, ts FROM orders ORDER BY product"),
        "a 3.00 2026-01-15T00:00:01\nb 3.00 2026-01-15T00:00:02\nc 1.25 2026-01-15T00:00:03"
    );
    assert_eq!(sql.fails("INSERT INTO orders (qty) VALUES (1)"), "23502");
    assert_eq!(sql.rows("SELECT count(*) FROM orders"), "3");
    assert_eq!(sql.fails("UPDATE orders SET qty = 1"), "42809");
    assert_eq!(sql.fails("CREATE STREAM orders"), "42P07");
    sql.rows("CREATE STREAM IF NOT EXISTS orders");
    sql.rows("DROP STREAM orders");
    assert_eq!(sql.fails("SELECT * FROM orders"), "42P01");
}

#[test]
fn records_of_redis_clients_find_their_partition_and_must_fit() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "CREATE STREAM orders (product TEXT NOT NULL, qty BIGINT, _partition BIGINT) \
              PARTITION BY product WITH (partitions = 4)",
    );
    let add = |sql: &Sql, args: &[&[u8]]| {
        let reply = sql.engine.call(args).expect("a node");
        match reply {
            thalweg_machine::Reply::Error(error) => error.message.to_string(),
            _ => String::new(),
        }
    };
    for product in 0..20 {
        let product = format!("p{product}");
        let args: [&[u8]; 7] =
            [b"XADD", b"orders", b"*", b"product", product.as_bytes(), b"qty", b"1"];
        assert_eq!(add(&sql, &args), "");
        sql.rows(&format!("INSERT INTO orders (product, qty) VALUES ('{product}', 2)"));
    }
    // A product is in one partition, whichever way it came.
    let apart = "SELECT count(*) FROM (SELECT product FROM orders GROUP BY product HAVING \
                 count(DISTINCT _partition) > 1)";
    assert_eq!(sql.rows(apart), "0");
    assert_eq!(
        sql.rows("SELECT count(*), sum(qty), count(DISTINCT _partition) FROM orders"),
        "40 60 4"
    );
    for (args, reason) in [
        (
            &[&b"XADD"[..], b"orders", b"*", b"product", b"x", b"qty", b"many"][..],
            "'many' is not a",
        ),
        (&[b"XADD", b"orders:1", b"MAXLEN", b"9", b"*", b"qty", b"1"], "\"product\" has no value"),
    ] {
        assert!(add(&sql, args).contains(reason), "{}", add(&sql, args));
    }
    // Inside a transaction the refusal comes before anything is done.
    let mut session = thalweg_node::Session::default();
    let mut call =
        |args: &[&[u8]]| format!("{:?}", sql.engine.call_in(&mut session, args).expect("a node"));
    call(&[b"MULTI"]);
    call(&[b"SET", b"k", b"v"]);
    assert!(call(&[b"XADD", b"orders", b"*", b"qty", b"1"]).contains("no value"));
    assert!(call(&[b"EXEC"]).contains("EXECABORT"));
    assert_eq!(sql.rows("SELECT count(*) FROM orders"), "40");
    // A request that is repeated finds the partition that remembers it, wherever records without a
    // key go.
    sql.rows("CREATE STREAM dealt (n BIGINT) WITH (partitions = 8)");
    for request in ["1", "2", "3", "4", "5", "6"] {
        let args: [&[u8]; 8] =
            [b"XADD", b"dealt", b"IDMP", b"p", request.as_bytes(), b"*", b"n", b"1"];
        for _ in 0..4 {
            assert_eq!(add(&sql, &args), "");
        }
    }
    assert_eq!(sql.rows("SELECT count(*) FROM dealt"), "6");
    assert_eq!(add(&sql, &[b"XADD", b"orders:9", b"*", b"any", b"thing"]), "");
    assert_eq!(sql.rows("SELECT count(*) FROM orders"), "40", "a stream of another name");
}

#[test]
fn misfits_go_to_the_dead_letter_stream_with_the_reason() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM s (n BIGINT NOT NULL) WITH (on_error = 'dead_letter')");
    sql.rows("CREATE STREAM raw (n TEXT)");
    sql.rows("INSERT INTO s (n) VALUES (1), (NULL), (2)");
    assert_eq!(sql.rows("SELECT sum(n) FROM s"), "3");
    let dead = sql.rows("SELECT json_get_str(data, 'reason') FROM \"s.dead\"");
    assert_eq!(dead, "column \"n\" has no value");
}

#[test]
fn tables_keep_their_rows_by_primary_key() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL, score DOUBLE PRECISION)",
    );
    sql.rows("INSERT INTO users VALUES (1, 'ann', 1.5), (2, 'bob', NULL)");
    assert_eq!(sql.fails("INSERT INTO users VALUES (3, 'x', 0), (1, 'twice', 0)"), "23505");
    assert_eq!(sql.rows("SELECT count(*) FROM users"), "2", "all of it or nothing");
    assert_eq!(sql.fails("INSERT INTO users VALUES (4, NULL, 0)"), "23502");
    sql.rows(
        "INSERT INTO users VALUES (1, 'anna', 9) ON CONFLICT (id) DO UPDATE SET name = \
              EXCLUDED.name",
    );
    sql.rows("INSERT INTO users VALUES (1, 'nobody', 9) ON CONFLICT DO NOTHING");
    sql.rows("UPDATE users SET score = id * 10 WHERE score IS NULL");
    assert_eq!(sql.rows("SELECT * FROM users ORDER BY id"), "1 anna 1.5\n2 bob 20.0");
    assert_eq!(sql.rows("SELECT name FROM users WHERE id = 2"), "bob");
    assert_eq!(sql.rows("SELECT name FROM users WHERE id = 2.5"), "");
    assert_eq!(sql.fails("UPDATE users SET id = 3"), "23505");
    sql.rows("DELETE FROM users WHERE name LIKE 'a%'");
    assert_eq!(sql.rows("SELECT id FROM users"), "2");
    sql.rows("CREATE TABLE t (a BIGINT)");
}

#[test]
fn transactions_are_all_or_nothing_and_see_themselves() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT)");
    sql.rows("CREATE STREAM s (k TEXT)");
    sql.rows("BEGIN; INSERT INTO t VALUES ('a', 1); INSERT INTO s VALUES ('a')");
    assert_eq!(sql.rows("SELECT n FROM t"), "1");
    sql.rows("ROLLBACK");
    assert_eq!(sql.rows("SELECT count(*) FROM t"), "0");
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "0");
    sql.rows(
        "BEGIN; INSERT INTO t VALUES ('a', 1); INSERT INTO s VALUES ('a'); UPDATE t SET n = n \
              + 1; COMMIT",
    );
    assert_eq!(sql.rows("SELECT t.n FROM t JOIN s ON t.k = s.k"), "2");
    sql.rows("BEGIN");
    assert_eq!(sql.fails("SELECT nonsense FROM t"), "42703");
    assert_eq!(sql.fails("SELECT 1"), "25P02");
    sql.rows("ROLLBACK");
    assert_eq!(sql.rows("SELECT 1"), "1");
    sql.rows("BEGIN; INSERT INTO t VALUES ('b', 1); SAVEPOINT here; INSERT INTO t VALUES ('c', 1)");
    assert_eq!(sql.fails("INSERT INTO t VALUES ('b', 1)"), "23505");
    sql.rows("ROLLBACK TO SAVEPOINT here; COMMIT");
    assert_eq!(sql.rows("SELECT k FROM t ORDER BY k"), "a\nb");
    sql.rows("BEGIN; INSERT INTO t VALUES ('d', 1)");
    for _ in 0..64 {
        sql.rows("SAVEPOINT again; RELEASE SAVEPOINT again");
    }
    sql.rows("COMMIT");
    assert_eq!(sql.rows("SELECT count(*) FROM t"), "3");
}

#[test]
fn windows_answer_over_history() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM e (ts TIMESTAMP, k TEXT, n BIGINT)");
    sql.rows(
        "INSERT INTO e VALUES ('2026-01-01 00:00:01','a',1), ('2026-01-01 00:00:09','a',2), \
              ('2026-01-01 00:00:10','b',3), ('2026-01-01 00:00:35','a',4)",
    );
    assert_eq!(
        sql.rows(
            "SELECT window_start, sum(n) FROM TUMBLE(e, ts, INTERVAL '10' SECOND) GROUP BY \
                  window_start ORDER BY 1"
        ),
        "2026-01-01T00:00:00 3\n2026-01-01T00:00:10 3\n2026-01-01T00:00:30 4"
    );
    assert_eq!(
        sql.rows(
            "SELECT window_start, window_end, count(*) FROM HOP(e, ts, INTERVAL '10' SECOND, \
                  INTERVAL '20' SECOND) \
                  GROUP BY window_start, window_end ORDER BY 1 LIMIT 2"
        ),
        "2025-12-31T23:59:50 2026-01-01T00:00:10 2\n2026-01-01T00:00:00 2026-01-01T00:00:20 3"
    );
    assert_eq!(
        sql.rows(
            "SELECT k, window_start, window_end, sum(n) FROM SESSION(e, ts, INTERVAL '10 \
                  seconds', k) \
                  GROUP BY k, window_start, window_end ORDER BY 1, 2"
        ),
        "a 2026-01-01T00:00:01 2026-01-01T00:00:19 3\na 2026-01-01T00:00:35 2026-01-01T00:00:45 4\n\
         b 2026-01-01T00:00:10 2026-01-01T00:00:20 3"
    );
}

#[test]
fn key_value_data_is_a_table() {
    let mut sql = Sql::in_memory();
    for command in [&[&b"SET"[..], b"user:1", b"ann"][..], &[b"HSET", b"h", b"f", b"v"]] {
        sql.engine.call(command).expect("write");
    }
    assert_eq!(
        sql.rows("SELECT key, type, value FROM kv ORDER BY key"),
        "h hash {\"f\":\"v\"}\nuser:1 string ann"
    );
    assert_eq!(sql.rows("SELECT value FROM kv WHERE key = 'user:1'"), "ann");
    assert_eq!(
        sql.rows("SELECT key FROM kv WHERE key IN ('h', 'h', 'user:1') ORDER BY key"),
        "h\nuser:1"
    );
    assert_eq!(sql.rows("SELECT sum(keys) FROM sys.partitions"), "2");
    assert_eq!(sql.fails("SELECT * FROM sys.nothing"), "42P01");
}

#[test]
fn mistakes_say_whose_they_are() {
    let mut sql = Sql::in_memory();
    for (text, code) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nofunction(1)", "42883"),
        ("SELECT 1/0", "22012"),
        ("SELECT 'x'::bigint", "22P02"),
        ("DROP STREAM nowhere", "42P01"),
        ("SET nonsense = 1", "42704"),
        ("SAVEPOINT a", "25P01"),
    ] {
        assert_eq!(sql.fails(text), code, "{text}");
    }
}

#[test]
fn files_are_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "k,n\na,1\nb,2\n").expect("write");
    let mut sql = Sql::in_memory();
    let create = format!(
        "CREATE EXTERNAL TABLE IF NOT EXISTS f STORED AS CSV LOCATION '{}' OPTIONS \
         ('format.has_header' 'true')",
        path.display()
    );
    for _ in 0..2 {
        sql.rows(&create);
    }
    assert_eq!(sql.rows("SELECT k, n FROM f ORDER BY k"), "a 1\nb 2");
    sql.rows("CREATE MATERIALIZED VIEW v AS SELECT sum(n) AS s FROM f");
    crate::views::wait_for_views(&mut sql);
    assert_eq!(sql.rows("SELECT s FROM v"), "3");
    sql.rows("CREATE VIEW doubled AS SELECT n * 2 AS m FROM f");
    assert_eq!(sql.rows("SELECT sum(m) FROM doubled"), "6");
    assert_eq!(sql.rows(&format!("SELECT sum(n) FROM '{}'", path.display())), "3");
    // What is declared of them counts: columns, and that there is no line of names.
    sql.rows(&format!(
        "CREATE EXTERNAL TABLE bare (name TEXT, number TEXT) STORED AS CSV LOCATION '{}' \
         OPTIONS ('format.has_header' 'false')",
        path.display()
    ));
    assert_eq!(sql.rows("SELECT name, number FROM bare ORDER BY name"), "a 1\nb 2\nk n");
}

#[test]
fn retention_deletes_what_is_too_old() {
    let mut sql = Sql::in_memory();
    sql.rows("CREATE STREAM s (n BIGINT) WITH (retention = '300 ms')");
    sql.rows("INSERT INTO s VALUES (1)");
    assert_eq!(sql.rows("SELECT count(*) FROM s"), "1");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while sql.rows("SELECT count(*) FROM s") != "0" {
        assert!(std::time::Instant::now() < deadline, "nothing is deleted");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn slow_statements_are_remembered_with_all_they_took() {
    let mut sql = Sql::in_memory();
    sql.rows(
        "SELECT count(*) FROM generate_series(1, 3000) a(value), generate_series(1, 30000) \
              b(value) WHERE (a.value * b.value) % 7 = 8",
    );
    assert_eq!(sql.rows("SELECT rows, duration_us > 100000 FROM sys.slow_queries"), "1 true");
}
