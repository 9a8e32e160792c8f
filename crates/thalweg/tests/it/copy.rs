//! COPY by the extended protocol, as drivers do it that prepare every statement.

use crate::server::Server;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio_postgres::NoTls;

#[tokio::test]
async fn copy_is_a_statement_like_others() {
    let server = Server::in_memory();
    let port = server.postgres.expect("the Postgres door").port();
    let config = format!("host=127.0.0.1 port={port} user=u dbname=thalweg");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("connect");
    tokio::spawn(connection);
    let work = async {
        client.batch_execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)").await?;
        for start in [0, 10_000] {
            let sink = client.copy_in("COPY t FROM STDIN").await?;
            let mut sink = std::pin::pin!(sink);
            for id in start..start + 10_000 {
                sink.send(Bytes::from(format!("{id}\tname {id}\n"))).await?;
            }
            assert_eq!(sink.finish().await?, 10_000);
        }
        let row = client.query_one("SELECT name FROM t WHERE id = $1", &[&19_999i64]).await?;
        assert_eq!(row.get::<_, &str>(0), "name 19999");
        let rows = client.copy_out("COPY (SELECT id FROM t ORDER BY id) TO STDOUT").await?;
        let pieces: Vec<_> = rows.map(|piece| piece.expect("a piece")).collect().await;
        let lines = pieces.concat().iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(lines, 20_000);
        Ok::<_, tokio_postgres::Error>(())
    };
    // Whoever is not told that its rows may come waits for ever.
    let done = tokio::time::timeout(Duration::from_secs(60), work).await;
    done.expect("in time").expect("no error");
}
