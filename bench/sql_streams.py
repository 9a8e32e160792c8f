"""How fast windows are computed over streams: Thalweg beside Flink SQL and Spark Structured Streaming, with DuckDB and Polars
as what a plain batch over the same file costs.

    target/peers/bin/python bench/sql_streams.py            # 10 and 30 million rows, writes bench/sql_streams.md
    target/peers/bin/python bench/sql_streams.py --small 100000 --large 300000 --pairs 1 --print-only    # a trial
    target/peers/bin/python bench/sql_streams.py --check    # only: do all systems give the same rows?

Orders (ts_ms, order_id, user_id, product_id, qty, price): 20,000 a second of event time, up to 1 s out of order, 1,000 products
by Zipf, 100,000 users evenly. count, sum(qty), avg(price) by window and key. Each system computes a small and a large file; its
rate is the marginal one, (large - small rows) / (large - small time): starts, compilation and warm-up fall out. Every run is a
process of its own, runs are interleaved, files are in the page cache. CPU is of the process and its descendants, marginal too."""

import argparse
import json
import math
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from side_by_side import ROOT
from sql_common import DATA, Node, count_text, missing, need, version, write
from sql_stream_peers import BATCH_ONLY, QUERIES, SYSTEMS, one_file, two_files

START_MS = 1_767_225_600_000  # 2026-01-01
PER_SECOND, PRODUCTS, USERS, DISORDER_MS = 20_000, 1_000, 100_000, 1_000
CHUNK = 1_000_000
TITLES = {"thalweg-file": "Thalweg, view over the CSV", "thalweg-stream": "Thalweg, view over its durable stream", "flink": "Flink SQL",
          "spark": "Spark Structured Streaming", "duckdb": "DuckDB (batch)", "polars": "Polars (batch)"}
STREAM = """CREATE STREAM orders (ts_ms TIMESTAMP, order_id BIGINT, user_id BIGINT, product_id BIGINT, qty BIGINT, price DOUBLE PRECISION,
    WATERMARK FOR ts_ms AS ts_ms - INTERVAL '5' SECOND) WITH (partitions = {})"""


def orders(first, count):
    """The rows from `first`; the same ones whatever the size of the file."""
    import numpy
    import polars
    random = numpy.random.default_rng(first)
    number = numpy.arange(first, first + count)
    shares = numpy.cumsum(1 / numpy.arange(1, PRODUCTS + 1))
    return polars.DataFrame({
        "ts_ms": START_MS + DISORDER_MS + number * 1000 // PER_SECOND - random.integers(0, DISORDER_MS + 1, count),
        "order_id": number,
        "user_id": random.integers(1, USERS + 1, count),
        "product_id": numpy.searchsorted(shares, random.random(count) * shares[-1]) + 1,
        "qty": random.integers(1, 10, count),
        "price": random.integers(100, 100_000, count) / 100,
    })


def generate(rows):
    """One file with a header, and its rows dealt out to two without; what is there stays."""
    whole, parts = one_file(rows), two_files(rows)
    if whole.exists() and parts.exists():
        return
    DATA.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(prefix="making-", dir=DATA))
    (made / "parts").mkdir()
    with open(made / "whole", "wb") as file, open(made / "parts" / "0.csv", "wb") as even, open(made / "parts" / "1.csv", "wb") as odd:
        for first in range(0, rows, CHUNK):
            frame = orders(first, min(CHUNK, rows - first))
            frame.write_csv(file, include_header=first == 0, float_precision=2)
            frame.gather_every(2).write_csv(even, include_header=False, float_precision=2)
            frame.gather_every(2, 1).write_csv(odd, include_header=False, float_precision=2)
    shutil.rmtree(parts, ignore_errors=True)
    (made / "parts").rename(parts)
    (made / "whole").rename(whole)
    made.rmdir()


def bodies(path, size=8 << 20):
    """The lines of a file in bodies with a header each."""
    with open(path, "rb") as file:
        header = file.readline()
        while block := file.read(size):
            yield header + block + file.readline()


