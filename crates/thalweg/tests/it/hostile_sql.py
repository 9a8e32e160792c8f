"""Makes SQL statements that ask for too much, or make no sense, and says them to a node: each must end in an answer or an
error, the node must live, its memory stay bounded, and a PING on the Redis door be answered all the while.

    hostile_sql.py REDIS_PORT POSTGRES_PORT SEED COUNT [PID]

The same seed gives the same statements. What is found wrong is printed, and the exit status is 1."""

import itertools
import os
import random
import socket
import sys
import threading
import time

import psycopg

TIMEOUT_MS = 2_000
CONNECTIONS = 3
PING_MAX_S = 0.5
MEMORY_MAX_BYTES = 3 << 30

INTEGERS = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "100",
    "32767",
    "-32768",
    "65536",
    "2147483647",
    "-2147483648",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "1000000000",
    "99999999999999999999",
    "NULL",
]
NUMBERS = INTEGERS + [
    "0.1",
    "1.5::numeric(38,37)",
    "1e308",
    "-1e-307",
    "'NaN'::float8",
    "'Infinity'::float8",
    "'-Infinity'::numeric",
    "1e38::numeric",
    "1.0e-38",
    "12345678901234567890.123456789",
    "1e400",
    "3.4e38::real",
    "1::smallint",
    "123.456::numeric(10,2)",
    "0.0::float8 * -1",
]
TEXTS = [
    "''",
    "'a'",
    "'ab%_\\\\'",
    "'\u00e9\u4e2d\U0001f600'",
    "'NULL'",
    "'{1,2,{3}'",
    "'2024-02-30'",
    "'1'",
    "'[1,2'",
    "'(((('",
    "'infinity'",
    "E'\\\\x00ff'",
    "repeat('x', 1000)",
    "repeat('ab', 100000)",
    "chr(1114111)",
    "NULL::text",
    "'%s %I %L'",
    "'1 year -3 days'",
    "'YYYY-MM-DD HH24:MI:SS.US TZ'",
    "'9G999D99MI'",
]
TIMES = [
    "now()",
    "'2024-02-29'::date",
    "'0001-01-01'::timestamp",
    "'9999-12-31 23:59:59.999999'::timestamp",
    "'infinity'::timestamptz",
    "'-infinity'::date",
    "current_date",
    "'12:34:56'::time",
    "'1998-04-30 21:30+05:30'::timestamptz",
    "NULL::timestamp",
]
INTERVALS = [
    "'1 day'::interval",
    "'1000000 years'::interval",
    "'-1 mon'::interval",
    "'1 microsecond'::interval",
    "NULL::interval",
    "make_interval(years => 1)",
    "'2147483647 months'::interval",
]
ARRAYS = [
    "ARRAY[1,2,3]",
    "ARRAY['a',NULL]",
    "'{}'::int[]",
    "ARRAY[[1,2],[3,4]]",
    "NULL::int[]",
    "array_fill(1, ARRAY[1000])",
    "string_to_array('a,b,c', ',')",
    "array_agg_big",
    "ARRAY[1.5, 2]",
]
DOCUMENTS = [
    '\'{"a": {"b": [1, 2, null]}}\'::jsonb',
    "'[]'::json",
    "'null'::jsonb",
    "'{\"a\": 1e400}'::jsonb",
    "'\"x\"'::jsonb",
    "jsonb_build_object('a', 1, 'b', ARRAY[1,2])",
    "to_jsonb(1.5)",
    "NULL::jsonb",
    "'{\"k\": 18446744073709551616}'::json",
]
OF_NUMBERS = (
    "abs ceil floor round trunc sqrt cbrt exp ln log log10 power mod div sign degrees radians sin cos tan "
    "asin acos atan "
    "atan2 sinh cosh tanh gcd lcm factorial width_bucket random pi numeric_inc scale min_scale trim_scale to_hex chr "
    "greatest least coalesce nullif generate_series make_date make_time to_timestamp bit_count isnan setseed"
).split()
OF_TEXTS = (
    "length upper lower initcap reverse md5 sha256 ascii btrim ltrim rtrim lpad rpad left right repeat "
    "replace translate "
    "split_part strpos substr substring overlay position concat concat_ws format quote_ident "
    "quote_literal quote_nullable "
    "to_number to_date to_timestamp regexp_replace regexp_match regexp_matches regexp_split_to_array "
    "regexp_count starts_with "
    "string_to_array encode decode octet_length bit_length char_length to_ascii unistr levenshtein "
    "soundex parse_ident "
    "convert_from convert_to similar_to like_escape to_char"
).split()
OF_TIMES = (
    "age date_trunc date_part extract_year to_char date_bin make_timestamp justify_hours justify_days "
    "justify_interval isfinite "
    "timezone clock_timestamp statement_timestamp"
).split()
OF_ARRAYS = (
    "array_length array_upper array_lower array_ndims cardinality array_append array_prepend array_cat array_remove "
    "array_replace array_position array_positions array_to_string unnest array_dims"
).split()
OF_DOCUMENTS = (
    "jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys "
    "jsonb_typeof jsonb_pretty "
    "jsonb_strip_nulls jsonb_array_length jsonb_extract_path jsonb_extract_path_text jsonb_set jsonb_insert "
    "json_array_elements json_typeof row_to_json to_json array_to_json jsonb_build_array json_object"
).split()
AGGREGATES = (
    "count sum avg min max array_agg string_agg bool_and bool_or bit_and bit_or stddev variance corr "
    "covar_pop regr_slope "
    "json_agg jsonb_agg jsonb_object_agg every mode percentile_cont approx_distinct median"
).split()
WINDOWS = "row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value".split()
TYPES = (
    "int bigint smallint real float8 numeric numeric(10,2) numeric(38,10) numeric(1000,500) text "
    "varchar(3) char(2) boolean date "
    "time timestamp timestamptz interval bytea json jsonb uuid int[] text[] oid regclass name"
).split()
OPERATORS = "+ - * / % ^ || = <> < > <= >= ~ !~ LIKE ILIKE AND OR -> ->> #> @> ? && | & # << >> IS_DISTINCT".split()


