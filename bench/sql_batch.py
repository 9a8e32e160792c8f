"""TPC-H's 22 queries over the same Parquet files: Thalweg (external tables, POST /sql), DuckDB (views, 2 threads), Spark SQL
(local[2]).

    target/peers/bin/python bench/sql_batch.py                 # scale factor 1, writes bench/sql_batch.md
    target/peers/bin/python bench/sql_batch.py --scale 0.01 --runs 1 --print-only    # a trial

Hot: one warm-up, then the median of three runs, from the query's submission until its whole answer has been read. The systems
take turns query by query; nothing is loaded or indexed. The rows of Thalweg and Spark are compared with DuckDB's."""

import argparse
import datetime
import decimal
import itertools
import json
import math
import statistics
import subprocess
import sys
import time

from side_by_side import ROOT
from sql_common import DATA, Node, missing, version, write
from sql_tpch import QUERIES, TABLES, query

ROW_GROUP = "32MB"
PAUSE_S = 0.3


def generate(scale):
    """The Parquet files, made once; their directory."""
    directory = DATA / f"tpch-sf{scale:g}"
    if not all((directory / f"{table}.parquet").exists() for table in TABLES):
        directory.mkdir(parents=True, exist_ok=True)
        tool = ROOT / "target" / "peers" / "bin" / "tpchgen-cli"
        if not tool.exists():
            sys.exit("no target/peers/bin/tpchgen-cli; bench/sql_peers.sh installs it")
        subprocess.run([tool, "parquet", "-s", f"{scale:g}", "--row-group-bytes", ROW_GROUP, "--output-dir", directory, "--overwrite"],
                       check=True, stdout=subprocess.DEVNULL)
    return directory


