// node-postgres and pg-cursor against the Postgres door. Arguments: port, password. NODE_PATH names the packages.
const assert = require('node:assert');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');

const where = { host: '127.0.0.1', port: Number(process.argv[2]), user: 'anybody', password: process.argv[3], database: 'thalweg' };

async function main() {
  const client = new Client(where);
  await client.connect();
  await client.query(
    'CREATE TABLE kinds (id SERIAL PRIMARY KEY, n INT, big BIGINT, price NUMERIC(12, 2), x DOUBLE PRECISION, name TEXT, ok BOOLEAN,' +
      ' bytes BYTEA, at TIMESTAMPTZ, j JSONB, tags TEXT[], numbers INT[])');
  const values = [7, '4611686018427387904', '1234567.80', 0.1, 'näme', true, Buffer.from([0, 255, 92]), new Date('2026-01-02T03:04:05.678Z'),
    { a: [1, null] }, ['a', 'b "c"', 'NULL', ''], [1, 2]];
  const marks = values.map((_, at) => `$${at + 1}`).join(', ');
  const insert = `INSERT INTO kinds (n, big, price, x, name, ok, bytes, at, j, tags, numbers) VALUES (${marks}) RETURNING *`;
  const { rows, rowCount, command } = await client.query(insert, values);
  assert.deepStrictEqual([rowCount, command], [1, 'INSERT']);
  assert.deepStrictEqual(Object.values(rows[0]), [1, ...values]);
  const nulls = await client.query(insert, values.map(() => null));
  assert.deepStrictEqual(Object.values(nulls.rows[0]).slice(1), values.map(() => null));

  // A named statement is prepared once and bound again.
  for (let n = 0; n < 5; n++) {
    const found = await client.query({ name: 'by-id', text: 'SELECT n FROM kinds WHERE id = $1', values: [1] });
    assert.strictEqual(found.rows[0].n, 7);
  }
  const array = await client.query({ text: 'SELECT 1, 2 AS b, 1 AS b', rowMode: 'array' });
  assert.deepStrictEqual(array.rows, [[1, 2, 1]]);
  assert.deepStrictEqual(array.fields.map((field) => field.name), ['?column?', 'b', 'b']);

  // Several statements in one message give several answers, and are one transaction.
  const several = await client.query('INSERT INTO kinds (n) VALUES (100); SELECT count(*)::int AS c FROM kinds');
  assert.strictEqual(several[1].rows[0].c, 3);
  await assert.rejects(client.query('INSERT INTO kinds (n) VALUES (101); SELECT 1 / 0'), { code: '22012' });
  assert.strictEqual((await client.query('SELECT count(*)::int AS c FROM kinds')).rows[0].c, 3);
  await assert.rejects(client.query('SELECT * FROM nowhere'), { code: '42P01' });
  await assert.rejects(client.query('SELECT $1::int', ['x']), { code: '22P02' });

  await client.query('BEGIN');
  const cursor = client.query(new Cursor('SELECT x FROM generate_series(1, $1::int) AS t(x)', [1000]));
  let seen = 0;
  for (;;) {
    const rows = await cursor.read(77);
    if (rows.length === 0) break;
    seen += rows.length;
  }
  assert.strictEqual(seen, 1000);
  await cursor.close();
  const half = client.query(new Cursor('SELECT x FROM generate_series(1, 100000000) AS t(x)'));
  assert.strictEqual((await half.read(10)).length, 10);
  await half.close();
  await client.query('COMMIT');
  await client.end();

  const pool = new Pool({ ...where, max: 4 });
  const found = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('SELECT $1::int + 1 AS n', [n])));
  assert.deepStrictEqual(found.map((result) => result.rows[0].n), Array.from({ length: 40 }, (_, n) => n + 1));
  await pool.end();
  console.log('ok');
}

main().catch((error) => { console.error(error); process.exit(1); });