class Maker:
    """Makes statements from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def one(self, values):
        return self.random.choice(values)

    def value(self, depth=0):
        kind = self.random.random()
        if depth <= 0 or kind < 0.25:
            return self.one(
                [
                    NUMBERS,
                    TEXTS,
                    TIMES,
                    INTERVALS,
                    ARRAYS,
                    DOCUMENTS,
                    ["true", "false", "NULL", "x", "y", "z", "t.x", "*", "$1"],
                ][min(6, int(self.random.random() * 8))]
            )
        if kind < 0.55:
            name = self.one(
                [OF_NUMBERS, OF_TEXTS, OF_TIMES, OF_ARRAYS, OF_DOCUMENTS, AGGREGATES][int(self.random.random() * 6)]
            )
            args = ", ".join(self.value(depth - 1) for _ in range(self.random.randint(0, 4)))
            more = self.one(
                ["", "", "", "", " FILTER (WHERE " + self.value(0) + ")", " OVER (ORDER BY " + self.value(0) + ")"]
            )
            return f"{name}({args}){more}"
        if kind < 0.75:
            operator = self.one(OPERATORS).replace("IS_DISTINCT", "IS DISTINCT FROM")
            return f"({self.value(depth - 1)} {operator} {self.value(depth - 1)})"
        if kind < 0.85:
            return f"({self.value(depth - 1)})::{self.one(TYPES)}"
        if kind < 0.9:
            return f"CASE WHEN {self.value(depth - 1)} THEN {self.value(depth - 1)} ELSE {self.value(depth - 1)} END"
        if kind < 0.93:
            return f"({self.query(depth - 1)})"
        if kind < 0.95:
            return f"{self.value(0)} {self.one(['IN', 'NOT IN'])} ({self.one([self.query(depth - 1), self.value(0) + ', ' + self.value(0)])})"
        if kind < 0.97:
            return f"{self.one(WINDOWS)}({self.value(0)}) OVER (PARTITION BY {self.value(0)} ORDER BY {self.value(0)} {self.one(['', 'ROWS BETWEEN 1 PRECEDING AND 9223372036854775807 FOLLOWING', 'RANGE UNBOUNDED PRECEDING', 'GROUPS 2 PRECEDING'])})"
        return f"EXISTS ({self.query(depth - 1)})"

    def relation(self, depth):
        return self.one(
            [
                lambda: "victims",
                lambda: "victims t",
                lambda: "pg_class t",
                lambda: "information_schema.columns",
                lambda: "kv",
                lambda: "sys.settings",
                lambda: f"generate_series({self.one(INTEGERS)}, {self.one(INTEGERS)}) t(x)",
                lambda: "generate_series(1, 100000000000) t(x)",
                lambda: f"(VALUES ({self.value(0)}, {self.value(0)}), ({self.value(0)}, {self.value(0)})) t(x, y)",
                lambda: f"({self.query(depth - 1)}) t",
                lambda: f"unnest({self.one(ARRAYS)}) t(x)",
                lambda: f"{self.relation(depth - 1) if depth > 0 else 'victims a'} {self.one(['CROSS JOIN', 'NATURAL JOIN', ',', 'FULL JOIN'])} victims b {self.one(['', 'ON true', 'USING (x)'])}",
            ]
        )()

    def query(self, depth):
        if depth <= 0:
            return f"SELECT {self.value(0)}"
        parts = [
            f"SELECT {self.one(['', '', '', 'DISTINCT '])}{', '.join(self.value(depth - 1) for _ in range(self.random.randint(1, 3)))}"
        ]
        if self.random.random() < 0.7:
            parts.append(f"FROM {self.relation(depth)}")
        for chance, text in [
            (0.3, lambda: f"WHERE {self.value(depth - 1)}"),
            (
                0.2,
                lambda: f"GROUP BY {self.one(['1', 'x', 'ROLLUP (x, y)', 'CUBE (x, y, z)', 'GROUPING SETS ((x), ())', self.value(0)])}",
            ),
            (0.1, lambda: f"HAVING {self.value(0)}"),
            (0.2, lambda: f"ORDER BY {self.one(['1', 'random()', 'x DESC NULLS FIRST', '99', self.value(0)])}"),
            (0.2, lambda: f"LIMIT {self.one(INTEGERS)}"),
            (0.1, lambda: f"OFFSET {self.one(INTEGERS)}"),
        ]:
            if self.random.random() < chance:
                parts.append(text())
        query = " ".join(parts)
        if self.random.random() < 0.1:
            query += f" {self.one(['UNION', 'UNION ALL', 'EXCEPT ALL', 'INTERSECT'])} {self.query(depth - 1)}"
        if self.random.random() < 0.05:
            query = f"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT {self.one(['n + 1', 'n * 2', 'n', self.value(1)])} FROM r) {query}"
        return query

    def long(self):
        """A statement that is long, or deep."""
        count = self.one([100, 1_000, 5_000, 20_000])
        return self.one(
            [
                lambda: "SELECT 1 WHERE "
                + f" {self.one(['OR', 'AND'])} ".join(f"1 {self.one(['=', '<>'])} {i}" for i in range(count)),
                lambda: "SELECT " + f" {self.one(['+', '-', '*', '||'])} ".join(["1"] * count),
                lambda: "SELECT " + "(" * count + "1" + ")" * count,
                lambda: "SELECT " + "abs(" * count + "1" + ")" * count,
                lambda: "SELECT " + "NOT " * count + "true",
                lambda: "SELECT " + "- " * count + "1",
                lambda: "SELECT " + "CASE WHEN true THEN " * min(count, 5_000) + "1" + " END" * min(count, 5_000),
                lambda: "SELECT 1 IN (" + ", ".join(map(str, range(count))) + ")",
                lambda: "SELECT ARRAY[" + ", ".join(["1"] * count) + "]",
                lambda: "SELECT '" + "[" * count + "]" * count + "'::jsonb",
                lambda: "SELECT '" + "{" * count + "}" * count + "'::int[]",
                lambda: "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(min(count, 5_000))),
                lambda: " UNION ALL ".join(["SELECT 1"] * min(count, 2_000)),
                lambda: "SELECT " + "(SELECT " * min(count, 1_000) + "1" + ")" * min(count, 1_000),
                lambda: "SELECT * FROM " + "(SELECT * FROM " * min(count, 500) + "victims" + ") t" * min(count, 500),
                lambda: "SELECT count(*) FROM " + ", ".join(f"victims v{i}" for i in range(count)),
                lambda: self.chain(count),
                lambda: self.nested(count),
                lambda: "WITH "
                + ", ".join(
                    f"c{i} AS (SELECT * FROM {'victims' if i == 0 else f'c{i - 1}, c{i - 1} d'})"
                    for i in range(min(count, 30))
                )
                + f" SELECT count(*) FROM c{min(count, 30) - 1}",
                lambda: "VALUES " + ", ".join(["(1, 'a')"] * count),
                lambda: "SELECT 'a' " + "LIKE 'a' " * min(count, 2_000),
                lambda: "SELECT x" + "::text::varchar" * min(count, 3_000) + " FROM victims",
                lambda: "SELECT " + "x -> " * count + "'a'",
                lambda: "EXPLAIN "
                + "SELECT * FROM victims WHERE x IN ("
                + "SELECT x FROM victims WHERE x IN (" * min(count, 200)
                + "1"
                + ")" * min(count, 200)
                + ")",
            ]
        )()

    def chain(self, count):
        """One thing after the other."""

        def listed(item, separator=", "):
            return separator.join(item(i) for i in range(count))

        return self.one(
            [
                lambda: "SELECT count(*) FROM victims WHERE " + listed(lambda i: f"x <> {i}", " AND "),
                lambda: "SELECT count(*) FROM victims WHERE " + listed(lambda i: f"abs(x) <> {i}", " AND "),
                lambda: "SELECT count(*) FROM victims WHERE NOT (" + listed(lambda i: f"x = {i}", " OR ") + ")",
                lambda: "SELECT " + listed(lambda i: f"x <> {i}", " AND ") + " FROM victims",
                lambda: "SELECT CASE " + listed(lambda i: f"WHEN x = {i} THEN {i}", " ") + " END FROM victims",
                lambda: "SELECT " + listed(lambda i: f"sum(x + {i})") + " FROM victims",
                lambda: "SELECT " + listed(lambda i: f"sum(x) OVER (ORDER BY x + {i})") + " FROM victims",
                lambda: "SELECT " + listed(lambda i: "1.0", self.one([" / ", " % ", " ^ "])),
                lambda: "SELECT '{}'::jsonb " + listed(lambda i: "-> 'a'", " "),
                lambda: "SELECT now() " + listed(lambda i: "AT TIME ZONE 'UTC'", " "),
                lambda: "SELECT x FROM victims ORDER BY " + listed(lambda i: f"x + {i}"),
                lambda: "SELECT count(*) FROM victims GROUP BY " + listed(lambda i: f"x + {i}"),
                lambda: "SELECT coalesce(" + listed(lambda i: f"nullif(x, {i})") + ") FROM victims",
                lambda: "WITH c0 AS (SELECT 1 a), "
                + listed(lambda i: f"c{i + 1} AS (SELECT a + 1 AS a FROM c{i})")
                + f" SELECT * FROM c{count}",
                lambda: "SELECT 1 FROM victims v WHERE "
                + listed(lambda i: f"EXISTS (SELECT 1 FROM victims w WHERE w.x = v.x + {i})", " AND "),
                lambda: "SELECT 1 FROM victims v WHERE "
                + listed(lambda i: f"x IN (SELECT x FROM victims w WHERE w.x > {i})", " AND "),
                lambda: "SELECT count(*) FROM victims v0 "
                + listed(lambda i: f"JOIN victims v{i + 1} ON v{i}.x = v{i + 1}.x", " "),
                lambda: "SELECT count(*) FROM victims v0 "
                + listed(lambda i: f"LEFT JOIN victims v{i + 1} ON v0.x = v{i + 1}.x", " "),
                lambda: listed(lambda i: f"SELECT {i}", self.one([" UNION ", " INTERSECT ", " EXCEPT "])),
                lambda: "SELECT " + listed(lambda i: "generate_series(1, 2)"),
                lambda: "SELECT " + listed(lambda i: "(SELECT max(x) FROM victims)"),
            ]
        )()

    def nested(self, count):
        """One thing in the other."""
        levels = min(count, self.one([20, 45, 90, 5_000]))
        begin, end = self.one(
            [
                ("abs(", ")"),
                ("coalesce(", ", 1)"),
                ("concat(", ", 'a')"),
                ("CAST(CASE (", ")))"),
                ("replace(", ", 'a', 'b')"),
                ("CASE WHEN ", " > 1 THEN 1 END"),
                ("ARRAY[", "]"),
                ("ROW(", ")"),
                ("(SELECT ", ")"),
                ("(", ")"),
                ("-(", ")"),
                ("count(*) FILTER (WHERE ", " > 0)"),
                ("(1, ", ")"),
                ("EXTRACT(year FROM ", ")"),
            ]
        )
        nested = begin * levels + "x" + end * levels
        tables = "(" * levels + "victims" + ")" * levels
        return self.one(
            [
                f"SELECT {nested} FROM victims",
                f"SELECT x FROM victims WHERE {nested} = 1",
                f"SELECT * FROM {tables}",
            ]
        )

    def large(self):
        """A statement that asks for much."""
        huge = self.one(["2000000000", "1073741824", "100000000", "9223372036854775807", "536870912"])
        return self.one(
            [
                lambda: f"SELECT repeat({self.one(TEXTS)}, {huge})",
                lambda: f"SELECT lpad('a', {huge}, 'xy')",
                lambda: f"SELECT rpad({self.one(TEXTS)}, {huge})",
                lambda: f"SELECT length(repeat('abcdefgh', 100000000))",
                lambda: f"SELECT translate(repeat('a', 100000000), 'a', '\u4e2d')",
                lambda: f"SELECT replace(repeat('a', 10000000), 'a', repeat('b', 100000))",
                lambda: f"SELECT overlay(repeat('a', 50000000) PLACING repeat('b', 500000000) FROM 2)",
                lambda: f"SELECT format('%{huge}s', 1)",
                lambda: f"SELECT array_fill(0, ARRAY[{huge}])",
                lambda: f"SELECT generate_series(1, {huge})",
                lambda: f"SELECT array_agg(x) FROM generate_series(1, {huge}) t(x)",
                lambda: f"SELECT string_agg(repeat('x', 10000), '') FROM generate_series(1, 10000000) t(x)",
                lambda: f"SELECT jsonb_agg(x) FROM generate_series(1, {huge}) t(x)",
                lambda: f"SELECT x, count(*) FROM generate_series(1, {huge}) t(x) GROUP BY x",
                lambda: f"SELECT DISTINCT x * random() FROM generate_series(1, {huge}) t(x)",
                lambda: f"SELECT * FROM generate_series(1, {huge}) t(x) ORDER BY random()",
                lambda: "SELECT count(*) FROM "
                + " CROSS JOIN ".join(f"generate_series(1, 10000) t{i}(x{i})" for i in range(4)),
                lambda: f"SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN {huge} PRECEDING AND CURRENT ROW) FROM generate_series(1, {huge}) t(x)",
                lambda: "WITH RECURSIVE r(t) AS (SELECT 'a' UNION ALL SELECT t || t FROM r) SELECT max(length(t)) FROM r",
                lambda: "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT sum(n) FROM r",
                lambda: f"SELECT {self.one(['power', 'exp', 'factorial'])}({huge}::numeric)",
                lambda: "SELECT 1e131071::numeric * 1e131071::numeric",
                lambda: "SELECT regexp_replace(repeat('a', 30000), '(a*)*(a*)*b', 'x')",
                lambda: "SELECT repeat('a', 1000) ~ '(((a?){100}){100}){100}'",
                lambda: f"SELECT to_char(1, repeat('9', 100000))",
                lambda: f"SELECT pg_sleep({huge})",
                lambda: f"SELECT concat({', '.join(['repeat(chr(120), 100000000)'] * 30)})",
                lambda: f"INSERT INTO victims SELECT x, 'y', 1.5 FROM generate_series(1, {huge}) t(x)",
                lambda: f"CREATE TEMP TABLE big AS SELECT * FROM generate_series(1, {huge}) t(x)",
                lambda: f"SELECT lag(x, {huge}) OVER () FROM victims",
                lambda: f"SELECT ntile({huge}) OVER () FROM victims",
                lambda: f"SELECT substr('abc', -{huge}, {huge})",
                lambda: f"SELECT array_to_string(array_agg(repeat('z', 1000000)), ',') FROM generate_series(1, 5000)",
                lambda: f"SELECT json_build_array({', '.join(['repeat(chr(97), 10000000)'] * 60)})",
                lambda: f"SELECT * FROM victims LIMIT {huge} OFFSET {huge}",
                lambda: f"DECLARE c CURSOR FOR SELECT * FROM generate_series(1, {huge})",
                lambda: f"COPY (SELECT repeat('x', 1000000) FROM generate_series(1, {huge})) TO STDOUT",
                lambda: f"SELECT md5(repeat('a', {huge}))",
                lambda: f"SELECT string_to_array(repeat('a,', 200000000), ',')",
                lambda: f"SELECT regexp_split_to_array(repeat('a,', 50000000), ',')",
            ]
        )()

    def shared(self):
        """A large value in many rows, or of many parts: small as long as its bytes are shared."""
        value = self.one(
            [
                "repeat('z', 1000000)",
                "repeat('z', 100000)",
                "repeat('z', 1000000) || g",
                "repeat('z', 60000000)",
                "repeat(chr(1), 1000000)",
            ]
        )
        rows = f"generate_series(1, {self.one(['100', '5000', '20000'])}) g"
        array = f"(SELECT array_agg({value}) a FROM {rows}) t"
        parts = self.one(["'1,'", "'{1},'", "'1e4999,'", "'z,'", "',[[1]]'", "'z'"])
        text = f"repeat({parts}, {self.one(['1000000', '8000000', '30000000'])})"
        return self.one(
            [
                lambda: f"SELECT {self.one(['array_agg', 'json_agg', 'jsonb_agg'])}({value}) FROM {rows}",
                lambda: f"SELECT array_agg({value}){self.one(['::text', '[1]', ''])} FROM {rows}",
                lambda: f"SELECT string_agg({value}, ',' {self.one(['', 'ORDER BY g DESC'])}) FROM {rows}",
                lambda: f"SELECT jsonb_object_agg(g, {value}) FROM {rows}",
                lambda: f"SELECT g % 3, {self.one(['array_agg', 'json_agg'])}({value}) FROM {rows} GROUP BY 1",
                lambda: f"SELECT g % 3, string_agg({value}, '') FROM {rows} GROUP BY 1",
                lambda: f"SELECT {self.one(['a = a', 'a || a', 'to_json(a)', 'array_sort(a)', 'unnest(a)'])} FROM {array}",
                lambda: f"SELECT {self.one(['array_to_string(a, a[1])', 'array_positions(a, a[1])'])} FROM {array}",
                lambda: f"SELECT {self.one(['DISTINCT a', 'min(a), max(a)', 'count(DISTINCT a)'])} FROM {array}",
                lambda: f"SELECT a FROM {array} ORDER BY a",
                lambda: f"SELECT {self.one(['first_value', 'last_value', 'lag', 'max'])}({value}) OVER (ORDER BY g) FROM {rows}",
                lambda: f"SELECT {self.one(['first_value', 'lead', 'min'])}({value}) OVER () FROM {rows}",
                lambda: f"SELECT array_agg({value}) OVER (ORDER BY g) FROM {rows}",
                lambda: f"SELECT string_agg({value}, '') OVER (ORDER BY g) FROM {rows}",
                lambda: f"SELECT DISTINCT {value} FROM {rows}",
                lambda: f"SELECT count(DISTINCT {value}) FROM {rows}",
                lambda: f"SELECT {value} FROM {rows} ORDER BY 1, g",
                lambda: f"SELECT {value} FROM {rows} ORDER BY 1, g LIMIT 50",
                lambda: f"SELECT substr({value}, g::int) s, count(*) FROM {rows} GROUP BY 1",
                lambda: f"SELECT count(DISTINCT substr({value}, g::int)), max(g) FROM {rows} GROUP BY g % 2",
                lambda: f"SELECT min(substr({value}, g::int)) FROM {rows} GROUP BY g",
                lambda: f"SELECT row_number() OVER (PARTITION BY {value}, g % 2 ORDER BY {value} DESC, g) FROM {rows}",
                lambda: f"SELECT {value} FROM {rows} UNION SELECT substr({value}, g::int) FROM {rows}",
                lambda: f"SELECT upper({value}) FROM {rows} WHERE {value} LIKE '%a%' OR reverse({value}) > 'a'",
                lambda: f"SELECT DISTINCT ON ({value}, g) {value} FROM {rows} ORDER BY {value}, g",
                lambda: f"SELECT count(*) FROM (SELECT {value} v FROM {rows}) a "
                f"JOIN (SELECT {value} v FROM {rows}) b ON a.v = b.v",
                lambda: f"SELECT concat(a, a, a, a, a, a), ROW(a, a, a)::text FROM (SELECT {value} a FROM {rows}) t",
                lambda: f"SELECT string_to_array({text}, {self.one(['NULL', chr(39) + ',' + chr(39)])})",
                lambda: f"SELECT regexp_split_to_array({text}, {self.one([chr(39) * 2, chr(39) + ',' + chr(39)])})",
                lambda: f"SELECT count(*) FROM regexp_matches({text}, '(.)(.)?', 'g')",
                lambda: f"SELECT ('[' || {text} || '1]')::{self.one(['jsonb', 'json'])}::text",
                lambda: f"SELECT jsonb_pretty(('[' || {text} || '1]')::jsonb)",
                lambda: f"SELECT count(*) FROM jsonb_array_elements(('[' || {text} || '1]')::jsonb)",
                lambda: f"SELECT ('{{' || {text} || '1}}')::{self.one(['int[]', 'text[]'])}",
                lambda: f"SELECT array_fill({value}, ARRAY[5000]) FROM {rows}",
                lambda: f"SELECT json_build_array({', '.join([value] * 8)}) FROM {rows}",
                lambda: f"SELECT quote_literal(repeat(chr(39), 60000000)), to_json({value}) FROM {rows}",
            ]
        )()

    def other(self):
        """Statements that are no queries."""
        return self.one(
            [
                lambda: f"INSERT INTO victims VALUES ({self.value(1)}, {self.value(1)}, {self.value(1)}) RETURNING {self.value(1)}",
                lambda: f"UPDATE victims SET y = {self.value(2)} WHERE {self.value(2)}",
                lambda: f"DELETE FROM victims WHERE {self.value(2)}",
                lambda: f"CREATE TEMP TABLE t{self.random.randint(0, 9)} AS {self.query(2)}",
                lambda: f"CREATE VIEW w{self.random.randint(0, 9)} AS {self.query(2)}",
                lambda: f"DROP VIEW IF EXISTS w{self.random.randint(0, 9)}",
                lambda: f"CREATE TABLE d{self.random.randint(0, 9)} (a {self.one(TYPES)} DEFAULT {self.value(1)}, b {self.one(TYPES)} CHECK ({self.value(1)}))",
                lambda: f"DROP TABLE IF EXISTS d{self.random.randint(0, 9)}",
                lambda: f"INSERT INTO d{self.random.randint(0, 9)} {self.query(1)}",
                lambda: "BEGIN",
                lambda: "ROLLBACK",
                lambda: "COMMIT",
                lambda: "SAVEPOINT s",
                lambda: "ROLLBACK TO s",
                lambda: f"SET {self.one(['timezone', 'datestyle', 'extra_float_digits', 'search_path', 'client_encoding', 'nosuch'])} = {self.value(0)}",
                lambda: f"EXPLAIN {self.query(2)}",
                lambda: f"PREPARE p{self.random.randint(0, 99)} AS {self.query(1)}",
                lambda: f"EXECUTE p{self.random.randint(0, 99)}({self.value(0)})",
                lambda: f"FETCH {self.one(INTEGERS)} FROM c",
                lambda: "CLOSE c",
                lambda: f"ALTER TABLE d{self.random.randint(0, 9)} ADD COLUMN c{self.random.randint(0, 9)} {self.one(TYPES)} DEFAULT {self.value(0)}",
                lambda: f"SHOW {self.one(['all', 'nosuch', 'timezone'])}",
                lambda: f"CREATE MATERIALIZED VIEW m{self.random.randint(0, 3)} AS SELECT {self.value(1)}, count(*) FROM nosuch GROUP BY 1",
                lambda: f"CREATE STREAM s{self.random.randint(0, 3)} (a {self.one(TYPES)})",
                lambda: f"INSERT INTO s{self.random.randint(0, 3)} VALUES ({self.value(1)})",
                lambda: f"SELECT * FROM s{self.random.randint(0, 3)}",
                lambda: f"DROP STREAM IF EXISTS s{self.random.randint(0, 3)}",
                lambda: f"MERGE INTO victims USING victims t ON {self.value(0)} WHEN MATCHED THEN DELETE",
                lambda: f"LOCK TABLE victims",
                lambda: f"VACUUM FULL",
                lambda: f"GRANT ALL ON victims TO PUBLIC",
            ]
        )()

    def statement(self):
        kind = self.random.random()
        if kind < 0.55:
            text = self.query(self.random.randint(1, 5))
        elif kind < 0.75:
            text = self.other()
        elif kind < 0.82:
            text = self.long()
        elif kind < 0.87:
            text = self.large()
        elif kind < 0.91:
            text = self.shared()
        else:
            text = self.query(3)
            # Broken in places.
            for _ in range(self.random.randint(1, 5)):
                at = self.random.randint(0, len(text))
                text = (
                    text[:at]
                    + self.one(
                        [
                            "(",
                            ")",
                            "'",
                            '"',
                            ";",
                            ",",
                            "$$",
                            "--",
                            "/*",
                            "::",
                            "[",
                            "\\",
                            "\u2028",
                            "::int[",
                            " FROM ",
                            "$1",
                        ]
                    )
                    + text[at + self.random.randint(0, 4) :]
                )
        return text.replace("\0", "")


# Statements that once ended a node, or took its memory.
FOUND = [
    "SELECT repeat('z', 1000000) FROM generate_series(1, 20000) g ORDER BY 1, g",
    "SELECT repeat('z', 1000000) FROM generate_series(1, 20000) g ORDER BY 1, g LIMIT 100",
    "SELECT substr(repeat('z', 1000000), g::int), count(*) FROM generate_series(1, 20000) g GROUP BY 1",
    "SELECT array_to_string(array_agg(repeat('z', 1000000)), ',') FROM generate_series(1, 5000)",
    "SELECT repeat('z', 60000000) || g FROM generate_series(1, 5000) g",
    "SELECT repeat('z', 1000000) FROM generate_series(1, 100) "
    "UNION SELECT substr(repeat('z', 1000000), g::int) FROM generate_series(1, 20000) g",
    "SELECT 1 WHERE " + " AND ".join(f"1 <> {i + 2}" for i in range(10_000)),
    "SELECT count(*) FROM victims WHERE " + " AND ".join(f"abs(x) <> {i}" for i in range(10_000)),
    "SELECT count(*) FROM " + ", ".join(f"victims v{i}" for i in range(50)),
    "SELECT " + ", ".join(f"sum(x) OVER (ORDER BY x + {i})" for i in range(1_500)) + " FROM victims",
    "SELECT " + "abs(" * 60 + "x" + ")" * 60 + " FROM victims",
    "SELECT " + "coalesce(" * 45 + "x" + ", 1)" * 45 + " FROM victims",
    "SELECT " + "ROW(" * 45 + "x" + ")" * 45 + " FROM victims",
    "SELECT jsonb_pretty((repeat('[', 400) || repeat('1,', 6000000) || '1' || repeat(']', 400))::jsonb)",
    "SELECT a @> b FROM (SELECT jsonb_agg(jsonb_build_array(g)) a, jsonb_agg(jsonb_build_array(100000 - g)) b "
    "FROM generate_series(1, 100000) g) t",
]


class Watch(threading.Thread):
    """Asks for a PING all the while, and looks at the node's memory."""

    def __init__(self, port, pid):
        super().__init__(daemon=True)
        self.port, self.pid = port, pid
        self.pings, self.worst_s, self.memory_bytes, self.stopping = [], 0.0, 0, False

    def run(self):
        connection = None
        while not self.stopping:
            begun = time.monotonic()
            try:
                connection = connection or socket.create_connection(("127.0.0.1", self.port), 30)
                connection.settimeout(30)
                connection.sendall(b"PING\r\n")
                assert connection.recv(64) == b"+PONG\r\n"
            except (OSError, AssertionError):
                connection = None
            took = time.monotonic() - begun
            self.pings.append(took)
            self.worst_s = max(self.worst_s, took)
            if self.pid:
                try:
                    pages = int(open(f"/proc/{self.pid}/statm").read().split()[1])
                    self.memory_bytes = max(self.memory_bytes, pages * 4096)
                except OSError:
                    pass
            time.sleep(0.005)


