"""Two builds of Thalweg against each other: what a change costs, or brings.

    target/peers/bin/python bench/before_after.py BEFORE AFTER [--pairs 7] [--parts keys point …]

It writes bench/before_after.md.

In turns, the order changed with every pair; medians. What is measured is the node's own CPU where a generator
shares the machine with it, and the time until the answer where the node works alone. A ratio above 1 means that
AFTER is faster.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import side_by_side
import sql_batch
import sql_common
import sql_point
import sql_streams
from side_by_side import ROOT, machine
from sql_common import Node
from sql_tpch import QUERIES, TABLES, query

STREAM_ROWS = 20_000_000
TPCH_SCALE = 1
COUNT_ROWS = 200_000_000


def keys():
    """CPU of the node for each command, nanoseconds: SET and GET, 16 at a time, nothing kept."""
    server = side_by_side.thalweg("memory")
    try:
        side_by_side.redis_benchmark(server, "set", 500_000, 50, 16)
        return {
            f"keys: {test.upper()}": side_by_side.redis_benchmark(server, test, 2_000_000, 50, 16)["cpu_us"] * 1000
            for test in ("set", "get")
        }
    finally:
        server.stop()


def point():
    """CPU of the node for each read of a row by its key, over the Postgres door, µs."""
    server = sql_point.Thalweg(None)
    script = pathlib.Path(sql_common.DATA) / "before_after.sql"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("\\set id random(1, 100000)\nSELECT name, price FROM items WHERE id = :id;\n")
    try:
        sql_point.load(server, 100_000)
        return {"point: read by key": sql_point.pgbench(server, str(script), 8, 5)["cpu_us"]}
    finally:
        server.stop()


def windows():
    """Seconds of a view over a CSV file, from its beginning to its end."""
    sql_streams.generate(STREAM_ROWS)
    out = {}
    for name in ("tumble_10s", "hop_1h_1m", "session_30s"):
        found = sql_streams.run("thalweg-file", name, STREAM_ROWS, {})
        out[f"windows: {name}"] = found["seconds"]
    return out


def tpch():
    """Seconds of each of TPC-H's queries, the second time."""
    directory = sql_batch.generate(TPCH_SCALE)
    node = Node("none")
    try:
        for table in TABLES:
            node.sql(f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{directory / table}.parquet'")
        times = {}
        for number in QUERIES:
            text = query(number, TPCH_SCALE).encode()
            node.post("/sql", text, "text/plain")
            begun = time.monotonic()
            node.post("/sql", text, "text/plain")
            times[number] = time.monotonic() - begun
        return {"TPC-H: geometric mean": statistics.geometric_mean(times.values())}
    finally:
        node.stop()


def sums():
    """Seconds of aggregates and arithmetic, whose overflow is looked for."""
    node = Node("none")
    try:
        out = {}
        for name, text in [
            ("count", "count(*)"),
            ("sum(int)", "sum(x::int)"),
            ("x + x", "max(x + x)"),
            ("x * 3 - 1", "max(x * 3 - 1)"),
        ]:
            text = f"SELECT {text} FROM generate_series(1, {COUNT_ROWS}) AS t(x)".encode()
            node.post("/sql", text, "text/plain")
            begun = time.monotonic()
            node.post("/sql", text, "text/plain")
            out[f"sums: {name}"] = time.monotonic() - begun
        return out
    finally:
        node.stop()


def orders():
    """µs for each order of the demo: appended, deduplicated, in a view."""
    done = subprocess.run([side_by_side.THALWEG, "demo", "--exit"], capture_output=True, text=True)
    rate = re.search(r"(\d+) orders/s end to end", done.stdout)
    if not rate:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])
    return {"orders: the demo": 1e6 / float(rate[1])}


PARTS = {part.__name__: part for part in (keys, point, windows, tpch, sums, orders)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--print-only", action="store_true", help="write no file")
    options = parser.parse_args()
    results = {}
    for pair in range(options.pairs):
        order = ["before", "after"] if pair % 2 == 0 else ["after", "before"]
        for part in options.parts:
            for which in order:
                binary = str(pathlib.Path(getattr(options, which)).resolve())
                side_by_side.THALWEG = sql_common.THALWEG = binary
                os.environ["THALWEG"] = binary
                for name, value in PARTS[part]().items():
                    results.setdefault(name, {"before": [], "after": []})[which].append(value)
        print(f"pair {pair + 1} of {options.pairs}", file=sys.stderr)
    lines = [
        "# Before and after",
        "",
        f"`{' '.join(['target/peers/bin/python', 'bench/before_after.py', 'BEFORE', 'AFTER'] + sys.argv[3:])}`",
        "",
        machine(),
        "",
        "| what | before | after | before / after | spread of before |",
        "|---|---|---|---|---|",
    ]
    for name, values in results.items():
        before, after = (statistics.median(values[which]) for which in ("before", "after"))
        spread = (max(values["before"]) - min(values["before"])) / before
        lines.append(f"| {name} | {before:.4g} | {after:.4g} | **{before / after:.3f}** | {spread:.1%} |")
    print("\n".join(lines))
    if not options.print_only:
        (ROOT / "bench" / "before_after.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