def fill(rows, partitions):
    """A data directory whose stream holds the file's rows, durably, and sealed into segments. What the appends took, too."""
    data = tempfile.mkdtemp(prefix="bench-sql-stream-", dir=ROOT / "target")
    node = Node("sync", data=data)
    try:
        node.sql(STREAM.format(partitions))
        cpu, started = node.cpu_seconds(), time.monotonic()
        appended = sum(json.loads(node.post("/streams/orders", body, "text/csv"))["appended"] for body in bodies(one_file(rows)))
        seconds, cpu = time.monotonic() - started, node.cpu_seconds() - cpu
        if appended != rows:
            raise RuntimeError(f"{appended} of {rows} rows were appended")
        node.sql("SEAL STREAM orders")
        node.wait_idle()
    except Exception:
        shutil.rmtree(data)
        raise
    finally:
        node.stop(signal.SIGTERM)
    return {"data": data, "rate": rows / seconds, "cpu_us": cpu * 1e6 / rows}


def run(system, query, rows, filled, check=False, limit=None):
    """What sql_stream_peers.py says, or None where it took longer than the limit or failed twice."""
    command = [sys.executable, str(ROOT / "bench" / "sql_stream_peers.py"), system, query, str(rows)]
    command += ["--check"] * check + (["--data", filled[rows]["data"]] if system == "thalweg-stream" else [])
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            out, errors = process.communicate(timeout=limit)
            if process.returncode == 0:
                return json.loads(out.splitlines()[-1])
            print(f"{system} {query} {rows}: {errors[-2000:]}", file=sys.stderr)
        except subprocess.TimeoutExpired:
            print(f"{system} {query} {rows}: took more than {limit} s", file=sys.stderr)
            return None
        finally:
            end_group(process)
    return None


