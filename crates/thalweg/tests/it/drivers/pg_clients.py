"""Postgres' clients against a node: psycopg with both protocols, SQLAlchemy, pandas. Arguments: port, password."""

import decimal
import sys
import threading
import time

import pandas
import psycopg
import sqlalchemy

port, password = int(sys.argv[1]), sys.argv[2]
dsn = f"host=127.0.0.1 port={port} user=anybody password={password} dbname=thalweg"

for wrong in ("", "nonsense"):
    try:
        psycopg.connect(f"host=127.0.0.1 port={port} user=anybody password={wrong} dbname=thalweg", connect_timeout=5)
        raise SystemExit(f"the password '{wrong}' was taken")
    except psycopg.OperationalError:
        pass

with psycopg.connect(dsn, autocommit=True) as connection:
    connection.execute("CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL, balance DECIMAL(10,2))")
    connection.execute("CREATE STREAM orders (ts TIMESTAMP, product TEXT, qty BIGINT) PARTITION BY product WITH (partitions = 2)")
    connection.execute("CREATE MATERIALIZED VIEW totals AS SELECT product, sum(qty) AS total FROM orders GROUP BY product")
    for number in range(20):
        connection.execute("INSERT INTO users VALUES (%s, %s, %s)", (number, f"user {number}", decimal.Decimal("1.50")))
    row = connection.execute("SELECT name, balance FROM users WHERE id = %s", (7,), prepare=True).fetchone()
    assert row == ("user 7", decimal.Decimal("1.50")), row
    assert connection.execute("SELECT name FROM users WHERE id = %s", (99,), prepare=True).fetchone() is None
    try:
        connection.execute("INSERT INTO users VALUES (7, 'twice', 0)")
        raise SystemExit("a duplicate was taken")
    except psycopg.errors.UniqueViolation:
        pass
    with connection.cursor().copy("COPY orders (ts, product, qty) FROM STDIN") as copy:
        for number in range(1000):
            copy.write_row(("2026-01-15 00:00:00", f"p{number % 3}", number))
    with connection.cursor().copy("COPY (SELECT product, count(*) FROM orders GROUP BY product ORDER BY 1) TO STDOUT") as copy:
        lines = b"".join(bytes(piece) for piece in copy).decode().splitlines()
    assert lines == ["p0\t334", "p1\t333", "p2\t333"], lines
    deadline = time.time() + 20
    while True:
        total = connection.execute("SELECT sum(total) FROM totals").fetchone()[0]
        if total == 499500:
            break
        assert time.time() < deadline, total
        time.sleep(0.01)

# One row by its key, and of it any columns in any order: the same as by the whole table.
with psycopg.connect(dsn, autocommit=True) as connection:
    connection.execute("CREATE TABLE wide (a BOOLEAN, b SMALLINT, id BIGINT, c TEXT, d DECIMAL(10,2), e BYTEA, f DATE, g TIMESTAMP, h DOUBLE PRECISION,"
                       " i INTEGER, j REAL, k JSON, place TEXT, PRIMARY KEY (place, id))")
    connection.execute("INSERT INTO wide VALUES (true, 1, 1, 'a longer text than fits into a view', 1.50, 'bytes', '2026-01-15', '2026-01-15 10:00:00.5',"
                       " 0.1, 7, 1.5, '{}', 'here'), (NULL, 2, 2, NULL, 2.50, NULL, '2026-01-16', NULL, 0.2, NULL, 2.5, NULL, 'here'),"
                       " (false, NULL, 3, 'c', NULL, 'b', NULL, '2026-01-17 00:00:00', NULL, 9, NULL, '[1]', 'here')")
    names = ["a", "b", "id", "c", "d", "e", "f", "g", "h", "i", "j", "k", "place"]
    wholes = {row[2]: dict(zip(names, row)) for row in connection.execute("SELECT * FROM wide ORDER BY id")}
    assert len(wholes) == 3 and wholes[3]["i"] == 9, wholes
    for first in names:
        for second in (names[0], first, names[-1]):
            text = f"SELECT {first}, {second} AS again FROM wide WHERE place = %s AND id = %s"
            for number, whole in wholes.items():
                row = connection.execute(text, ("here", number), prepare=True).fetchone()
                assert row == (whole[first], whole[second]), (first, second, number, row, whole)
    assert connection.execute("SELECT c FROM wide WHERE place = %s AND id = %s", ("there", 1), prepare=True).fetchone() is None
    assert connection.execute("SELECT c FROM wide WHERE place = %s AND id = %s", (None, 1), prepare=True).fetchone() is None

    assert connection.execute("SELECT count(*) FROM (SELECT 1 FROM wide WHERE place = %s AND id = %s)", ("here", 1), prepare=True).fetchone() == (1,)
    connection.execute("CREATE TABLE levels (at DOUBLE PRECISION PRIMARY KEY, name TEXT)")
    connection.execute("INSERT INTO levels VALUES (0.0, 'zero')")
    assert connection.execute("SELECT name FROM levels WHERE at = %s", (-0.0,), prepare=True).fetchone() == ("zero",)
    try:
        connection.execute("INSERT INTO levels VALUES (%s, 'again')", (-0.0,))
        raise SystemExit("two zeros were taken")
    except psycopg.errors.UniqueViolation:
        pass

