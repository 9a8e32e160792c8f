"""What the benchmark scripts share: starting servers on ports of their own, running redis-benchmark, CPU per operation,
medians over interleaved pairs. Needs redis-server and redis-benchmark (Debian: redis-server, redis-tools)."""

import csv
import io
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
THALWEG = os.environ.get("THALWEG_BIN", str(ROOT / "target" / "release" / "thalweg"))
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server under test; ended by its pid, its directory removed."""

    def __init__(self, name, command, port, directory):
        self.name, self.port, self.directory = name, port, directory
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} did not start: {command}")
                time.sleep(0.02)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def resident_bytes(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def redis(persistence, io_threads=1):
    """persistence: none, everysec, always"""
    port, directory = free_port(), tempfile.mkdtemp(prefix="bench-redis-", dir=ROOT / "target")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "",
               "--io-threads", str(io_threads), "--auto-aof-rewrite-percentage", "0"]
    command += ["--appendonly", "no"] if persistence == "none" else ["--appendonly", "yes", "--appendfsync", persistence]
    return Server(f"redis {persistence}", command, port, directory)


def thalweg(durability, data=None, extra=()):
    """durability: memory (no log on disk), none, interval, sync"""
    port, directory = free_port(), tempfile.mkdtemp(prefix="bench-thalweg-", dir=ROOT / "target")
    command = [THALWEG, "serve", "--resp", f"127.0.0.1:{port}", "--http", "off"]
    command += ["--data", "memory"] if durability == "memory" else ["--data", data or directory, "--durability", durability]
    return Server(f"thalweg {durability}", command + list(extra), port, directory)


def redis_benchmark(server, test, requests, clients, pipeline, keys=1_000_000, size=64, threads=1):
    """Requests per second and the server's CPU microseconds per request."""
    before = server.cpu_seconds()
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-t", test, "-n", str(requests),
               "-c", str(clients), "-P", str(pipeline), "-r", str(keys), "-d", str(size), "--csv"]
    if threads > 1:
        command += ["--threads", str(threads)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    row = list(csv.DictReader(io.StringIO(output)))[0]
    cpu_us = (server.cpu_seconds() - before) * 1e6 / requests
    return {"rps": float(row["rps"]), "cpu_us": cpu_us, "p99_ms": float(row["p99_latency_ms"])}


def median(rows, field):
    return statistics.median(row[field] for row in rows)


def fsync_ms(directory=ROOT / "target"):
    """Median of 200 times write 4 KiB + fdatasync: what the disk costs in this minute."""
    path = pathlib.Path(directory) / "fsync-probe"
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    times = []
    for number in range(200):
        started = time.perf_counter()
        os.pwrite(handle, b"x" * 4096, number * 4096)
        os.fdatasync(handle)
        times.append((time.perf_counter() - started) * 1e3)
    os.close(handle)
    path.unlink()
    return statistics.median(times)


def machine():
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.split()[2]
    return f"{os.cpu_count()} x {cpu}, Linux {os.uname().release}, redis {version}, fdatasync {fsync_ms():.3f} ms"
