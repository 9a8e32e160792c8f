"""What the sql_*.py scripts share: a node with all of its doors, CPU seconds of a process and its descendants, results as
Markdown. The binary is $THALWEG, target/release/thalweg where that is not set. The Python is target/peers (bench/sql_peers.sh)."""

import http.client
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import side_by_side
from side_by_side import CLOCK_TICKS, ROOT, fsync_ms

THALWEG = os.environ.get("THALWEG") or side_by_side.THALWEG
DATA = ROOT / "target" / "bench-data"


def tree_cpu(pid):
    """CPU seconds of a process, its descendants, and those of them that ended and were waited for."""
    parents, seconds = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(path.parent.name)] = int(fields[1])
        seconds[int(path.parent.name)] = sum(map(int, fields[11:15])) / CLOCK_TICKS
    family, todo = set(), [pid]
    while todo:
        family.add(todo[-1])
        parent = todo.pop()
        todo += [child for child, its in parents.items() if its == parent]
    return sum(seconds.get(member, 0) for member in family)


class Refused(RuntimeError):
    """A statement that the node refused."""


class Node:
    """A Thalweg of its own, on ports of its own; ended by its pid, its directory removed unless it was given."""

    def __init__(self, durability="sync", data=None, extra=()):
        self.own = None if data else tempfile.mkdtemp(prefix="bench-sql-", dir=ROOT / "target")
        command = [THALWEG, "serve", "--data", str(data or self.own), "--durability", durability]
        for door in ("--resp", "--http", "--postgres"):
            command += [door, "127.0.0.1:0"]
        self.process = subprocess.Popen(command + list(extra), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.ports = {}
        while len(self.ports) < 3:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the node did not start: {shlex.join(command)}")
            if line.startswith("ready "):
                _, door, address = line.split()
                self.ports[door] = int(address.rstrip("/").rsplit(":", 1)[1])
        self.http = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=3600)

    def post(self, path, body, content_type, accept="application/json"):
        self.http.request("POST", path, body, {"Content-Type": content_type, "Accept": accept})
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Refused(f"{answer.status} {text.decode()[:500]} for {str(body)[:300]}")
        return text

    def sql(self, statement):
        """The rows of a query as dictionaries; nothing of another statement."""
        text = self.post("/sql", statement.encode(), "text/plain")
        answer = json.loads(text) if text.strip() else []
        return answer.get("rows", []) if isinstance(answer, dict) else answer

    def postgres(self):
        import psycopg
        return psycopg.connect(host="127.0.0.1", port=self.ports["postgres"], user="bench", dbname="thalweg", autocommit=True)

    def cpu_seconds(self):
        return tree_cpu(self.process.pid)

    def wait_idle(self, seconds=300):
        """Until what it does in the background is over: less than a twentieth of a core for a second."""
        deadline, before = time.monotonic() + seconds, self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(1)
            now = self.cpu_seconds()
            if now - before < 0.05:
                return
            before = now

    def stop(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()
        if self.own:
            shutil.rmtree(self.own, ignore_errors=True)


def wait_view(node, view, rows, limit=3600):
    """Until a view has taken in `rows`: over files, until it is done; over streams, until it is live and nothing lags."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        state = node.sql(f"SELECT state, rows_in, lag, late, misfits, error FROM sys.views WHERE view = '{view}'")[0]
        if state["state"] == "failed":
            raise RuntimeError(f"{view}: {state}")
        if state["state"] == "done" or (state["state"] == "live" and not state["lag"] and state["rows_in"] >= rows):
            if state["rows_in"] != rows or state["late"] or state["misfits"]:
                raise RuntimeError(f"{view} took in another number than {rows} rows: {state}")
            return
        time.sleep(0.02)
    raise TimeoutError(f"{view} took more than {limit} s: {state}")


def version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def missing(package):
    """Says so and returns True where a peer is not installed."""
    if importlib.util.find_spec(package):
        return False
    print(f"skipped: {package} is not installed in {sys.executable}; bench/sql_peers.sh does it", file=sys.stderr)
    return True


def need(*packages):
    """Ends the script where something that it cannot do without is not installed."""
    absent = [package for package in packages if not importlib.util.find_spec(package)]
    if absent:
        sys.exit(f"{', '.join(absent)} is not installed in {sys.executable}; run bench/sql_peers.sh, then target/peers/bin/python {sys.argv[0]}")


def machine(peers=()):
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    said = subprocess.run([THALWEG, "--version"], capture_output=True, text=True).stdout.strip()
    return ", ".join([f"{os.cpu_count()} x {cpu}", f"{memory:.0f} GiB", f"Linux {os.uname().release}",
                      f"fdatasync {fsync_ms():.3f} ms", said, *filter(None, peers)])


def count_text(number):
    """1000000 as 1m, as in the names of the files."""
    for unit, letter in ((1_000_000, "m"), (1_000, "k")):
        if number % unit == 0:
            return f"{number // unit}{letter}"
    return str(number)


def write(name, title, lines, peers, print_only):
    """Prints a result and writes bench/<name>.md, with the command, the machine and the versions."""
    command = f"target/peers/bin/python bench/{pathlib.Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}".strip()
    text = "\n".join([f"# {title}", "", f"`{command}`", "", machine(peers), "", *lines]) + "\n"
    if not print_only:
        (ROOT / "bench" / f"{name}.md").write_text(text)
    print(text)