def connect(port):
    connection = psycopg.connect(
        f"host=127.0.0.1 port={port} user=anybody dbname=thalweg", autocommit=True, prepare_threshold=None
    )
    connection.execute(f"SET statement_timeout = {TIMEOUT_MS}")
    return connection


def run(connection, statement):
    """Reads the answer, or as much of it as anybody would."""
    if not statement.lstrip().upper().startswith("COPY"):
        cursor = connection.execute(statement)
        while cursor.description and cursor.fetchmany(1_000):
            pass
        return
    with connection.cursor().copy(statement) as copy:
        for count, _line in enumerate(copy):
            if count > 20:
                connection.cancel()


def say(port, statements, wrong, outcomes):
    """One client: its statements, one after the other."""
    connection = connect(port)
    for statement in statements:
        begun = time.monotonic()
        try:
            run(connection, statement)
            outcome = "answered"
        except psycopg.Error as error:
            outcome = error.sqlstate or "no code"
            text = str(error).lower()
            if outcome == "XX000" or "panick" in text or "internal error" in text:
                wrong.append((outcome, str(error)[:300], statement))
            if connection.closed or connection.broken:
                wrong.append(("the connection was lost", str(error)[:300], statement))
                try:
                    connection = connect(port)
                except psycopg.Error:
                    return
        except UnicodeError:
            outcome = "no text"
        took = time.monotonic() - begun
        if took > TIMEOUT_MS / 1_000 + 1.5 and not os.environ.get("THALWEG_TEST_SLOW"):
            wrong.append((f"took {took:.1f} s", "", statement))
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if connection.info.transaction_status.name == "INERROR":
            connection.execute("ROLLBACK")
        elif connection.info.transaction_status.name == "ACTIVE":
            # A statement whose answer the driver does not take.
            connection.close()
            connection = connect(port)


