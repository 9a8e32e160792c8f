"""Channels as users of redis-py know them, over both versions of the protocol, and streams and views as channels.
Run by pubsub.rs with the RESP and the Postgres port as arguments."""

import json
import socket
import sys
import threading
import time

import psycopg
import redis

PORT, POSTGRES = int(sys.argv[1]), int(sys.argv[2])


def wait(pubsub, count, seconds=20):
    """The next messages, without what confirms subscriptions."""
    messages, deadline = [], time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
        if message:
            messages.append(message)
    assert len(messages) == count, messages
    return messages


def confirmed(pubsub, count):
    """Waits until subscriptions are confirmed: what is published after it must arrive."""
    for _ in range(count):
        message = pubsub.get_message(timeout=20)
        assert message and message["type"].endswith("subscribe"), message


def refused(work, words):
    try:
        work()
    except redis.ResponseError as error:
        assert words in str(error), error
    else:
        raise SystemExit(f"went through: {words}")


for protocol in (2, 3):
    r = redis.Redis(port=PORT, protocol=protocol, decode_responses=True)
    assert r.publish("nobody", "hears") == 0
    one, two = r.pubsub(), r.pubsub()
    one.subscribe("news", "other")
    two.psubscribe("n*")
    confirmed(one, 2)
    confirmed(two, 1)
    assert r.publish("news", "hello") == 2
    assert wait(one, 1)[0] == {"type": "message", "pattern": None, "channel": "news", "data": "hello"}
    assert wait(two, 1)[0] == {"type": "pmessage", "pattern": "n*", "channel": "news", "data": "hello"}
    assert r.pubsub_channels() == ["news", "other"] and r.pubsub_channels("o*") == ["other"]
    assert r.pubsub_numsub("news", "nothing") == [("news", 1), ("nothing", 0)] and r.pubsub_numpat() == 1
    assert any(client["sub"] == "2" and client["flags"] == "P" for client in r.client_list(_type="pubsub"))
    one.unsubscribe("news")
    confirmed(one, 1)
    assert r.publish("news", "again") == 1 and wait(two, 1)[0]["data"] == "again"

    # Order within a publisher, with many messages at once.
    with r.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.publish("other", number)
        assert pipe.execute() == [1] * 5000
    assert [int(message["data"]) for message in wait(one, 5000)] == list(range(5000))

    # A transaction's messages leave when it is executed, and only then.
    with r.pipeline() as pipe:
        pipe.set("k", "v")
        pipe.publish("other", "done")
        assert pipe.execute() == [True, 1]
    assert wait(one, 1)[0]["data"] == "done"
    one.close()
    two.close()
    for _ in range(100):
        if not r.pubsub_channels() and r.pubsub_numpat() == 0:
            break
        time.sleep(0.05)
    else:
        raise SystemExit("those who left are still counted")

    raw = redis.Redis(port=PORT, protocol=protocol, decode_responses=True, single_connection_client=True)
    connection = raw.connection
    connection.send_command("SSUBSCRIBE", "shard")
    assert connection.read_response(push_request=True) if protocol == 3 else connection.read_response()
    assert r.execute_command("SPUBLISH", "shard", "x") == 1 and r.publish("shard", "x") == 0
    message = connection.read_response(push_request=True) if protocol == 3 else connection.read_response()
    assert message == ["smessage", "shard", "x"], message
    if protocol == 2:
        connection.send_command("GET", "k")
        try:
            connection.read_response()
            raise SystemExit("GET went through on a connection that listens")
        except redis.ResponseError as error:
            assert "only (P|S)SUBSCRIBE" in str(error), error
        connection.send_command("PING", "still there?")
        assert connection.read_response() == ["pong", "still there?"]
    else:
        connection.send_command("GET", "k")
        assert connection.read_response() == "v"
    connection.send_command("RESET")
    assert connection.read_response() in ("RESET", b"RESET")
    assert r.execute_command("SPUBLISH", "shard", "x") == 0
    raw.close()
    refused(lambda: r.execute_command("PUBSUB", "NONSENSE"), "unknown subcommand")
    refused(lambda: r.execute_command("SUBSCRIBE"), "wrong number")

# Streams and the changes of views as channels.
r = redis.Redis(port=PORT, decode_responses=True)
with psycopg.connect(host="127.0.0.1", port=POSTGRES, user="u", dbname="thalweg", autocommit=True) as sql:
    sql.execute("CREATE STREAM sales (product TEXT, quantity BIGINT) PARTITION BY product WITH (partitions = 2)")
    sql.execute("INSERT INTO sales VALUES ('before', 1)")
    sql.execute("CREATE MATERIALIZED VIEW sold WITH (changes = 100) AS SELECT product, sum(quantity) AS quantity FROM sales GROUP BY product")
    deadline = time.monotonic() + 30
    while r.xlen("sold.changes") == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    listener = r.pubsub()
    listener.subscribe("stream:sales", "stream:sold.changes", "stream:plain")
    confirmed(listener, 3)
    sql.execute("INSERT INTO sales VALUES ('a', 2), ('b', 3)")
    r.xadd("plain", {"f": "1"})
    messages = wait(listener, 5)
by_channel = {}
for message in messages:
    by_channel.setdefault(message["channel"], []).append(json.loads(message["data"]))
fields = [record["fields"] for record in by_channel["stream:sales"]]
assert sorted(fields, key=str) == [{"product": "a", "quantity": "2"}, {"product": "b", "quantity": "3"}], fields
changes = [record["fields"] for record in by_channel["stream:sold.changes"]]
assert sorted(change["product"] for change in changes) == ["a", "b"] and {change["_op"] for change in changes} == {"insert"}, changes
assert by_channel["stream:plain"][0]["fields"] == {"f": "1"} and "-" in by_channel["stream:plain"][0]["id"]
# All of a fast producer's records, in order, each once.
with r.pipeline(transaction=False) as pipe:
    for number in range(3000):
        pipe.xadd("plain", {"n": number})
    pipe.execute()
assert [int(json.loads(message["data"])["fields"]["n"]) for message in wait(listener, 3000)] == list(range(3000))
listener.close()

# One who listens and does not read is closed, and the others are served meanwhile.
deaf = socket.create_connection(("127.0.0.1", PORT))
deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
deaf.sendall(b"SUBSCRIBE flood\r\n")
deadline = time.monotonic() + 20
while r.pubsub_numsub("flood") != [("flood", 1)] and time.monotonic() < deadline:
    time.sleep(0.02)
piece, closed = "x" * (1 << 20), False
for _ in range(400):
    if r.publish("flood", piece) == 0:
        closed = True
        break
assert closed, "400 MiB are kept for one who does not read"
assert r.ping()
print("ok")
