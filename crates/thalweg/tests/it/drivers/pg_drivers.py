"""The same work through psycopg2, asyncpg, pg8000 and ADBC. Arguments: port, password, the driver's name."""

import asyncio
import datetime
import decimal
import json
import sys
import uuid

port, password, driver = int(sys.argv[1]), sys.argv[2], sys.argv[3]
WHERE = {"host": "127.0.0.1", "port": port, "user": "anybody", "password": password, "database": "thalweg"}
CREATE = (
    "CREATE TABLE {0} (id SERIAL PRIMARY KEY, small SMALLINT, big BIGINT, price NUMERIC(12, 2), x DOUBLE PRECISION,"
    " name VARCHAR(20), note TEXT, ok BOOLEAN, bytes BYTEA, day DATE, at TIMESTAMP, stamp TIMESTAMPTZ, took INTERVAL,"
    " j JSONB, tags TEXT[], numbers INT[], u UUID)"
)
COLUMNS = "small big price x name note ok bytes day at stamp took j tags numbers u".split()
UTC = datetime.timezone.utc
VALUES = [
    -7,
    2**62,
    decimal.Decimal("1234567.80"),
    0.1,
    "näme",
    "a \\ ' \" \n line",
    True,
    b"\x00\xff\\",
    datetime.date(2026, 2, 28),
    datetime.datetime(1850, 1, 2, 3, 4, 5, 678901),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    datetime.timedelta(days=3, hours=4, microseconds=5),
    {"a": [1, None, "ü"], "b": {"c": 1.5}},
    ["a", 'b "quoted"', "NULL", "", "c,d"],
    [1, 2, 3],
    uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
]
NULLS = [None] * len(COLUMNS)


def check(found, wanted):
    if list(found) != list(wanted):
        for name, one, other in zip(COLUMNS, found, wanted):
            if one != other:
                raise SystemExit(f"{driver}: {name}: {one!r} and not {other!r}")
        raise SystemExit(f"{driver}: {found!r} and not {wanted!r}")


def insert(marks):
    return f"INSERT INTO kinds ({', '.join(COLUMNS)}) VALUES ({', '.join(marks)}) RETURNING id"


SELECT = f"SELECT {', '.join(COLUMNS)} FROM kinds WHERE id = "


def psycopg2_():
    import psycopg2
    import psycopg2.extras
    import psycopg2.errors

    psycopg2.extras.register_uuid()
    connection = psycopg2.connect(**WHERE)
    cursor = connection.cursor()
    cursor.execute(CREATE.format("kinds"))
    adapted = [psycopg2.extras.Json(value) if isinstance(value, dict) else value for value in VALUES]
    for values, wanted in ((adapted, VALUES), (NULLS, NULLS)):
        cursor.execute(insert(["%s"] * len(COLUMNS)), values)
        cursor.execute(SELECT + "%s", cursor.fetchone())
        row = list(cursor.fetchone())
        row[7] = row[7] and bytes(row[7])
        check(row, wanted)
    connection.commit()
    cursor.executemany("INSERT INTO kinds (big) VALUES (%s)", [(number,) for number in range(100)])
    psycopg2.extras.execute_values(
        cursor, "INSERT INTO kinds (big, name) VALUES %s", [(n, str(n)) for n in range(100, 200)]
    )
    connection.commit()
    with connection.cursor("named") as named:
        named.itersize = 7
        named.execute("SELECT big FROM kinds WHERE big BETWEEN 0 AND 199 ORDER BY big")
        assert [row[0] for row in named] == list(range(200))
    with connection.cursor("scrolls", scrollable=True) as named:
        named.execute("SELECT big FROM kinds WHERE big BETWEEN 0 AND 199 ORDER BY big")
        named.scroll(10)
        assert named.fetchone() == (10,)
        named.scroll(-3)
        assert named.fetchmany(2) == [(8,), (9,)]
    connection.commit()
    import io

    cursor.copy_expert(
        "COPY kinds (big, note) FROM STDIN WITH (FORMAT csv)", io.StringIO('1000,"a ""b"" \nc"\n1001,\n')
    )
    out = io.StringIO()
    cursor.copy_expert(
        "COPY (SELECT big, note FROM kinds WHERE big IN (1000, 1001) ORDER BY big) TO STDOUT WITH (FORMAT csv)", out
    )
    assert out.getvalue() == '1000,"a ""b"" \nc"\n1001,\n', out.getvalue()
    try:
        cursor.execute("SELECT 1 / 0")
    except psycopg2.errors.DivisionByZero:
        pass
    try:
        cursor.execute("SELECT 1")
        raise SystemExit("a failed transaction went on")
    except psycopg2.errors.InFailedSqlTransaction:
        connection.rollback()
    connection.set_session(readonly=True)
    try:
        cursor.execute("DELETE FROM kinds")
        raise SystemExit("a read-only transaction wrote")
    except psycopg2.errors.ReadOnlySqlTransaction:
        connection.rollback()
    connection.close()


