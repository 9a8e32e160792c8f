"""The figures beside kv.py: read latency while durable writes saturate, memory a key, recovery, larger than memory, the
order system.

    python3 bench/run.py latency|memory|recovery|cold|orders [pairs]     # writes bench/<name>.md

Each says in its result how it was run. Peers and Thalweg are interleaved."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from side_by_side import ROOT, THALWEG, Server, free_port, machine, median, redis, thalweg


def load(server, workload, *more):
    command = [THALWEG, "bench", "--json", "--target", f"127.0.0.1:{server.port}", "--workload", workload, *more]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def fill(server, keys):
    load(server, "get", "--fill", "--keys", str(keys), "--clients", "64", "--pipeline", "64", "--duration", "100ms")


def write(name, title, command, lines):
    text = "\n".join([f"# {title}", "", f"`{command}`", "", machine(), ""] + lines) + "\n"
    (ROOT / "bench" / f"{name}.md").write_text(text)
    print(text)


def latency(pairs):
    rows = {"thalweg": [], "redis": []}
    for _ in range(pairs):
        for who, start in (("thalweg", lambda: thalweg("sync")), ("redis", lambda: redis("always"))):
            server = start()
            try:
                fill(server, 1_000_000)
                writers = subprocess.Popen(
                    [THALWEG, "bench", "--json", "--target", f"127.0.0.1:{server.port}", "--workload", "set", "--clients", "256",
                     "--pipeline", "16", "--duration", "12s"], stdout=subprocess.PIPE, text=True)
                time.sleep(2)
                row = load(server, "get", "--rate", "1000", "--clients", "10", "--pipeline", "4", "--duration", "8s")
                row["writes"] = json.loads(writers.communicate()[0])["rate"]
                rows[who].append(row)
            finally:
                server.stop()
    ratio = median(rows["redis"], "p99_us") / median(rows["thalweg"], "p99_us")
    lines = ["Reads at a fixed 1,000/s (latency from the intended time) while 256 clients write in pipelines of 16 as fast as they"
             " can, every write made durable before its reply. Everything shares two cores.", "",
             "| | GET p50 ms | GET p99 ms | GET p99.9 ms | writes/s meanwhile |", "|---|---|---|---|---|"]
    for who, title in (("thalweg", "thalweg `sync`"), ("redis", "redis `appendfsync always`")):
        r = rows[who]
        lines.append(f"| {title} | {median(r, 'p50_us') / 1e3:.2f} | {median(r, 'p99_us') / 1e3:.2f} | {median(r, 'p999_us') / 1e3:.2f} | {median(r, 'writes'):,.0f} |")
    lines += ["", f"p99: **{ratio:.1f}× lower** (must 5×, aim 20×)"]
    write("latency", "Read latency while durable writes saturate", f"python3 bench/run.py latency {pairs}", lines)


def memory(_pairs):
    keys, rows = 10_000_000, {}
    for who, start in (("thalweg", lambda: thalweg("memory")), ("redis", lambda: redis("none"))):
        server = start()
        try:
            empty = server.resident_bytes()
            fill(server, keys)
            rows[who] = (server.resident_bytes() - empty) / keys
        finally:
            server.stop()
    write("memory", "Memory a key", "python3 bench/run.py memory",
          [f"10,000,000 keys of 16 bytes, values of 64 bytes, resident memory: thalweg {rows['thalweg']:.0f} bytes a key, redis"
           f" {rows['redis']:.0f}: **{rows['thalweg'] / rows['redis']:.2f}×** (must 1×, aim 0.7×)"])


def recovery(pairs):
    times, sizes = [], []
    for _ in range(pairs):
        directory = tempfile.mkdtemp(prefix="bench-recovery-", dir=ROOT / "target")
        server = thalweg("none", data=directory, extra=("--checkpoint-log", "64GiB", "--memory-max", "8GiB"))
        fill(server, 11_200_000)
        time.sleep(1)
        spare = server.directory
        server.directory = "/nonexistent"
        server.stop()
        shutil.rmtree(spare, ignore_errors=True)
        size = sum(path.stat().st_blocks * 512 for path in pathlib.Path(directory, "log").iterdir())
        port, started = free_port(), time.monotonic()
        again = Server("recovery", [THALWEG, "serve", "--data", directory, "--resp", f"127.0.0.1:{port}", "--http", "off",
                                    "--checkpoint-log", "64GiB", "--memory-max", "8GiB"], port, directory)
        times.append({"seconds": time.monotonic() - started})
        sizes.append(size)
        again.stop()
    gib = sizes[0] / (1 << 30)
    seconds = median(times, "seconds")
    write("recovery", "Recovery after kill -9", f"python3 bench/run.py recovery {pairs}",
          [f"11,200,000 SETs of 64-byte values, no checkpoint: {gib:.2f} GiB of log, from start to accepting connections"
           f" {seconds:.2f} s, median of {pairs}: **{seconds / gib:.2f} s a GiB** (must 5 s, aim 2 s). The log lies in the page cache."])


def cold(_pairs):
    keys, rows = 50_000_000, {}
    for who, more in (("in memory", ("--memory-max", "12GiB")), ("2 GiB budget", ("--memory-max", "2GiB"))):
        server = thalweg("none", extra=more)
        try:
            started = time.monotonic()
            fill(server, keys)
            filled = time.monotonic() - started
            time.sleep(10)
            reads = ("--keys", str(keys), "--zipf", "1.0", "--clients", "50", "--pipeline", "16", "--duration", "20s")
            load(server, "get", *reads)
            row = load(server, "get", *reads)
            row["fill_s"], row["rss"] = filled, server.resident_bytes() / (1 << 30)
            rows[who] = row
        finally:
            server.stop()
    ratio = rows["2 GiB budget"]["rate"] / rows["in memory"]["rate"]
    lines = ["50,000,000 keys, 64-byte values, Zipf 1.0 reads, 50 clients, pipelines of 16, durability none; second of two runs of 20 s.", "",
             "| budget | reads/s | p50 ms | p99 ms | resident GiB | fill s |", "|---|---|---|---|---|---|"]
    for who, row in rows.items():
        lines.append(f"| {who} | {row['rate']:,.0f} | {row['p50_us'] / 1e3:.2f} | {row['p99_us'] / 1e3:.2f} | {row['rss']:.1f} | {row['fill_s']:.0f} |")
    lines += ["", f"**{ratio:.0%}** of the in-memory rate (must 30 %, aim 60 %)"]
    write("cold", "Larger than memory", "python3 bench/run.py cold", lines)


def orders(pairs):
    rows = []
    for _ in range(pairs):
        text = subprocess.run([THALWEG, "demo", "--exit", "--http", "127.0.0.1:0"], capture_output=True, text=True, check=True).stdout
        assert "verified:" in text, text
        rows.append({"rate": float(re.search(r"(\d+) orders/s end to end", text)[1]),
                     "p99": float(re.search(r"99 % ([\d.]+) ms", text)[1])})
    write("orders", "The order system", f"python3 bench/run.py orders {pairs}",
          [f"`thalweg demo --exit`: 1,000,000 orders, deduplicated, revenue per product and minute in a view in SQL, every"
           f" acknowledgement after fdatasync, generator and views on the same two cores; median of {pairs}:"
           f" **{median(rows, 'rate'):,.0f} orders/s** ({min(row['rate'] for row in rows):,.0f} to {max(row['rate'] for row in rows):,.0f}; must 400,000,"
           f" aim 800,000), acknowledgement p99 {median(rows, 'p99'):.1f} ms"])


if __name__ == "__main__":
    {"latency": latency, "memory": memory, "recovery": recovery, "cold": cold, "orders": orders}[sys.argv[1]](
        int(sys.argv[2]) if len(sys.argv) > 2 else 3)
