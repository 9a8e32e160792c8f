"""SELECT name, price FROM items WHERE id = $1, prepared, over the Postgres protocol: Thalweg's typed table beside PostgreSQL 15.

    target/peers/bin/python bench/sql_point.py                 # 3 pairs, 1 and 16 clients, 10 s each; writes bench/sql_point.md
    target/peers/bin/python bench/sql_point.py --rows 10000 --seconds 1 --pairs 1 --print-only    # a trial

CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10,2)), loaded by COPY on both. The client is pgbench (-M
prepared, a custom script) on the same cores, runs interleaved, one warm-up each. PostgreSQL holds everything in shared buffers,
is vacuumed, without fsync (reads do not care). CPU is the server's, with its backends."""

import argparse
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from side_by_side import free_port, median
from sql_common import Node, need, tree_cpu, write

TABLE = "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10,2))"
SCRIPT = "\\set id random(1, {})\nSELECT name, price FROM items WHERE id = :id;\n"
SETTINGS = {"shared_buffers": "2GB", "max_connections": "100", "fsync": "off", "synchronous_commit": "off", "wal_level": "minimal",
            "max_wal_senders": "0", "jit": "off", "autovacuum": "off", "huge_pages": "try", "listen_addresses": "127.0.0.1"}


def tool(name):
    """Debian's PostgreSQL 15 first."""
    directory = pathlib.Path("/usr/lib/postgresql/15/bin")
    return str(directory / name) if (directory / name).exists() else shutil.which(name)


class Thalweg:
    title = "Thalweg"

    def __init__(self, _options):
        self.node = Node("sync")
        self.port, self.pid = self.node.ports["postgres"], self.node.process.pid

    def ready(self, _connection):
        self.node.wait_idle(30)

    def stop(self):
        self.node.stop()