def asyncpg_():
    import asyncpg

    async def main():
        connection = await asyncpg.connect(**WHERE)
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        await connection.execute(CREATE.format("kinds"))
        marks = [f"${number + 1}" for number in range(len(COLUMNS))]
        for values in (VALUES, NULLS):
            number = await connection.fetchval(insert(marks), *values)
            check((await connection.fetchrow(SELECT + "$1", number)).values(), values)
        await connection.executemany("INSERT INTO kinds (big) VALUES ($1)", [(number,) for number in range(200)])
        try:
            await connection.executemany(
                "INSERT INTO kinds (id, big) VALUES ($1, $2)", [(5000, 1), (5001, 1), (5000, 1)]
            )
            raise SystemExit("a key was taken twice")
        except asyncpg.UniqueViolationError:
            assert await connection.fetchval("SELECT count(*) FROM kinds WHERE id >= 5000") == 0
        async with connection.transaction():
            numbers = [
                row[0]
                async for row in connection.cursor(
                    "SELECT big FROM kinds WHERE big < 200 AND big >= 0 ORDER BY big", prefetch=7
                )
            ]
            assert numbers == list(range(200))
            try:
                async with connection.transaction():
                    await connection.execute("DELETE FROM kinds")
                    raise RuntimeError("back")
            except RuntimeError:
                assert await connection.fetchval("SELECT count(*) FROM kinds") == 202
        assert await connection.fetchval("SELECT count(*) FROM kinds WHERE big = ANY($1::bigint[])", [1, 2, 3]) == 3
        assert await connection.fetchval("SELECT count(*) FROM kinds WHERE $1::bigint IS NULL OR big = $1", None) == 202
        rows = [(number, f"copied {number}") for number in range(1000, 1100)]
        assert await connection.copy_records_to_table("kinds", records=rows, columns=["big", "note"]) == "COPY 100"
        assert await connection.fetchval("SELECT count(*) FROM kinds WHERE note LIKE 'copied%'") == 100
        await connection.execute("CREATE TABLE ts (at TIMESTAMPTZ, d NUMERIC)")
        rows = [(VALUES[10], decimal.Decimal("12345678901234567890.5")), (None, None)]
        await connection.copy_records_to_table("ts", records=rows)
        assert [tuple(row) for row in await connection.fetch("SELECT * FROM ts ORDER BY d")] == rows
        row = await connection.fetchrow("SELECT 1::int2, 'x'::text, ARRAY[1.5, NULL]")
        assert list(row.values()) == [1, "x", [decimal.Decimal("1.5"), None]], row
        await connection.close()
        async with asyncpg.create_pool(**WHERE, min_size=2, max_size=4) as pool:
            # A connection that goes back into the pool is reset: settings, locks, listeners, cursors.
            found = await asyncio.gather(
                *(pool.fetchval("SELECT count(*) FROM kinds WHERE big = $1", n) for n in range(20))
            )
            assert found == [1] * 20, found

    asyncio.run(main())


