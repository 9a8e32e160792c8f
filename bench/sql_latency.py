"""How fresh a materialized view is: the time from an append's acknowledgement (durable) until a read of the view shows it.

    target/peers/bin/python bench/sql_latency.py               # writes bench/sql_latency.md
    target/peers/bin/python bench/sql_latency.py --seconds 3 --probes 50 --print-only    # a trial

The view counts records by key. A process appends records by XADD in pipelines of 100 over two connections: first as fast as it
can, each connection with --outstanding pipelines under way, until the view has taken in all of it: that is the most the node does.
Then at half of that (or at --rate) in an open loop: every pipeline has its moment, whether or not earlier ones were answered.

Meanwhile the probe appends one record with a key of its own, notes when the acknowledgement has come, and reads
SELECT n FROM per_key WHERE key = $1, prepared, on one Postgres connection again and again until the key is there. So the figure
has a read in it; what one read costs is given beside it. Pauses between probes are random."""

import argparse
import multiprocessing
import random
import socket
import statistics
import sys
import threading
import time

from sql_common import Node, need, version, wait_view, write

BATCH, CONNECTIONS = 100, 2
READ = "SELECT n FROM per_key WHERE key = %s"


def xadd(partition, key, qty=1):
    words = ["XADD", f"events:{partition}", "*", "key", key, "qty", str(qty)]
    return "".join([f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]).encode()