def end_group(process):
    """What was started above, and what it started: a JVM, a node."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def asked(options, systems):
    return [(query, system) for query in options.queries for system in systems
            if system not in BATCH_ONLY or QUERIES[query].kind == "TUMBLE"]


def sizes(options, query, system):
    """Small and large; smaller by --slow for what would take hours."""
    divide = options.slow if (system, QUERIES[query].kind) == ("spark", "HOP") else 1
    return options.small // divide, options.large // divide


def agree(found, first):
    """The same groups, counts and sums; averages of doubles but for the last digits, where the order of their sum shows."""
    return found.keys() == first.keys() and all(
        [*its[:2]] == [*first[group][:2]] and math.isclose(its[2], first[group][2], rel_tol=1e-9) for group, its in found.items())


def check(options, systems):
    """Runs every system at a tiny scale and compares all rows with those of the first."""
    rows = options.check_rows
    generate(rows)
    filled = {rows: fill(rows, options.partitions)} if "thalweg-stream" in systems else {}
    try:
        return all([check_query(options, query, systems, rows, filled) for query in options.queries])
    finally:
        for stream in filled.values():
            shutil.rmtree(stream["data"])


def check_query(options, query, systems, rows, filled):
    first, good = None, True
    for name in [system for asked_query, system in asked(options, systems) if asked_query == query]:
        result = run(name, query, rows, filled, check=True, limit=options.limit)
        found = result and {(row[0], row[1]): row[2:] for row in result["rows"]}
        first = first or found
        same = bool(found) and agree(found, first)
        good &= same
        total = sum(row[0] for row in found.values()) if found else 0
        print(f"{query}: {name}: {len(found or ())} groups, counts sum to {total}: {'agrees' if same else 'DIFFERS'}", flush=True)
    return good


def measure(options, systems):
    """Seconds and CPU seconds of every run: {(query, system): [(small, large), …]}; and the filled streams."""
    needed = sorted({size for query, system in asked(options, systems) for size in sizes(options, query, system)})
    for rows in needed:
        generate(rows)
    filled, results, given_up = {}, {pair: [] for pair in asked(options, systems)}, set()
    try:
        for rows in (options.small, options.large) if "thalweg-stream" in systems else ():
            filled[rows] = fill(rows, options.partitions)
        for _ in range(options.pairs):
            for query, system in results:
                if (query, system) in given_up:
                    continue
                small, large = (run(system, query, rows, filled, limit=options.limit) for rows in sizes(options, query, system))
                if small and large:
                    results[query, system].append((small, large))
                    print(f"{query} {system}: {small['seconds']:.2f} s, {large['seconds']:.2f} s", file=sys.stderr, flush=True)
                else:
                    given_up.add((query, system))
    finally:
        for stream in filled.values():
            shutil.rmtree(stream["data"])
    return results, filled


def marginal(pairs, rows):
    """Median rate, its range, CPU microseconds a row; None where the large file did not take longer than the small one."""
    if any(large["seconds"] <= small["seconds"] for small, large in pairs):
        return None
    rates = [rows / (large["seconds"] - small["seconds"]) for small, large in pairs]
    cpu = statistics.median((large["cpu"] - small["cpu"]) * 1e6 / rows for small, large in pairs)
    return {"rate": statistics.median(rates), "low": min(rates), "high": max(rates), "cpu_us": cpu,
            "small": statistics.median(small["seconds"] for small, _ in pairs),
            "large": statistics.median(large["seconds"] for _, large in pairs)}


def row_of(options, query, system, pairs, base):
    small, large = sizes(options, query, system)
    start = f"| {TITLES[system]} | {count_text(small)}, {count_text(large)} |"
    if not pairs:
        return f"{start} failed, or more than {options.limit:.0f} s | | | | |"
    its = marginal(pairs, large - small)
    if not its:
        return f"{start} the files are too small to tell | | | | |"
    ratio = f"{base['rate'] / its['rate']:.2f}×" if base else ""
    return (f"{start} {its['small']:.1f}, {its['large']:.1f} | {its['rate']:,.0f} | {its['low']:,.0f} to {its['high']:,.0f} |"
            f" {its['cpu_us']:.2f} | {ratio} |")


def table(options, query, systems, results):
    lines = [f"## {QUERIES[query].title}", "",
             "| system | rows | s | rows/s | range | CPU µs a row | Thalweg (CSV) beside it |", "|---|---|---|---|---|---|---|"]
    base = results.get((query, "thalweg-file"))
    base = marginal(base, options.large - options.small) if base else None
    return lines + [row_of(options, query, system, results[query, system], base)
                    for system in systems if (query, system) in results] + [""]


def describe(options, filled):
    lines = [f"Marginal rates between two files, median of {options.pairs} interleaved pairs, two cores for everything; CPU of the whole"
             " process. The times in s are of the small and the large file, from submission to end, without the start of a JVM.", "",
             "- Thalweg as it comes (`--durability sync`): the view's state is checkpointed every 5 s and its result can be read and survives a"
             " crash. Over the CSV it is read once to its end, without watermarks; over the stream it is a replay of sealed records (Parquet, no"
             " CSV to parse), with a watermark of 5 s.",
             "- Flink SQL: streaming mode, window functions of SQL, filesystem source (two files: it reads a CSV with one task), watermark 5 s,"
             " parallelism 2, object reuse, mini-batches, two-phase aggregation, hashmap state, no checkpoints, blackhole sink.",
             "- Spark: `Trigger.AvailableNow`, `local[2]`, watermark 5 s, 2 shuffle partitions, all rows in one micro-batch, state in memory with"
             " its files for recovery, noop sink; update mode, for sessions append.",
             "- DuckDB (2 threads) and Polars (streaming engine): a batch without event time, for scale."]
    for rows, stream in filled.items():
        lines.append(f"- Appending {rows:,} rows to the stream as CSV over one HTTP connection, acknowledged after fdatasync:"
                     f" {stream['rate']:,.0f} rows/s, {stream['cpu_us']:.2f} CPU µs a row.")
    return lines + [""]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000_000, help="rows of the small file")
    parser.add_argument("--large", type=int, default=30_000_000, help="rows of the large file")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--queries", nargs="+", choices=QUERIES, default=list(QUERIES))
    parser.add_argument("--partitions", type=int, default=2, help="of the durable stream")
    parser.add_argument("--slow", type=int, default=10, help="Spark's hop takes files smaller by this")
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a run is given up")
    parser.add_argument("--check", action="store_true", help="only compare the systems' rows")
    parser.add_argument("--check-rows", type=int, default=100_000)
    parser.add_argument("--skip-check", action="store_true", help="do not compare rows before measuring")
    parser.add_argument("--print-only", action="store_true", help="write no file")
    return parser.parse_args()


def main():
    options = arguments()
    need("numpy", "polars")  # they make the files
    systems = [name for name in options.systems if not SYSTEMS[name][1] or not missing(SYSTEMS[name][1])]
    if not options.skip_check and not check(options, systems):
        sys.exit("the systems do not agree")
    if options.check:
        return
    results, filled = measure(options, systems)
    lines = describe(options, filled)
    for query in options.queries:
        lines += table(options, query, systems, results)
    if not options.skip_check:
        lines.append(f"The rows of all systems were compared at {options.check_rows:,} rows before: they agree.")
    write("sql_streams", "Windows over streams", lines, [version(name) for name in ("apache-flink", "pyspark", "duckdb", "polars")],
          options.print_only)


if __name__ == "__main__":
    main()