def main():
    redis_port, postgres_port, seed, count = map(int, sys.argv[1:5])
    pid = int(sys.argv[5]) if len(sys.argv) > 5 else None
    setup = connect(postgres_port)
    setup.execute("CREATE TABLE IF NOT EXISTS victims (x int, y text, z numeric)")
    setup.execute("INSERT INTO victims SELECT n, 'row ' || n, n / 3.0 FROM generate_series(1, 100) t(n)")
    watch = Watch(redis_port, pid)
    watch.start()
    wrong, outcomes, clients = [], {}, []
    begun = time.monotonic()
    for number in range(CONNECTIONS):
        maker = Maker(seed * 1_000 + number)
        made = (maker.statement() for _ in range(count // CONNECTIONS + 1))
        statements = itertools.chain(FOUND[number::CONNECTIONS], made)
        clients.append(threading.Thread(target=say, args=(postgres_port, statements, wrong, outcomes)))
        clients[-1].start()
    for client in clients:
        client.join()
    watch.stopping = True
    try:
        assert connect(postgres_port).execute("SELECT 1").fetchone() == (1,)
    except (psycopg.Error, AssertionError) as error:
        wrong.append(("the node is gone", str(error), ""))
    pings = sorted(watch.pings) or [0]
    print(
        f"{sum(outcomes.values())} statements of seed {seed} in {time.monotonic() - begun:.0f} s: "
        f"{', '.join(f'{outcome} {many}' for outcome, many in sorted(outcomes.items(), key=lambda pair: -pair[1]))}"
    )
    print(
        f"PING: median {pings[len(pings) // 2] * 1000:.2f} ms, p99 {pings[len(pings) * 99 // 100] * 1000:.1f} ms, worst {watch.worst_s * 1000:.0f} ms; "
        f"memory at most {watch.memory_bytes >> 20} MiB"
    )
    if watch.worst_s > PING_MAX_S and not os.environ.get("THALWEG_TEST_SLOW"):
        wrong.append((f"a PING took {watch.worst_s:.2f} s", "", ""))
    if watch.memory_bytes > MEMORY_MAX_BYTES:
        wrong.append((f"{watch.memory_bytes >> 20} MiB of memory", "", ""))
    for what, error, statement in wrong[:40]:
        print(f"WRONG {what}: {error}\n    {statement[:600]}")
    sys.exit(bool(wrong))


main()