class Writer:
    """One connection: sends pipelines to its partition, a thread counts the answers."""

    def __init__(self, port, partition, keys):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dice = random.Random(partition)
        # As many different pipelines as bring every key about twice.
        self.batches = [b"".join(xadd(partition, f"k{dice.randrange(keys)}", dice.randrange(10)) for _ in range(BATCH))
                        for _ in range(max(200, keys * 2 // BATCH))]
        self.sent = self.acknowledged = 0
        self.error, self.answered = None, threading.Condition()
        self.thread = threading.Thread(target=self.count, daemon=True)
        self.thread.start()

    def count(self):
        """An ID is `$len\\r\\nid\\r\\n`."""
        while block := self.socket.recv(1 << 18):
            with self.answered:
                self.acknowledged += block.count(b"$")
                self.error = block if b"-ERR" in block else self.error
                self.answered.notify()

    def send(self):
        self.socket.sendall(self.batches[self.sent // BATCH % len(self.batches)])
        self.sent += BATCH

    def wait(self, outstanding=0):
        """Until no more than this many records are unanswered."""
        with self.answered:
            if not self.answered.wait_for(lambda: self.error or self.sent - self.acknowledged <= outstanding, timeout=60):
                raise TimeoutError("XADD was not answered for a minute")
        if self.error:
            raise RuntimeError(f"XADD failed: {self.error[:200]}")


def as_fast_as_it_can(writer, ends, options):
    while time.monotonic() < ends:
        writer.send()
        writer.wait((options.outstanding - 1) * BATCH)


def at_a_rate(writer, ends, rate):
    """The latest that a pipeline left after its moment, in seconds."""
    started, number, late = time.monotonic(), 0, 0.0
    while (due := started + number * BATCH / rate) < ends:
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
        late = max(late, time.monotonic() - due)
        writer.send()
        number += 1
    return late


def load(port, seconds, rate, options, results):
    """The background load, in a process of its own; rate None: as fast as it can."""
    writers = [Writer(port, partition, options.keys) for partition in range(CONNECTIONS)]
    started, late = time.monotonic(), [0.0] * CONNECTIONS

    def one(number):
        if rate is None:
            as_fast_as_it_can(writers[number], started + seconds, options)
        else:
            late[number] = at_a_rate(writers[number], started + seconds, rate / CONNECTIONS)
        writers[number].wait()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.monotonic() - started
    results.put({"records": sum(writer.acknowledged for writer in writers), "sent": sum(writer.sent for writer in writers),
                 "seconds": spent, "late": max(late)})


def start_load(node, seconds, rate, options):
    results = multiprocessing.Queue()
    process = multiprocessing.Process(target=load, args=(node.ports["resp"], seconds, rate, options, results), daemon=True)
    process.start()
    return process, results


def finish_load(process, results, seconds):
    result = results.get(timeout=seconds + 120)
    process.join()
    if result["records"] != result["sent"]:
        raise RuntimeError(f"not every append was acknowledged: {result}")
    return result


def prepare(options):
    node = Node(options.durability)
    node.sql(f"CREATE STREAM events (key TEXT, qty BIGINT) WITH (partitions = {CONNECTIONS})")
    node.sql("CREATE MATERIALIZED VIEW per_key AS SELECT key, count(*) AS n, sum(qty) AS qty FROM events GROUP BY key")
    return node


def check(node, records):
    """The view has counted every acknowledged record, once."""
    wait_view(node, "per_key", records, limit=300)
    found = node.sql("SELECT sum(n) AS n FROM per_key")[0]["n"]
    if found != records:
        raise RuntimeError(f"{records} records were acknowledged, the view has counted {found}")


def maximum(options):
    """Records a second, from the first append until the view has taken in the last; and those that were acknowledged."""
    node = prepare(options)
    try:
        started = time.monotonic()
        result = finish_load(*start_load(node, options.seconds, None, options), options.seconds)
        check(node, result["records"])
        return result["records"] / (time.monotonic() - started), result["records"] / result["seconds"]
    finally:
        node.stop()


class Probe:
    """One record after the other: appended, acknowledged, seen."""

    def __init__(self, node):
        self.socket = socket.create_connection(("127.0.0.1", node.ports["resp"]))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cursor = node.postgres().cursor()
        self.rows, self.number = [], 0
        for _ in range(20):  # the statement's preparation
            self.read("nobody")

    def read(self, key):
        return self.cursor.execute(READ, (key,), prepare=True).fetchone()

    def append(self, key):
        self.socket.sendall(xadd(self.number % CONNECTIONS, key))
        answer = b""
        while not answer.endswith(b"\r\n") or answer.count(b"\r\n") < 2:
            answer += self.socket.recv(4096)
            if answer.startswith(b"-"):
                raise RuntimeError(f"XADD failed: {answer}")

    def once(self):
        self.number += 1
        key, sent = f"probe-{self.number}", time.perf_counter()
        self.append(key)
        acknowledged, reads = time.perf_counter(), []
        while True:
            asked = time.perf_counter()
            row = self.read(key)
            now = time.perf_counter()
            reads.append(now - asked)
            if row:
                break
            if now - acknowledged > 60:
                raise TimeoutError(f"{key} was not in the view for a minute")
        if row[0] != 1:
            raise RuntimeError(f"{key} was appended once and counted {row[0]} times")
        self.rows.append({"append": acknowledged - sent, "fresh": now - acknowledged, "reads": len(reads), "read": statistics.mean(reads)})


def probed(options, rate):
    """Probes while the load runs (rate 0: none runs); the probes, the load, the server's share of the processors."""
    node = prepare(options)
    try:
        probe, pause = Probe(node), random.Random(1)
        seconds = options.probes * options.every * 1.5 + 3
        running = start_load(node, seconds, rate, options) if rate else None
        time.sleep(2)  # the load gets going
        cpu, started = node.cpu_seconds(), time.monotonic()
        while len(probe.rows) < options.probes and (not running or running[0].is_alive()) and time.monotonic() - started < seconds - 2.5:
            time.sleep(pause.uniform(0, 2 * options.every))
            probe.once()
        busy = (node.cpu_seconds() - cpu) / (time.monotonic() - started)
        result = finish_load(*running, seconds) if running else {"records": 0, "seconds": 1, "late": 0}
        check(node, result["records"] + probe.number)
        return {"probes": probe.rows, "rate": result["records"] / result["seconds"], "late": result["late"], "busy": busy}
    finally:
        node.stop()


def percentile(rows, field, share):
    """In milliseconds."""
    ordered = sorted(row[field] for row in rows)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3


def line(title, its):
    probes = its["probes"]
    cells = [f"{its['rate']:,.0f}", f"{len(probes):,}"]
    cells += [f"{percentile(probes, 'fresh', share):.2f}" for share in (0.5, 0.99, 1)]
    cells += [f"{percentile(probes, 'append', share):.2f}" for share in (0.5, 0.99)]
    cells += [f"{percentile(probes, 'read', share):.2f}" for share in (0.5, 0.99)]
    cells += [f"{statistics.mean(row['reads'] for row in probes):.1f}", f"{its['busy']:.2f}", f"{its['late'] * 1e3:.1f}"]
    return f"| {title} | " + " | ".join(cells) + " |"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, help="records a second in the background; default: half of the most")
    parser.add_argument("--seconds", type=float, default=15, help="of finding the most")
    parser.add_argument("--outstanding", type=int, default=16, help="pipelines of a connection while finding the most")
    parser.add_argument("--keys", type=int, default=10_000, help="of the view, about")
    parser.add_argument("--probes", type=int, default=2000)
    parser.add_argument("--every", type=float, default=0.02, help="mean pause between probes, seconds")
    parser.add_argument("--durability", choices=("sync", "interval", "none"), default="sync")
    parser.add_argument("--print-only", action="store_true", help="write no file")
    return parser.parse_args()


def main():
    options = arguments()
    need("psycopg")
    most, acknowledged = (None, None) if options.rate else maximum(options)
    if most:
        print(f"the most: {most:,.0f}/s into the view, {acknowledged:,.0f}/s acknowledged", file=sys.stderr, flush=True)
    rate = options.rate or most / 2
    loads = {"none": probed(options, 0), "fixed" if options.rate else "half of the most": probed(options, rate)}
    lines = [f"From the acknowledgement of one XADD (`--durability {options.durability}`) until `{READ.replace('%s', '$1')}` on a Postgres"
             " connection shows it, in a view that counts by key. Load, probe and server share two cores.", ""]
    if most:
        lines += [f"The most: {most:,.0f} records/s from the first append until the view has taken in the last, over {options.seconds:.0f} s;"
                  f" {acknowledged:,.0f}/s acknowledged. Pipelines of {BATCH}, {CONNECTIONS} connections, one a partition, {options.keys:,} keys.", ""]
    lines += ["| load | records/s | probes | fresh after p50 ms | p99 ms | max ms | append p50 ms | p99 ms | a read p50 ms | p99 ms | reads a probe |"
              " server's cores | load late by max ms |", "|---" * 13 + "|"]
    lines += [line(title, its) for title, its in loads.items()]
    lines += ["", "Every record that was acknowledged was in the view at the end, once."]
    write("sql_latency", "Freshness of a materialized view", lines, [version("psycopg")], options.print_only)


if __name__ == "__main__":
    main()
