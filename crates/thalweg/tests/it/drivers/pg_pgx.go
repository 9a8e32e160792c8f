// pgx against the Postgres door. Arguments: port, password.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(holds bool, what ...interface{}) {
	if !holds {
		panic(fmt.Sprint(what...))
	}
}

func code(err error) string {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return told.Code
	}
	return fmt.Sprint(err)
}

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://anybody:%s@127.0.0.1:%s/thalweg", os.Args[2], os.Args[1]))
	must(err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `CREATE TABLE kinds (id SERIAL PRIMARY KEY, small SMALLINT, n INT, big BIGINT, x DOUBLE PRECISION, name TEXT,
		ok BOOLEAN, bytes BYTEA, at TIMESTAMPTZ, day DATE, tags TEXT[], numbers BIGINT[], price NUMERIC(12, 2), j JSONB)`)
	must(err)

	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	day := time.Date(1850, 1, 2, 0, 0, 0, 0, time.UTC)
	insert := `INSERT INTO kinds (small, n, big, x, name, ok, bytes, at, day, tags, numbers, price, j)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id`
	var id int32
	must(conn.QueryRow(ctx, insert, int16(-7), int32(7), int64(1)<<62, 0.1, "näme", true, []byte{0, 255}, at, day,
		[]string{"a", `b "c"`, "NULL", ""}, []int64{1, 2}, "1234567.80", `{"a": [1, null]}`).Scan(&id))
	var (
		small   int16
		n       int32
		big     int64
		x       float64
		name    string
		ok      bool
		bytes   []byte
		at2     time.Time
		day2    time.Time
		tags    []string
		numbers []int64
		price   string
		j       map[string]interface{}
	)
	must(conn.QueryRow(ctx, "SELECT small, n, big, x, name, ok, bytes, at, day, tags, numbers, price::text, j FROM kinds WHERE id = $1", id).
		Scan(&small, &n, &big, &x, &name, &ok, &bytes, &at2, &day2, &tags, &numbers, &price, &j))
	check(small == -7 && n == 7 && big == 1<<62 && x == 0.1 && name == "näme" && ok && at2.Equal(at) && day2.Equal(day), small, n, big, x, name, ok, at2, day2)
	check(reflect.DeepEqual(tags, []string{"a", `b "c"`, "NULL", ""}) && reflect.DeepEqual(numbers, []int64{1, 2}), tags, numbers)
	check(price == "1234567.80" && len(bytes) == 2 && fmt.Sprint(j) == "map[a:[1 <nil>]]", price, bytes, j)

	// A batch is one round trip, and one transaction up to its end.
	batch := &pgx.Batch{}
	for number := 0; number < 50; number++ {
		batch.Queue("INSERT INTO kinds (n) VALUES ($1)", number)
	}
	batch.Queue("SELECT count(*) FROM kinds")
	results := conn.SendBatch(ctx, batch)
	for number := 0; number < 50; number++ {
		_, err = results.Exec()
		must(err)
	}
	var count int64
	must(results.QueryRow().Scan(&count))
	must(results.Close())
	check(count == 51, count)
	failing := &pgx.Batch{}
	failing.Queue("INSERT INTO kinds (n) VALUES (1000)")
	failing.Queue("INSERT INTO kinds (id) VALUES ($1)", id)
	check(code(conn.SendBatch(ctx, failing).Close()) == "23505", "a key twice")
	must(conn.QueryRow(ctx, "SELECT count(*) FROM kinds WHERE n = 1000").Scan(&count))
	check(count == 0, "a batch that failed left ", count)

	rows := [][]interface{}{}
	for number := 0; number < 1000; number++ {
		rows = append(rows, []interface{}{int64(number), fmt.Sprint("copied ", number), at, []string{"t"}})
	}
	copied, err := conn.CopyFrom(ctx, pgx.Identifier{"kinds"}, []string{"big", "name", "at", "tags"}, pgx.CopyFromRows(rows))
	must(err)
	check(copied == 1000, copied)

	tx, err := conn.Begin(ctx)
	must(err)
	inner, err := tx.Begin(ctx) // a savepoint
	must(err)
	_, err = inner.Exec(ctx, "DELETE FROM kinds")
	must(err)
	must(inner.Rollback(ctx))
	must(tx.QueryRow(ctx, "SELECT count(*) FROM kinds WHERE name LIKE 'copied%'").Scan(&count))
	check(count == 1000, count)
	must(tx.Commit(ctx))

	_, err = conn.Exec(ctx, "SELECT 1 / 0")
	check(code(err) == "22012", code(err))
	_, err = conn.Exec(ctx, "SELECT * FROM nowhere")
	check(code(err) == "42P01", code(err))
	must(conn.QueryRow(ctx, "SELECT count(*) FROM kinds WHERE n = ANY($1)", []int32{1, 2, 3}).Scan(&count))
	check(count == 3, count)

	// A context that ends cancels the statement.
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = conn.Exec(short, "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b")
	check(err != nil, "it ended?")
	fmt.Println("ok")
}