def pg8000_():
    import pg8000.dbapi
    import pg8000.native

    connection = pg8000.dbapi.connect(**WHERE)
    cursor = connection.cursor()
    cursor.execute(CREATE.format("kinds"))
    for values in (VALUES, NULLS):
        cursor.execute(insert(["%s"] * len(COLUMNS)), values)
        cursor.execute(SELECT + "%s", cursor.fetchone())
        check(cursor.fetchone(), values)
    connection.commit()
    cursor.executemany("INSERT INTO kinds (big) VALUES (%s)", [(number,) for number in range(50)])
    connection.rollback()
    cursor.execute("SELECT count(*) FROM kinds")
    assert cursor.fetchone() == [2] or cursor.rowcount == 1
    connection.commit()
    connection.close()
    connection = pg8000.native.Connection(
        WHERE["user"], host=WHERE["host"], port=port, password=password, database=WHERE["database"]
    )
    assert connection.run("SELECT :a + 1, :b", a=41, b="x") == [[42, "x"]]
    prepared = connection.prepare("SELECT big FROM kinds WHERE id = :id")
    assert prepared.run(id=1) == [[2**62]] and prepared.run(id=1) == [[2**62]]
    prepared.close()
    try:
        connection.run("SELECT * FROM nowhere")
        raise SystemExit("a table that is not there")
    except pg8000.native.DatabaseError as error:
        assert error.args[0]["C"] == "42P01", error
    connection.close()


def adbc():
    import adbc_driver_postgresql.dbapi
    import pyarrow

    connection = adbc_driver_postgresql.dbapi.connect(f"postgresql://anybody:{password}@127.0.0.1:{port}/thalweg")
    cursor = connection.cursor()
    table = pyarrow.table(
        {
            "id": pyarrow.array(range(1000), pyarrow.int64()),
            "small": pyarrow.array([number % 100 for number in range(1000)], pyarrow.int16()),
            "x": pyarrow.array([None if number % 7 == 0 else number / 4 for number in range(1000)], pyarrow.float64()),
            "name": pyarrow.array([f"name {number}" for number in range(1000)]),
            "ok": pyarrow.array([number % 2 == 0 for number in range(1000)]),
            "day": pyarrow.array([datetime.date(2026, 1, 1 + number % 28) for number in range(1000)]),
            "at": pyarrow.array([VALUES[9]] * 1000, pyarrow.timestamp("us")),
            "bytes": pyarrow.array([b"\x00\x01"] * 1000, pyarrow.binary()),
        }
    )
    assert cursor.adbc_ingest("ingested", table, mode="create") == 1000
    connection.commit()
    cursor.execute("SELECT * FROM ingested ORDER BY id")
    found = cursor.fetch_arrow_table()
    assert found.column_names == table.column_names, found.schema
    for name in table.column_names:
        assert found[name].to_pylist() == table[name].to_pylist(), (name, found[name][:3], table[name][:3])
    assert cursor.adbc_ingest("ingested", table.slice(0, 10), mode="append") == 10
    connection.commit()
    cursor.execute("SELECT count(*), sum(small) FROM ingested WHERE id = $1 AND name = $2", (3, "name 3"))
    assert cursor.fetchone() == (2, 6)
    schema = connection.adbc_get_table_schema("ingested")
    assert schema.names == table.column_names, schema
    cursor.execute("SELECT 1.5::numeric, ARRAY[1, 2], NULL::text, 'a'::varchar, now() - now()")
    row = cursor.fetchone()
    assert row[1:4] == ([1, 2], None, "a"), row
    assert "thalweg" in str(connection.adbc_get_objects(depth="catalogs").read_all()["catalog_name"])
    cursor.close()
    connection.close()


{"psycopg2": psycopg2_, "asyncpg": asyncpg_, "pg8000": pg8000_, "adbc": adbc}[driver]()
print("ok")
