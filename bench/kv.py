"""GET and SET against Redis, side by side: both without persistence, and durable against Redis without persistence.

    python3 bench/kv.py [pairs]          # writes bench/kv.md

Interleaved pairs, medians. The generator (redis-benchmark, one thread) shares the machine with the server."""

import sys

from side_by_side import ROOT, machine, median, redis, redis_benchmark, thalweg

CASES = [
    # title, ours, peer, clients, pipeline, requests, goal
    ("no persistence", "memory", "none", 50, 1, 600_000, {"set": (1.0, 1.3), "get": (1.0, 1.3)}),
    ("no persistence", "memory", "none", 50, 16, 4_000_000, {"set": (1.8, 3.0), "get": (1.8, 3.0)}),
    ("no persistence", "memory", "none", 50, 64, 8_000_000, {"set": (3.3, 5.0), "get": (3.3, 5.0)}),
    ("fdatasync before every reply, Redis without persistence", "sync", "none", 512, 16, 4_000_000, {"set": (1.4, 2.0)}),
    ("fdatasync before every reply, Redis `appendfsync always`", "sync", "always", 512, 16, 3_000_000, {"set": (2.3, None)}),
]


def run(pairs):
    lines = ["# GET and SET against Redis", "", f"`python3 bench/kv.py {pairs}`: medians of {pairs} interleaved pairs,"
             " 64-byte values, 1,000,000 keys, redis-benchmark with one thread beside the server.", "", machine(), "",
             "| mode | clients | P | test | thalweg /s | redis /s | ratio | must / aim | CPU µs/op thalweg : redis |",
             "|---|---|---|---|---|---|---|---|---|"]
    for title, ours, peer, clients, pipeline, requests, goals in CASES:
        rows = {(who, test): [] for who in ("thalweg", "redis") for test in goals}
        for number in range(pairs):
            order = [("thalweg", lambda: thalweg(ours)), ("redis", lambda: redis(peer))]
            for who, start in order if number % 2 == 0 else reversed(order):
                server = start()
                try:
                    # Every key is there before anything is measured.
                    redis_benchmark(server, "set", 1_500_000, clients, 16)
                    for test in goals:
                        rows[who, test].append(redis_benchmark(server, test, requests, clients, pipeline))
                finally:
                    server.stop()
        for test, (must, aim) in goals.items():
            mine, theirs = rows["thalweg", test], rows["redis", test]
            ratio = median(mine, "rps") / median(theirs, "rps")
            goal = f"{must}× / {aim}×" if aim else f"{must}×"
            lines.append(f"| {title} | {clients} | {pipeline} | {test.upper()} | {median(mine, 'rps'):,.0f} | {median(theirs, 'rps'):,.0f} "
                         f"| **{ratio:.2f}×** | {goal} | {median(mine, 'cpu_us'):.2f} : {median(theirs, 'cpu_us'):.2f} |")
            print(lines[-1], flush=True)
    (ROOT / "bench" / "kv.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
