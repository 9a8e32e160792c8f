"""One run of one system for sql_streams.py, as a process of its own:

    python bench/sql_stream_peers.py SYSTEM QUERY ROWS [--check] [--data DIR]

prints {"seconds", "cpu"}: from the query's submission to its end, the time and the CPU seconds of this process and its
descendants (a JVM, a node). With --check also {"rows": [[window_start_ms, key, count, sum, avg], …]}.

The peers are set up for speed: nothing is checkpointed, no result is kept. Thalweg is as it comes: --durability sync, state
checkpointed every 5 s, the result a view that can be read."""

import argparse
import collections
import datetime
import json
import os
import pathlib
import time

from sql_common import DATA, Node, count_text, tree_cpu, wait_view

Query = collections.namedtuple("Query", "title kind size slide key")
QUERIES = {
    "tumble_1s": Query("tumble 1 s by product", "TUMBLE", 1, None, "product_id"),
    "tumble_10s": Query("tumble 10 s by product", "TUMBLE", 10, None, "product_id"),
    "hop_1h_1m": Query("hop 1 h by 1 min by product", "HOP", 3600, 60, "product_id"),
    "session_30s": Query("session 30 s by user", "SESSION", 30, None, "user_id"),
}
COLUMNS = {"ts_ms": "BIGINT", "order_id": "BIGINT", "user_id": "BIGINT", "product_id": "BIGINT", "qty": "BIGINT", "price": "DOUBLE"}
DECLARED = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())


def one_file(rows):
    return DATA / f"orders_{count_text(rows)}.csv"


def two_files(rows):
    """The same rows dealt out to two files without a header: Flink's CSV source reads a file with one task only."""
    return DATA / f"orders_{count_text(rows)}"


class Measure:
    """Time and CPU of a block."""

    def __init__(self, pid=None):
        self.pid = pid or os.getpid()

    def __enter__(self):
        self.cpu, self.started = tree_cpu(self.pid), time.monotonic()
        return self

    def __exit__(self, *_):
        self.result = {"seconds": time.monotonic() - self.started, "cpu": tree_cpu(self.pid) - self.cpu}


def milliseconds(moment):
    if isinstance(moment, str):
        moment = datetime.datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return round(moment.timestamp() * 1000)


def thalweg_query(query, source, ts):
    interval = f"INTERVAL '{query.size}' SECOND"
    window = {"TUMBLE": f"TUMBLE({source}, {ts}, {interval})",
              "HOP": f"HOP({source}, {ts}, INTERVAL '{query.slide}' SECOND, {interval})",
              "SESSION": f"SESSION({source}, {ts}, {interval}, {query.key})"}[query.kind]
    return (f"SELECT window_start, window_end, {query.key} AS key, count(*) AS n, sum(qty) AS qty, avg(price) AS price FROM {window}"
            f" GROUP BY window_start, window_end, {query.key}")


def thalweg_view(node, query, rows, source, ts, check):
    with Measure(node.process.pid) as measure:
        node.sql(f"CREATE MATERIALIZED VIEW result AS {thalweg_query(query, source, ts)}")
        wait_view(node, "result", rows)
    result = measure.result
    if check:
        result["rows"] = [[milliseconds(row["window_start"]), row["key"], row["n"], row["qty"], row["price"]]
                          for row in node.sql("SELECT * FROM result")]
    node.sql("DROP MATERIALIZED VIEW result")
    return result


def thalweg_file(query, rows, check, _data):
    node = Node()
    try:
        node.sql(f"CREATE EXTERNAL TABLE orders ({DECLARED}) STORED AS CSV LOCATION '{one_file(rows)}'"
                 " OPTIONS ('format.has_header' 'true')")
        node.wait_idle()
        source = f"(SELECT to_timestamp_millis(ts_ms) AS ts, {query.key}, qty, price FROM orders)"
        return thalweg_view(node, query, rows, source, "ts", check)
    finally:
        node.stop()


def thalweg_stream(query, rows, check, data):
    """Replays the stream that sql_streams.py has put into the node at `data`."""
    node = Node(data=data)
    try:
        node.wait_idle()
        return thalweg_view(node, query, rows, "orders", "ts_ms", check)
    finally:
        node.stop()


FLINK_SETTINGS = {
    "parallelism.default": "2", "pipeline.object-reuse": "true", "table.local-time-zone": "UTC",
    "table.exec.mini-batch.enabled": "true", "table.exec.mini-batch.allow-latency": "1 s", "table.exec.mini-batch.size": "5000",
    "table.optimizer.agg-phase-strategy": "TWO_PHASE", "state.backend.type": "hashmap",
    "taskmanager.memory.network.max": "256m", "rest.port": "0",
}


def flink_query(query):
    table, interval = "TABLE orders", f"INTERVAL '{query.size}' SECOND"
    if query.kind == "SESSION":
        table += f" PARTITION BY {query.key}"
    if query.kind == "HOP":
        interval = f"INTERVAL '{query.slide}' SECOND, INTERVAL '{query.size // 60}' MINUTE"
    return (f"SELECT window_start, {query.key} AS k, count(*) AS n, sum(qty) AS qty, avg(price) AS price"
            f" FROM TABLE({query.kind}({table}, DESCRIPTOR(ts), {interval})) GROUP BY window_start, window_end, {query.key}")


