//! Runs every file in `tests/slt/` through the Postgres door, each against a node of its own. A new
//! file is a new test: events in, expected rows out, with `retry` where a view needs a moment.

use crate::server::Server;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use std::path::Path;
use tokio_postgres::{NoTls, SimpleQueryMessage};

struct Door(tokio_postgres::Client);

/// An error with its message in sight.
#[derive(Debug)]
struct Refused(tokio_postgres::Error);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{}: {}", error.code().code(), error.message()),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for Refused {}

#[async_trait::async_trait]
impl AsyncDB for Door {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Self::Error> {
        let mut rows = Vec::new();
        let mut columns = None;
        for message in self.0.simple_query(sql).await.map_err(Refused)? {
            match message {
                SimpleQueryMessage::RowDescription(names) => columns = Some(names.len()),
                SimpleQueryMessage::Row(row) => {
                    let cell = |index| match row.get(index) {
                        None => "NULL".to_owned(),
                        Some("") => "(empty)".to_owned(),
                        Some(text) => text.to_owned(),
                    };
                    rows.push((0..row.len()).map(cell).collect());
                }
                _ => {}
            }
        }
        Ok(match columns {
            Some(count) => DBOutput::Rows { types: vec![DefaultColumnType::Text; count], rows },
            None => DBOutput::StatementComplete(0),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "thalweg"
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &Self::Error) -> Option<String> {
        error.0.code().map(|state| state.code().to_owned())
    }
}

/// What a file finds wrong, if it does.
async fn run(path: &Path) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let port = server.postgres.expect("the Postgres door").port();
    let mut runner = Runner::new(move || async move {
        let config = format!("host=127.0.0.1 port={port} user=anybody dbname=thalweg");
        let (client, connection) =
            tokio_postgres::connect(&config, NoTls).await.map_err(Refused)?;
        tokio::spawn(connection);
        Ok(Door(client))
    });
    let outcome = runner.run_file_async(path).await;
    outcome.err().map(|error| format!("{}: {}", path.display(), error.display(false)))
}

#[test]
fn every_file_says_what_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let entries = std::fs::read_dir(&folder).expect("the folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    let wrong = files.iter().filter_map(|file| runtime.block_on(run(file)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
