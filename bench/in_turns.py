"""Two builds against each other, both running, asked in turns: for a machine whose speed changes with the minutes.

    target/peers/bin/python bench/in_turns.py BEFORE AFTER [--rounds 9] [--parts keys tpch]

It writes bench/in_turns.md. The least of several times is what the work costs; the median says what the machine did
meanwhile. CPU of the node for keys, the time until the answer for TPC-H's queries. Above 1 AFTER is faster.
"""

import argparse
import glob
import os
import statistics
import sys
import time

import side_by_side
import sql_batch
import sql_common
from side_by_side import ROOT, machine
from sql_common import Node
from sql_tpch import QUERIES, TABLES, query

REQUESTS = 400_000
TPCH_SCALE = 1


def cpu_seconds(server):
    """What all threads of a process have run, to the nanosecond."""
    files = glob.glob(f"/proc/{server.process.pid}/task/*/schedstat")
    return sum(int(open(file).read().split()[0]) for file in files) / 1e9


def in_turns(rounds, measure):
    """Values of before and after: `measure` takes 0 or 1."""
    found = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            found[which].append(measure(which))
    return found


def keys(binaries, rounds):
    """Nanoseconds of CPU for each command, 16 at a time, nothing kept."""
    side_by_side.Server.cpu_seconds = cpu_seconds
    servers = []
    for binary in binaries:
        side_by_side.THALWEG = binary
        servers.append(side_by_side.thalweg("memory", extra=("--postgres", "off")))
    try:
        for server in servers:
            side_by_side.redis_benchmark(server, "set", 1_000_000, 50, 16)
        for test in ("set", "get"):
            ask = lambda which: side_by_side.redis_benchmark(servers[which], test, REQUESTS, 50, 16)["cpu_us"] * 1000
            yield f"keys: {test.upper()}, ns", in_turns(rounds, ask)
    finally:
        for server in servers:
            server.stop()


def tpch(binaries, rounds):
    """Milliseconds until the answer of each query."""
    directory = sql_batch.generate(TPCH_SCALE)
    nodes = []
    for binary in binaries:
        side_by_side.THALWEG = sql_common.THALWEG = os.environ["THALWEG"] = binary
        node = Node("none")
        nodes.append(node)
        for table in TABLES:
            node.sql(f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{directory / table}.parquet'")
    try:
        for number in QUERIES:
            text = query(number, TPCH_SCALE).encode()

            def ask(which):
                begun = time.monotonic()
                nodes[which].post("/sql", text, "text/plain")
                return (time.monotonic() - begun) * 1000

            for which in (0, 1):
                ask(which)
            yield f"TPC-H {number}, ms", in_turns(rounds, ask)
    finally:
        for node in nodes:
            node.stop()


PARTS = {part.__name__: part for part in (keys, tpch)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    binaries = [os.path.realpath(options.before), os.path.realpath(options.after)]
    command = " ".join(["target/peers/bin/python", "bench/in_turns.py", "BEFORE", "AFTER"] + sys.argv[3:])
    lines = ["# Before and after, in turns", "", f"`{command}`", "", machine(), ""]
    lines += ["| what | before: least, median | after | least | median |", "|---|---|---|---|---|"]
    for part in options.parts:
        ratios = []
        for name, (before, after) in PARTS[part](binaries, options.rounds):
            least, median = (of(before) / of(after) for of in (min, statistics.median))
            ratios.append((least, median))
            shown = [f"{min(values):.1f}, {statistics.median(values):.1f}" for values in (before, after)]
            lines.append(f"| {name} | {shown[0]} | {shown[1]} | {least:.3f} | {median:.3f} |")
            print(lines[-1], file=sys.stderr)
        means = [statistics.geometric_mean(column) for column in zip(*ratios)]
        lines.append(f"| **{part}: geometric mean** | | | **{means[0]:.3f}** | **{means[1]:.3f}** |")
    (ROOT / "bench" / "in_turns.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
