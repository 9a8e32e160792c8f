"""The real orders of a shop by three ways: loaded in bulk and queried, record by record into views, and from sealed segments
read by DuckDB. Arguments: RESP port, Postgres port, HTTP address, Parquet file, expected answers, folder of segments."""

import json
import sys
import time
import urllib.request

import duckdb
import psycopg
import redis

resp, postgres, http, parquet, expected, segments = sys.argv[1:7]
expected = json.load(open(expected))["2010-12..2011-08"]
connection = psycopg.connect(f"host=127.0.0.1 port={postgres} user=anybody dbname=thalweg", autocommit=True)
COLUMNS = """invoice TEXT, stock TEXT, description TEXT, quantity BIGINT, ts TIMESTAMP, price DOUBLE PRECISION,
    customer DOUBLE PRECISION, country TEXT"""
NAMES = "invoice stock description quantity ts price customer country".split()

# Whoever computed the top customer left returns out; the busiest hour has them.
QUESTIONS = {
    "lines": "SELECT count(*) FROM {0}",
    "invoices": "SELECT count(DISTINCT invoice) FROM {0}",
    "customers": "SELECT count(DISTINCT customer) FROM {0}",
    "cancel_invoices": "SELECT count(DISTINCT invoice) FROM {0} WHERE invoice LIKE 'C%'",
    "null_customer_lines": "SELECT count(*) FROM {0} WHERE customer IS NULL",
    "net_revenue": "SELECT round(sum(quantity * price), 3) FROM {0}",
    "revenue_by_country_top5": "SELECT country, round(sum(quantity * price), 2) AS r FROM {0} GROUP BY country ORDER BY r DESC LIMIT 5",
    "qty_by_stock_top5": "SELECT stock, sum(quantity) AS q FROM {0} GROUP BY stock ORDER BY q DESC LIMIT 5",
    "nonempty_hour_windows": "SELECT count(DISTINCT date_trunc('hour', ts)) FROM {0}",
    "busiest_hour": "SELECT date_trunc('hour', ts) AS h, round(sum(quantity * price), 2) AS r FROM {0} GROUP BY h ORDER BY r DESC LIMIT 1",
    "top_customer": "SELECT customer, round(sum(quantity * price), 2) AS r FROM {0} WHERE customer IS NOT NULL AND quantity > 0 GROUP BY customer ORDER BY r DESC LIMIT 1",
}

# The same, as views that are kept up to date and what is asked of them.
VIEWS = {
    "totals": "SELECT count(*) AS lines, count(DISTINCT invoice) AS invoices, count(DISTINCT customer) AS customers, "
    "count(DISTINCT invoice) FILTER (WHERE invoice LIKE 'C%') AS cancelled, "
    "count(*) FILTER (WHERE customer IS NULL) AS nobody, sum(quantity * price) AS revenue FROM live",
    "countries": "SELECT country, sum(quantity * price) AS r FROM live GROUP BY country",
    "stocks": "SELECT stock, sum(quantity) AS q FROM live GROUP BY stock",
    "hours": "SELECT window_start AS h, sum(quantity * price) AS r FROM TUMBLE(live, ts, INTERVAL '1' HOUR) GROUP BY window_start",
    "customers": "SELECT customer, sum(quantity * price) AS r FROM live WHERE customer IS NOT NULL AND quantity > 0 GROUP BY customer",
}
ASKED = {
    "lines": "SELECT lines FROM totals",
    "invoices": "SELECT invoices FROM totals",
    "customers": "SELECT customers FROM totals",
    "cancel_invoices": "SELECT cancelled FROM totals",
    "null_customer_lines": "SELECT nobody FROM totals",
    "net_revenue": "SELECT round(revenue, 3) FROM totals",
    "revenue_by_country_top5": "SELECT country, round(r, 2) FROM countries ORDER BY r DESC LIMIT 5",
    "qty_by_stock_top5": "SELECT stock, q FROM stocks ORDER BY q DESC LIMIT 5",
    "nonempty_hour_windows": "SELECT count(*) FROM hours",
    "busiest_hour": "SELECT h, round(r, 2) FROM hours ORDER BY r DESC LIMIT 1",
    "top_customer": "SELECT customer, round(r, 2) FROM customers ORDER BY r DESC LIMIT 1",
}


def check(way, name, rows):
    """Compares rows with what pandas has computed."""
    wanted = expected[name]
    if isinstance(wanted, dict):
        wanted = list(wanted.items())
    elif isinstance(wanted, list):
        wanted = [tuple(wanted)]
    else:
        wanted = [(wanted,)]
    def same(found, want):
        try:
            return abs(float(found) - float(want)) < 0.006
        except (TypeError, ValueError):
            return str(found) == str(want)
    agree = len(rows) == len(wanted) and all(same(f, w) for r, e in zip(rows, wanted) for f, w in zip(r, e))
    assert agree, f"{way}: {name} is {rows}, not {wanted}"


def check_all(way, questions, run):
    for name, question in questions.items():
        check(way, name, run(question))


def run(question):
    return connection.execute(question).fetchall()


def bulk():
    """As one bulk load over HTTP, as CSV."""
    connection.execute(f"CREATE STREAM sales ({COLUMNS}) WITH (partitions = 2)")
    rows = duckdb.sql(
        f"""SELECT InvoiceNo AS invoice, StockCode AS stock, Description AS description, Quantity AS quantity,
        InvoiceDate AS ts, UnitPrice AS price, CustomerID AS customer, Country AS country FROM '{parquet}'"""
    )
    rows.write_csv("sales.csv", header=True)
    with open("sales.csv", "rb") as file:
        request = urllib.request.Request(f"{http}/streams/sales", file.read(), {"content-type": "text/csv"})
    assert json.load(urllib.request.urlopen(request))["appended"] == expected["lines"]
    check_all("bulk load and query", {name: text.format("sales") for name, text in QUESTIONS.items()}, run)
    return rows


def live(rows):
    """Record by record into views."""
    connection.execute(f"CREATE STREAM live ({COLUMNS})")
    for name, query in VIEWS.items():
        connection.execute(f"CREATE MATERIALIZED VIEW {name} WITH (batch_rows = 1) AS {query}")
    client = redis.Redis(port=int(resp))
    pipeline = client.pipeline(transaction=False)
    count = 0
    for row in rows.fetchall():
        fields = {name: str(value) for name, value in zip(NAMES, row) if value is not None}
        pipeline.xadd("live", fields)
        count += 1
        if count % 2_000 == 0:
            pipeline.execute()
    pipeline.execute()
    deadline = time.time() + 400
    while run("SELECT count(*) FROM sys.views WHERE lag > 0") != [(0,)]:
        assert time.time() < deadline, run("SELECT view, lag, error FROM sys.views")
        time.sleep(0.05)
    check_all("record by record into views", ASKED, run)


def sealed():
    """Sealed, and read by another engine."""
    connection.execute("SEAL STREAM sales")
    assert run("SELECT sum(records) FROM sys.streams WHERE stream = 'sales'") == [(0,)]
    table = f"read_parquet('{segments}/sales/*/*.parquet')"
    ask = lambda question: duckdb.sql(question).fetchall()
    check_all("DuckDB over segments", {name: text.format(table) for name, text in QUESTIONS.items()}, ask)
    check_all("query over segments", {name: text.format("sales") for name, text in QUESTIONS.items()}, run)


live(bulk())
sealed()
print("ok")