# A prepared statement over the node's own tables tells what is so when it runs.
with psycopg.connect(dsn, autocommit=True) as connection:
    connection.execute("CREATE STREAM counted (n BIGINT)")
    counted = "SELECT records FROM sys.streams WHERE stream = 'counted'"
    records = lambda: connection.execute(counted, prepare=True).fetchone()
    for number in range(3):
        assert records() == (number,), number
        connection.execute("INSERT INTO counted VALUES (1)")
    connection.execute("DROP STREAM counted")

# A prepared statement follows what it names.
with psycopg.connect(dsn, autocommit=True) as connection:
    connection.execute("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c FROM orders")
    read = lambda: connection.execute("SELECT c FROM v", prepare=True).fetchone()[0]
    deadline = time.time() + 20
    while read() != 1000:
        assert time.time() < deadline
    connection.execute("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT count(DISTINCT product) AS c FROM orders")
    assert read() == 3, read()
    doors = {row[0] for row in connection.execute("SELECT door FROM sys.clients")}
    assert "postgres" in doors, doors

# A transaction is all or nothing, and of two that collide one is told to try again.
with psycopg.connect(dsn) as first, psycopg.connect(dsn) as second:
    first.execute("UPDATE users SET balance = balance + 1 WHERE id = 1")
    second.execute("UPDATE users SET balance = balance + 1 WHERE id = 1")
    first.commit()
    try:
        second.commit()
        raise SystemExit("a lost update")
    except psycopg.errors.SerializationFailure:
        second.rollback()
    assert second.execute("SELECT balance FROM users WHERE id = 1").fetchone()[0] == decimal.Decimal("2.50")

# Parameters in DO UPDATE: a counter, ten times over.
with psycopg.connect(dsn, autocommit=True) as connection:
    connection.execute("CREATE TABLE hits (page TEXT PRIMARY KEY, n BIGINT, last TEXT)")
    for number in range(10):
        connection.execute("INSERT INTO hits VALUES (%s, %s, NULL) ON CONFLICT (page) DO UPDATE SET n = hits.n + %s, last = %s WHERE hits.n < %s",
                           ("/", 1, 2, f"client {number}", 15))
    assert connection.execute("SELECT n, last FROM hits").fetchone() == (15, "client 7")

# Cancel reaches a query that would take for ever.
with psycopg.connect(dsn, autocommit=True) as connection:
    threading.Timer(0.5, connection.cancel).start()
    try:
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b")
        raise SystemExit("it ended?")
    except psycopg.errors.QueryCanceled:
        pass
    assert connection.execute("SELECT 1").fetchone() == (1,)