class Thalweg:
    title = "Thalweg"

    def __init__(self, directory, options):
        self.node = Node("sync", extra=["--sql-memory-max", options.sql_memory] if options.sql_memory else ())
        for table in TABLES:
            self.node.sql(f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{directory / table}.parquet'")

    def run(self, text):
        """The answer's bytes; `rows` reads them outside of the measured time."""
        return self.node.post("/sql", text.encode(), "text/plain")

    def rows(self, answer):
        answer = json.loads(answer)
        answer = answer["rows"] if isinstance(answer, dict) else answer
        return [tuple(row.values()) for row in answer]

    def stop(self):
        self.node.stop()


class DuckDB:
    title = "DuckDB"

    def __init__(self, directory, options):
        import duckdb
        self.base = duckdb.connect(config={"threads": options.threads})
        for table in TABLES:
            self.base.execute(f"CREATE VIEW {table} AS FROM read_parquet('{directory / table}.parquet')")

    def run(self, text):
        return self.base.execute(text).fetchall()

    def rows(self, answer):
        return answer

    def stop(self):
        self.base.close()


class Spark:
    title = "Spark SQL"

    def __init__(self, directory, options):
        from pyspark.sql import SparkSession
        builder = SparkSession.builder.master(f"local[{options.threads}]").appName("bench")
        for name, value in {"spark.sql.shuffle.partitions": str(options.threads), "spark.ui.enabled": "false", "spark.driver.memory": "8g",
                            "spark.log.level": "ERROR", "spark.ui.showConsoleProgress": "false", "spark.sql.session.timeZone": "UTC",
                            "spark.driver.extraJavaOptions": "-Djdk.lang.Process.launchMechanism=VFORK"}.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        for table in TABLES:
            self.session.read.parquet(f"{directory / table}.parquet").createOrReplaceTempView(table)

    def run(self, text):
        return self.session.sql(text).collect()

    def rows(self, answer):
        return [tuple(row) for row in answer]

    def stop(self):
        self.session.stop()


SYSTEMS = {"thalweg": (Thalweg, None), "duckdb": (DuckDB, "duckdb"), "spark": (Spark, "pyspark")}


def plain(value):
    """A value as a number or as text, whichever system it came from."""
    if isinstance(value, (int, float, decimal.Decimal)):
        return float(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()[:10]
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def equal(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
    return one == other


def compare(found, expected):
    """'' where the rows are the same in the same order, otherwise what differs."""
    if len(found) != len(expected):
        return f"{len(found)} rows, DuckDB {len(expected)}"
    for number, (its, others) in enumerate(zip(found, expected), 1):
        if not all(equal(plain(one), plain(other)) for one, other in zip(its, others, strict=True)):
            return f"row {number}: {its}, DuckDB {others}"[:400]
    return ""


def timed(system, text):
    started = time.monotonic()
    answer = system.run(text)
    return time.monotonic() - started, answer


def measure(systems, options):
    """{number: {name: seconds or None}}, and what differs or failed."""
    times, remarks = {}, []
    for number in options.queries:
        text, times[number], rows = query(number, options.scale), {}, {}
        for name, system in systems.items():
            try:
                _, answer = timed(system, text)
                rows[name] = system.rows(answer)
            except Exception as error:  # a system's own kind; the others go on
                remarks.append(f"Q{number}: {system.title} failed: {str(error).splitlines()[0][:300]}")
                times[number][name] = None
        runs = {name: [] for name in rows}
        # Every order in turn, with a pause: a JVM goes on compiling and collecting for a while, and would do so in the time of
        # whoever always came after it.
        orders = itertools.cycle(itertools.permutations(runs))
        for _, order in zip(range(options.runs), orders):
            for name in order:
                time.sleep(PAUSE_S)
                runs[name].append(timed(systems[name], text)[0])
        times[number] |= {name: statistics.median(its) for name, its in runs.items()}
        if "duckdb" in rows:
            for name in rows.keys() - {"duckdb"}:
                if differs := compare(rows[name], rows["duckdb"]):
                    remarks.append(f"Q{number}: {systems[name].title}: {differs}")
        print(f"Q{number}: {times[number]} {len(next(iter(rows.values()), ()))} rows", file=sys.stderr, flush=True)
    return times, remarks


def table(times, systems):
    peers = [name for name in systems if name != "thalweg"]
    base = "thalweg" in systems
    titles = [system.title for system in systems.values()]
    lines = ["| query | " + " | ".join(f"{title} ms" for title in titles + [f"{systems[peer].title} / Thalweg" for peer in peers if base]).replace(
        "/ Thalweg ms", "/ Thalweg") + " |", "|---" * (1 + len(titles) + len(peers) * base) + "|"]

    def line(title, its):
        cells = ["failed" if its.get(name) is None else f"{its[name] * 1e3:,.0f}" for name in systems]
        for peer in peers if base else ():
            both = its.get(peer) is not None and its.get("thalweg") is not None
            cells.append(f"{its[peer] / its['thalweg']:.2f}×" if both else "")
        return f"| {title} | " + " | ".join(cells) + " |"

    lines += [line(f"Q{number}", its) for number, its in times.items()]
    answered = [its for its in times.values() if all(its.get(name) is not None for name in systems)]
    if answered:
        lines.append(line(f"total of {len(answered)}", {name: sum(its[name] for its in answered) for name in systems}))
        if base:
            for peer in peers:
                mean = statistics.geometric_mean(its[peer] / its["thalweg"] for its in answered)
                lines.append(f"\n{systems[peer].title} / Thalweg, geometric mean: **{mean:.2f}×**")
    return lines


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--runs", type=int, default=3, help="after the warm-up")
    parser.add_argument("--threads", type=int, default=2, help="of DuckDB and Spark; Thalweg takes the machine's")
    parser.add_argument("--sql-memory", help="Thalweg's --sql-memory-max")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--queries", nargs="+", type=int, choices=QUERIES, default=list(QUERIES), metavar="N")
    parser.add_argument("--print-only", action="store_true", help="write no file")
    return parser.parse_args()


def main():
    options = arguments()
    directory = generate(options.scale)
    systems = {}
    try:
        for name in options.systems:
            if not SYSTEMS[name][1] or not missing(SYSTEMS[name][1]):
                systems[name] = SYSTEMS[name][0](directory, options)
        times, remarks = measure(systems, options)
    finally:
        for system in systems.values():
            system.stop()
    lines = [f"Scale factor {options.scale:g}, Parquet (Snappy, row groups of {ROW_GROUP}) by tpchgen-cli, files in the page cache"
             " (Thalweg keeps what it has read of them in its own memory, too). One"
             f" warm-up, then the median of {options.runs}; {options.threads} threads each. Thalweg over HTTP with JSON as the answer; DuckDB"
             " and Spark inside the client's process and its JVM. The last columns are of the times: above 1, Thalweg is the faster one.", ""]
    lines += table(times, systems) + [""]
    if {"thalweg", "duckdb"} <= systems.keys():
        lines += ["Rows that differ from DuckDB's, and failures:", "", *(f"- {remark}" for remark in remarks)] if remarks else [
            "All rows of all queries are DuckDB's, in their order."]
    write("sql_batch", "TPC-H", lines, [version(name) for name in ("duckdb", "pyspark", "tpchgen-cli")], options.print_only)


if __name__ == "__main__":
    main()
