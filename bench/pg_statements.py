"""How many statements of PostgreSQL's own regression suite have the same answer here.

usage: pg_statements.py SQL_DIRECTORY POSTGRES_DSN THALWEG_DSN [file ...]

SQL_DIRECTORY is `src/test/regress/sql` of PostgreSQL's sources. Both servers get every statement of a file in order,
each file over a connection of its own. Counted are those that PostgreSQL answers without an error: the same rows, in
the same order where the statement has an ORDER BY, are the same answer. Needs psycopg.
"""

import re
import sys

import psycopg

FILES = """boolean char varchar text int2 int4 int8 float4 float8 numeric strings date time timestamp timestamptz
interval horology numerology case expressions select select_distinct select_having select_implicit limit union join
subselect with aggregates window groupingsets arrays json jsonb insert insert_conflict update delete returning prepare
transactions portals""".split()

TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<command>^\\[^\n]*|\\g\w*[^\n]*)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<end>;)
    |(?P<other>[^;'"$\\/-]+|.)""",
    re.X | re.S | re.M,
)
COPIED = re.compile(r"copy\b.*\bfrom\s+stdin\b", re.I | re.S)


def statements(script):
    """The statements of a psql script, without comments, commands of psql and data of COPY."""
    statement, place = "", 0
    while place < len(script):
        token = TOKEN.match(script, place)
        place = token.end()
        kind = token.lastgroup if token.lastgroup != "tag" else "dollar"
        if kind == "comment" or (kind == "command" and not statement.strip()):
            continue
        if kind not in ("end", "command"):
            statement += token[0]
            continue
        statement = statement.strip()
        if COPIED.match(statement):
            end = script.find("\n\\.", place)
            place = len(script) if end < 0 else end + 3
        elif statement:
            yield statement
        statement = ""


def connect(dsn):
    connection = psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor)
    connection.execute("SET statement_timeout = '10s'")
    return connection


def ask(connection, statement):
    """Rows as texts, None for a statement without rows, or the error's code."""
    try:
        result = connection.execute(statement).pgresult
    except psycopg.Error as error:
        return error.sqlstate or "08006"
    if result is None or result.nfields == 0:
        return None
    columns = range(result.nfields)
    return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]


def is_same(statement, wanted, got):
    if isinstance(got, str):
        return False
    if wanted is None or wanted == got:
        return True
    ordered = re.search(r"\border\s+by\b", statement, re.I)
    return got is not None and not ordered and sorted(map(repr, wanted)) == sorted(map(repr, got))


def main():
    directory, postgres, thalweg, *files = sys.argv[1:]
    total, plain = [0, 0], [0, 0]
    print("| file | same | of | |\n|---|---:|---:|---:|")
    for name in files or FILES:
        script = open(f"{directory}/{name}.sql", encoding="utf8").read()
        ours, theirs, counts = connect(thalweg), connect(postgres), [0, 0]
        for statement in statements(script):
            wanted = ask(theirs, statement)
            if ours.closed:
                ours = connect(thalweg)
            got = ask(ours, statement)
            if isinstance(wanted, str):
                continue
            same = is_same(statement, wanted, got)
            counted = [counts, total]
            if re.match(r"(select|values)\b", statement, re.I) and not re.search(r"\bfrom\b", statement, re.I):
                counted.append(plain)
            for each in counted:
                each[0] += same
                each[1] += 1
        print(f"| {name} | {counts[0]} | {counts[1]} | {100 * counts[0] / max(counts[1], 1):.0f} % |", flush=True)
        ours.close()
        theirs.close()
    print(f"\nAll: {total[0]} of {total[1]}, {100 * total[0] / max(total[1], 1):.1f} %.")
    print(f"SELECT and VALUES without FROM: {plain[0]} of {plain[1]}, {100 * plain[0] / max(plain[1], 1):.1f} %.")


main()