# Connections see each other by their numbers, and stop and end each other.
with psycopg.connect(dsn, autocommit=True, application_name="watcher") as watcher:
    with psycopg.connect(dsn, autocommit=True, application_name="watched") as watched:
        numbers = [connection.execute("SELECT pg_backend_pid()").fetchone()[0] for connection in (watcher, watched)]
        assert numbers == [watcher.info.backend_pid, watched.info.backend_pid] and numbers[0] != numbers[1], numbers
        watched.execute("SELECT 41 + 1")
        activity = "SELECT application_name, state, query FROM pg_stat_activity WHERE pid = %s"
        seen = watcher.execute(activity, (numbers[1],)).fetchall()
        assert seen == [("watched", "idle", "SELECT 41 + 1")], seen
        slow = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"
        stopped = []

        def run():
            try:
                watched.execute(slow)
            except psycopg.Error as error:
                stopped.append(error)

        for function, wanted in (("pg_cancel_backend", "canceling statement due to user request"),
                                 ("pg_terminate_backend", "terminating connection due to administrator command")):
            thread = threading.Thread(target=run)
            thread.start()
            deadline = time.time() + 20
            active = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = %s"
            while not watcher.execute(active, (slow,)).fetchall():
                assert time.time() < deadline, "the statement does not run"
                time.sleep(0.01)
            assert watcher.execute(f"SELECT {function}(%s)", (numbers[1],)).fetchone() == (True,)
            thread.join(20)
            assert not thread.is_alive() and wanted in str(stopped[-1]), stopped
        assert watched.broken, "the connection is still there"
    # One that waits for its client is ended, too, and one that is not there is nobody's.
    with psycopg.connect(dsn, autocommit=True) as idle:
        assert watcher.execute("SELECT pg_terminate_backend(%s)", (idle.info.backend_pid,)).fetchone() == (True,)
        try:
            idle.execute("SELECT 1")
            raise SystemExit("an ended connection answers")
        except psycopg.OperationalError:
            pass
    assert watcher.execute("SELECT pg_terminate_backend(0), pg_cancel_backend(-1)").fetchone() == (False, False)
    # Who waits for whose lock.
    with psycopg.connect(dsn, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(77)")
        with psycopg.connect(dsn, autocommit=True) as waiter:
            thread = threading.Thread(target=lambda: waiter.execute("SELECT pg_advisory_lock(77)"))
            thread.start()
            deadline = time.time() + 20
            blocking = "SELECT pg_blocking_pids(%s)"
            while watcher.execute(blocking, (waiter.info.backend_pid,)).fetchone() != ([holder.info.backend_pid],):
                assert time.time() < deadline, "nobody waits"
                time.sleep(0.01)
            holder.execute("SELECT pg_advisory_unlock(77)")
            thread.join(20)
            assert watcher.execute(blocking, (waiter.info.backend_pid,)).fetchone() == ([],)

engine = sqlalchemy.create_engine(f"postgresql+psycopg://anybody:{password}@127.0.0.1:{port}/thalweg")
frame = pandas.read_sql("SELECT product, total FROM totals ORDER BY product", engine)
assert list(frame["product"]) == ["p0", "p1", "p2"] and int(frame["total"].sum()) == 499500, frame
assert "orders" in sqlalchemy.inspect(engine).get_table_names(), sqlalchemy.inspect(engine).get_table_names()

# SQLAlchemy learns of a table from the catalog what it was declared with.
with engine.begin() as connection:
    connection.execute(sqlalchemy.text(
        "CREATE TABLE reflected (id BIGINT PRIMARY KEY, name VARCHAR(20) NOT NULL DEFAULT 'x', price NUMERIC(10, 2) CHECK (price > 0), n SERIAL,"
        " u INT UNIQUE, g BIGINT GENERATED BY DEFAULT AS IDENTITY, tags TEXT[], j JSONB)"))
inspector = sqlalchemy.inspect(engine)
columns = {column["name"]: column for column in inspector.get_columns("reflected")}
types = {name: str(column["type"]) for name, column in columns.items()}
assert types == {"id": "BIGINT", "name": "VARCHAR(20)", "price": "NUMERIC(10, 2)", "n": "INTEGER", "u": "INTEGER", "g": "BIGINT", "tags": "ARRAY",
                 "j": "JSONB"}, types
assert [name for name, column in columns.items() if not column["nullable"]] == ["id", "name", "n", "g"], columns
assert columns["n"]["autoincrement"], columns
assert columns["g"]["identity"]["start"] == 1, columns
assert columns["name"]["default"] == "'x'::character varying", columns
assert inspector.get_pk_constraint("reflected")["constrained_columns"] == ["id"]
assert [index["column_names"] for index in inspector.get_indexes("reflected")] == [["u"]]
assert [unique["column_names"] for unique in inspector.get_unique_constraints("reflected")] == [["u"]]
assert [check["sqltext"] for check in inspector.get_check_constraints("reflected")] == ["price > 0"]
assert inspector.get_foreign_keys("reflected") == [] and "reflected_n_seq" in inspector.get_sequence_names()
assert "reflected" in inspector.get_table_names() and "settings" not in inspector.get_table_names()
sqlalchemy.Table("reflected", sqlalchemy.MetaData(), autoload_with=engine)
frame = pandas.DataFrame({"id": [1, 2], "name": ["a", None], "x": [1.5, float("nan")]})
for mode in ("fail", "replace", "append"):
    frame.to_sql("frames", engine, index=False, if_exists=mode)
assert len(pandas.read_sql_table("frames", engine)) == 4
print("ok")