def flink(query, rows, check, _data):
    from pyflink.table import EnvironmentSettings, TableEnvironment
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for name, value in FLINK_SETTINGS.items():
        tables.get_config().set(name, value)
    tables.execute_sql(f"CREATE TABLE orders ({DECLARED}, ts AS TO_TIMESTAMP_LTZ(ts_ms, 3),"
                       " WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)"
                       f" WITH ('connector' = 'filesystem', 'path' = 'file://{two_files(rows)}', 'format' = 'csv')")
    if check:
        with Measure() as measure, tables.sql_query(flink_query(query)).execute().collect() as found:
            read = [[milliseconds(row[0]), *row[1:]] for row in found]
        return measure.result | {"rows": read}
    tables.execute_sql("CREATE TABLE nowhere (window_start TIMESTAMP(3), k BIGINT, n BIGINT, qty BIGINT, price DOUBLE)"
                       " WITH ('connector' = 'blackhole')")
    with Measure() as measure:
        tables.execute_sql(f"INSERT INTO nowhere {flink_query(query)}").wait()
    return measure.result


def spark_session():
    from pyspark.sql import SparkSession
    builder = SparkSession.builder.master("local[2]").appName("bench")
    # VFORK: Java's spawn helper fails now and then, with which Hadoop runs chmod.
    for name, value in {"spark.sql.shuffle.partitions": "2", "spark.ui.enabled": "false", "spark.driver.memory": "8g",
                        "spark.sql.session.timeZone": "UTC", "spark.log.level": "ERROR", "spark.ui.showConsoleProgress": "false",
                        "spark.driver.extraJavaOptions": "-Djdk.lang.Process.launchMechanism=VFORK",
                        "spark.sql.streaming.sessionWindow.merge.sessions.in.local.partition": "true"}.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def spark_windows(session, query, rows):
    from pyspark.sql import functions as f
    orders = session.readStream.schema(DECLARED).csv(str(two_files(rows)))
    orders = orders.withColumn("ts", f.timestamp_millis("ts_ms")).withWatermark("ts", "5 seconds")
    window = {"TUMBLE": lambda: f.window("ts", f"{query.size} seconds"),
              "HOP": lambda: f.window("ts", f"{query.size} seconds", f"{query.slide} seconds"),
              "SESSION": lambda: f.session_window("ts", f"{query.size} seconds")}[query.kind]()
    return orders.groupBy(window.alias("w"), query.key).agg(f.count("*").alias("n"), f.sum("qty").alias("qty"), f.avg("price").alias("price"))


def spark(query, rows, check, _data):
    session = spark_session()
    # Sessions cannot be emitted as they change.
    mode = "complete" if check else "append" if query.kind == "SESSION" else "update"
    writer = spark_windows(session, query, rows).writeStream.outputMode(mode).trigger(availableNow=True)
    writer = writer.format("memory").queryName("result") if check else writer.format("noop")
    with Measure() as measure:
        writer.start().awaitTermination()
    result = measure.result
    if check:
        found = session.sql(f"SELECT unix_millis(w.start), {query.key}, n, qty, price FROM result").collect()
        result["rows"] = [list(row) for row in found]
    session.stop()
    return result


def duckdb(query, rows, check, _data):
    import duckdb
    base = duckdb.connect(config={"threads": 2})
    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items()) + "}"
    width = query.size * 1000
    with Measure() as measure:
        base.execute(f"CREATE TABLE result AS SELECT ts_ms // {width} * {width} AS start, {query.key} AS k, count(*), sum(qty)::BIGINT,"
                     f" avg(price) FROM read_csv('{one_file(rows)}', header = true, auto_detect = false, columns = {columns}) GROUP BY 1, 2")
    result = measure.result
    if check:
        result["rows"] = [list(row) for row in base.execute("FROM result").fetchall()]
    return result


def polars(query, rows, check, _data):
    import polars
    width = query.size * 1000
    schema = {name: polars.Float64 if kind == "DOUBLE" else polars.Int64 for name, kind in COLUMNS.items()}
    with Measure() as measure:
        frame = (polars.scan_csv(one_file(rows), schema=schema)
                 .group_by((polars.col("ts_ms") // width * width).alias("start"), polars.col(query.key))
                 .agg(polars.len().alias("n"), polars.col("qty").sum(), polars.col("price").mean())
                 .collect(engine="streaming"))
    result = measure.result
    if check:
        result["rows"] = [list(row) for row in frame.iter_rows()]
    return result


# What a system needs installed; DuckDB and Polars have no event time, and are asked for tumbling windows only.
SYSTEMS = {"thalweg-file": (thalweg_file, None), "thalweg-stream": (thalweg_stream, None), "flink": (flink, "pyflink"),
           "spark": (spark, "pyspark"), "duckdb": (duckdb, "duckdb"), "polars": (polars, "polars")}
BATCH_ONLY = ("duckdb", "polars")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("query", choices=QUERIES)
    parser.add_argument("rows", type=int)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--data", type=pathlib.Path, help="of the node, for thalweg-stream")
    options = parser.parse_args()
    result = SYSTEMS[options.system][0](QUERIES[options.query], options.rows, options.check, options.data)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
