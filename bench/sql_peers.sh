#!/bin/sh
# Makes target/peers, the Python environment in which the sql_*.py scripts of this directory run and where the peers are:
# Flink, Spark, DuckDB, Polars, the TPC-H generator, psycopg. Flink and Spark need Java 17 or newer; PostgreSQL (sql_point.py)
# is Debian's. May be run again: what is there stays. Flink's own pins decide the versions of pandas and pyarrow.
#
#     bench/sql_peers.sh && target/peers/bin/python bench/sql_batch.py --help
set -eu
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

debian() {  # debian COMMAND PACKAGE...: the first package that can be installed, unless the command is there
    command=$1; shift
    if command -v "$command" >/dev/null; then return; fi
    as_root apt-get update -q
    for package in "$@"; do
        if as_root apt-get install -yq "$package"; then return; fi
    done
    echo "no $command, and none of $* can be installed: its peers will be skipped" >&2
}

pip() { target/peers/bin/pip --disable-pip-version-check "$@"; }

# Installs one package at the wanted version, or the newest there is.
package() { pip install -q "$1==$2" || { echo "no $1 $2, taking the newest" >&2; pip install -q "$1"; }; }

debian java openjdk-17-jre-headless openjdk-21-jre-headless
PATH=$PATH:/usr/lib/postgresql/15/bin debian pgbench postgresql-15 postgresql

[ -x target/peers/bin/pip ] || python3 -m venv target/peers
pip install -q --upgrade pip setuptools wheel
package apache-flink "2.3.*"
package pyspark "4.3.*"
pip install -q duckdb polars "psycopg[binary]" tpchgen-cli pandas pyarrow numpy
pip list 2>/dev/null | grep -iE '^(apache-flink|pyspark|duckdb|polars|psycopg|tpchgen-cli|pandas|pyarrow|numpy) '
java -version 2>&1 | head -1
