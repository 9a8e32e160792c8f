//! Segments and files in a bucket. The program moto answers in the place of S3.

use crate::server::Server;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{NoTls, SimpleQueryMessage};

struct Bucket {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Bucket {
    fn start() -> Option<Self> {
        let Some(python) = std::env::var_os("THALWEG_TEST_PYTHON") else {
            eprintln!("skipped: run scripts/test, which installs moto");
            return None;
        };
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/object_store.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start moto");
        let input = child.stdin.take().expect("its input");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let address = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).expect("text") > 0, "moto ended");
            if let Some(address) = line.trim().strip_prefix("ready ") {
                break address.to_owned();
            }
        };
        Some(Self { child, input, output, address })
    }

    fn count(&mut self, prefix: &str) -> usize {
        writeln!(self.input, "{prefix}").expect("ask");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        line.trim().parse().unwrap_or_else(|_| panic!("{line}"))
    }

    fn node(&self, data: &std::path::Path) -> Server {
        let endpoint = format!("http://{}", self.address);
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ];
        Server::start_with(data, &["--segments", "s3://sealed/streams"], &variables)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The last statement's first cell, or the code of the error.
async fn ask(server: &Server, text: &str) -> String {
    let port = server.postgres.expect("the Postgres door").port();
    let config = format!("host=127.0.0.1 port={port} user=u dbname=thalweg");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("connect");
    tokio::spawn(connection);
    match client.simple_query(text).await {
        Ok(messages) => {
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                _ => None,
            });
            rows.last().unwrap_or_default()
        }
        Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
    }
}

#[test]
fn a_bucket_holds_segments_and_files() {
    let Some(mut bucket) = Bucket::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut server = bucket.node(folder.path());
    let orders = "CREATE STREAM orders (id BIGINT, total DOUBLE PRECISION) WITH (partitions = 2); \
                  INSERT INTO orders SELECT value, value * 0.5 FROM generate_series(1, 20000) AS \
                  t(value)";
    runtime.block_on(async {
        assert_eq!(ask(&server, orders).await, "");
        assert_eq!(ask(&server, "SEAL STREAM orders").await, "");
        assert_eq!(ask(&server, "INSERT INTO orders VALUES (0, 1.0)").await, "");
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while bucket.count("streams/orders/") < 2 {
        assert!(Instant::now() < deadline, "nothing is sealed into the bucket");
        std::thread::sleep(Duration::from_millis(50));
    }
    let sums = "SELECT count(*)::TEXT || ' ' || sum(id)::TEXT FROM orders";
    runtime.block_on(async {
        assert_eq!(ask(&server, sums).await, "20001 200010000");
        assert_eq!(ask(&server, "SELECT count(*) FROM orders WHERE id = 17").await, "1");
        let parts = "CREATE EXTERNAL TABLE parts STORED AS CSV LOCATION \
                     's3://sealed/files/parts.csv' \
                     OPTIONS ('format.has_header' 'true'); SELECT sum(stock) FROM parts";
        assert_eq!(ask(&server, parts).await, "16");
        let missing = "CREATE EXTERNAL TABLE nothing STORED AS CSV LOCATION 's3://nowhere/x.csv'";
        assert_ne!(ask(&server, missing).await, "");
    });
    // A view reads them, too, and a node that comes back finds them.
    server.kill();
    let server = bucket.node(folder.path());
    runtime.block_on(async {
        assert_eq!(ask(&server, sums).await, "20001 200010000");
        let view =
            "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(total) AS total FROM orders";
        assert_eq!(ask(&server, view).await, "");
        let deadline = Instant::now() + Duration::from_secs(60);
        while ask(&server, "SELECT n FROM v").await != "20001" {
            assert!(Instant::now() < deadline, "the view does not see all segments");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(ask(&server, "DROP MATERIALIZED VIEW v; DROP STREAM orders").await, "");
    });
    assert_eq!(bucket.count("streams/orders/"), 0);
}