class Postgres:
    """A cluster of its own in a temporary directory; as the user postgres where this is root, whom PostgreSQL refuses."""

    title = "PostgreSQL 15"

    def __init__(self, options):
        self.directory, self.port = tempfile.mkdtemp(prefix="bench-postgres-"), free_port()
        user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        self.user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        if user:
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self.log = open(pathlib.Path(self.directory) / "log", "wb")
        data = self.directory + "/data"
        self.call([tool("initdb"), "-D", data, "-U", "bench", "-A", "trust", "-N", "--locale", "C", "-E", "UTF8"])
        command = [tool("postgres"), "-D", data, "-p", str(self.port), "-k", self.directory]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd="/", **self.user)
        self.pid = self.process.pid
        self.wait()
        self.call([tool("createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", "thalweg"])

    def call(self, command):
        subprocess.run(command, check=True, stdout=self.log, stderr=self.log, cwd="/", **self.user)

    def wait(self):
        deadline = time.monotonic() + 60
        while subprocess.run([tool("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {pathlib.Path(self.directory, 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def ready(self, connection):
        connection.execute("VACUUM ANALYZE items")
        connection.execute("CHECKPOINT")

    def stop(self):
        self.process.send_signal(signal.SIGINT)  # fast shutdown
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def load(server, rows):
    """The table, by COPY; seconds of the COPY."""
    import psycopg
    with psycopg.connect(host="127.0.0.1", port=server.port, user="bench", dbname="thalweg", autocommit=True) as connection:
        connection.execute(TABLE)
        started = time.monotonic()
        with connection.cursor() as cursor, cursor.copy("COPY items FROM STDIN") as copy:
            for number in range(1, rows + 1):
                copy.write(f"{number}\titem number {number}\t{number % 10_000 / 100:.2f}\n")
        seconds = time.monotonic() - started
        found = connection.execute("SELECT count(*), sum(price) FROM items").fetchone()
        row = connection.execute("SELECT name, price FROM items WHERE id = %s", (rows // 2,)).fetchone()
        if found[0] != rows or row[0] != f"item number {rows // 2}":
            raise RuntimeError(f"{server.title} holds {found}, {row}")
        server.ready(connection)
    return seconds


def pgbench(server, script, clients, seconds):
    """Transactions a second, mean latency, the server's CPU a transaction."""
    command = [tool("pgbench"), "-n", "-M", "prepared", "-f", script, "-c", str(clients), "-j", "1", "-T", str(seconds),
               "-h", "127.0.0.1", "-p", str(server.port), "-U", "bench", "thalweg"]
    before = tree_cpu(server.pid)
    done = subprocess.run(command, capture_output=True, text=True)
    time.sleep(0.2)  # PostgreSQL's backends end
    cpu = tree_cpu(server.pid) - before
    if done.returncode or not re.search(r"tps = ", done.stdout):
        raise RuntimeError(f"pgbench against {server.title}: {done.stdout[-500:]} {done.stderr[-1000:]}")
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    if failed and int(failed[1]):
        raise RuntimeError(f"{server.title} failed {failed[1]} transactions")
    count = int(re.search(r"transactions actually processed: (\d+)", done.stdout)[1])
    return {"tps": float(re.search(r"tps = ([\d.]+)", done.stdout)[1]), "cpu_us": cpu * 1e6 / count,
            "ms": float(re.search(r"latency average = ([\d.]+)", done.stdout)[1])}


def measure(servers, options):
    results = {(name, clients): [] for clients in options.clients for name in servers}
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT.format(options.rows))
        script.flush()
        for pair in range(-1, options.pairs):  # the first one warms up
            for name, clients in results:
                row = pgbench(servers[name], script.name, clients, options.seconds if pair >= 0 else min(2, options.seconds))
                if pair >= 0:
                    results[name, clients].append(row)
                print(f"{name} {clients} clients: {row}", file=sys.stderr, flush=True)
    return results


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--print-only", action="store_true", help="write no file")
    return parser.parse_args()


def main():
    options = arguments()
    need("psycopg")
    for name in ("pgbench", "postgres", "initdb", "pg_isready", "createdb"):
        if not tool(name):
            sys.exit(f"no {name}: apt-get install postgresql-15 (bench/sql_peers.sh does it)")
    servers, copies = {}, {}
    try:
        for name, kind in (("thalweg", Thalweg), ("postgres", Postgres)):
            servers[name] = kind(options)
            copies[name] = load(servers[name], options.rows)
        results = measure(servers, options)
    finally:
        for server in servers.values():
            server.stop()
    write("sql_point", "One row by its key, in SQL", report(options, servers, copies, results),
          [subprocess.run([tool("postgres"), "--version"], capture_output=True, text=True).stdout.strip()], options.print_only)


def report(options, servers, copies, results):
    lines = [f"`SELECT name, price FROM items WHERE id = $1` by `pgbench -M prepared` for {options.seconds} s, {options.rows:,} rows, median"
             f" of {options.pairs} interleaved pairs; client and server share two cores.", "",
             "| clients | server | transactions/s | mean ms | server CPU µs a transaction |", "|---|---|---|---|---|"]
    for (name, clients), rows in results.items():
        lines.append(f"| {clients} | {servers[name].title} | {median(rows, 'tps'):,.0f} | {median(rows, 'ms'):.3f} | {median(rows, 'cpu_us'):.1f} |")
    lines.append("")
    for clients in options.clients:
        ours, theirs = results["thalweg", clients], results["postgres", clients]
        lines.append(f"{clients} clients: **{median(ours, 'tps') / median(theirs, 'tps'):.2f}×** PostgreSQL's rate, at"
                     f" {median(ours, 'cpu_us') / median(theirs, 'cpu_us'):.2f}× its CPU.  ")
    lines += ["", f"COPY of the {options.rows:,} rows before: Thalweg {copies['thalweg']:.2f} s (durable), PostgreSQL {copies['postgres']:.2f} s"
              " (fsync off)."]
    return lines


if __name__ == "__main__":
    main()
