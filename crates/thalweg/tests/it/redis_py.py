"""What users of redis-py do, over both versions of the protocol. Run by clients.rs with the port as argument."""

import sys
import threading
import time

import redis

PORT = int(sys.argv[1])

for protocol in (2, 3):
    r = redis.Redis(port=PORT, protocol=protocol, decode_responses=True)
    r.flushall()
    assert r.ping()
    assert r.set("k", "v", ex=100) and r.get("k") == "v" and 0 < r.ttl("k") <= 100
    assert r.set("k", "w", nx=True) is None
    assert r.mset({"a": 1, "b": 2}) and r.mget("a", "nothing", "b") == ["1", None, "2"]
    assert r.incrby("n", 5) == 5 and r.incrbyfloat("n", 0.5) == 5.5
    assert r.hset("h", mapping={"f": 1, "g": 2}) == 2 and r.hgetall("h") == {"f": "1", "g": "2"}
    assert sorted(r.scan_iter()) == ["a", "b", "h", "k", "n"]
    assert dict(r.hscan_iter("h")) == {"f": "1", "g": "2"}
    assert r.getrange("k", 0, 0) == "v" and r.append("k", "x") == 2

    pipe = r.pipeline(transaction=False)
    for number in range(1000):
        pipe.set(f"p{number}", number)
        pipe.get(f"p{number}")
    assert pipe.execute()[1::2] == [str(number) for number in range(1000)]
    with r.pipeline() as pipe:
        pipe.watch("a")
        pipe.multi()
        pipe.incr("a")
        pipe.hincrby("h", "f", 1)
        assert pipe.execute() == [2, 2]
    with r.pipeline() as pipe:
        pipe.watch("a")
        r.incr("a")
        pipe.multi()
        pipe.incr("a")
        try:
            pipe.execute()
            raise SystemExit("a watched key changed and the transaction went through")
        except redis.WatchError:
            pass
    assert r.get("a") == "3"

    # Commands about the connection stand among the others of a transaction, in order.
    pipe = r.pipeline()
    pipe.set("t", "1").ping().incr("t").echo("x").client_id().get("t")
    done = pipe.execute()
    assert done[:4] == [True, True, 2, "x"] and done[4] > 0 and done[5] == "2", done

    # As long decimals have it, not as doubles.
    r.delete("d")
    assert r.incrbyfloat("d", "0.1") == 0.1 and r.execute_command("INCRBYFLOAT", "d", "0.2") in ("0.3", 0.3)
    assert r.get("d") == "0.3"
    pairs = r.hrandfield("h", 2, withvalues=True)
    wanted = [["f", "2"], ["g", "2"]]
    assert sorted(pairs) == (wanted if protocol == 3 else sorted(sum(wanted, []))), pairs

    # Of two readers of a group, the one that waits longer has the record.
    r.xgroup_create("turns", "g", "$", mkstream=True)
    got = {}

    def wait(name, block):
        reader = redis.Redis(port=PORT, protocol=protocol, decode_responses=True)
        got[name] = bool(reader.xreadgroup("g", name, {"turns": ">"}, count=1, block=block))

    readers = []
    for name in ("first", "second"):
        waiting = r.info("clients")["blocked_clients"]
        readers.append(threading.Thread(target=wait, args=(name, 3000)))
        readers[-1].start()
        while r.info("clients")["blocked_clients"] == waiting:
            time.sleep(0.01)
    r.xadd("turns", {"f": "1"})
    for reader in readers:
        reader.join()
    assert got == {"first": True, "second": False}, got
    r.delete("turns", "t", "d")

    first = r.xadd("s", {"f": "1"})
    second = r.xadd("s", {"f": "2"})
    assert r.xlen("s") == 2 and r.xrange("s")[0] == (first, {"f": "1"})
    got = r.xread({"s": first})
    records = got["s"][0] if isinstance(got, dict) else got[0][1]
    assert records == [(second, {"f": "2"})], got
    assert r.xgroup_create("s", "g", "0")
    assert r.xreadgroup("g", "c", {"s": ">"}, count=1)
    assert r.xpending("s", "g")["pending"] == 1 and r.xack("s", "g", first) == 1
    assert r.xinfo_stream("s")["length"] == 2 and r.xinfo_groups("s")[0]["name"] == "g"
    assert r.xautoclaim("s", "g", "d", 0)

    started = time.monotonic()
    assert not r.xread({"s": "$"}, block=200) and 0.15 < time.monotonic() - started < 5
    other = redis.Redis(port=PORT, protocol=protocol, decode_responses=True)
    threading.Timer(0.2, lambda: other.xadd("s", {"f": "3"})).start()
    got = r.xread({"s": "$"}, block=10000)
    assert "3" in str(got), got

    try:
        r.incr("h")
        raise SystemExit("INCR on a hash went through")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error) or "wrong kind" in str(error)
    assert r.client_setname("me") and r.client_getname() == "me" and r.client_id() > 0
    assert any(client["name"] == "me" for client in r.client_list())
    assert r.config_get("maxclients")["maxclients"] == "10000"
    assert r.info("keyspace")["db0"]["keys"] > 1000
    assert r.memory_usage("k") > 0 and r.object("encoding", "a") == "int"
    assert r.dbsize() == len(set(r.scan_iter(count=100)))
    assert r.slowlog_get() is not None and r.time()
print("ok")
