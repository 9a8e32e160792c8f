//! A node with SQL, and answers as text.

use datafusion::arrow::util::pretty::pretty_format_batches;
use std::path::Path;
use thalweg_node::{Engine, EngineSettings};
use thalweg_query::{Database, Session, Sources, SqlError, SqlSettings};

pub(crate) struct Sql {
    pub(crate) engine: Engine,
    pub(crate) session: Session,
    database: Option<Database>,
    runtime: tokio::runtime::Runtime,
}

impl Sql {
    pub(crate) fn in_memory() -> Self {
        Self::open(EngineSettings::in_memory(), SqlSettings::default())
    }

    /// A node that keeps everything in a folder.
    pub(crate) fn in_folder(folder: &Path, checkpoint_interval_ms: u64) -> Self {
        let settings = SqlSettings {
            folder: Some(folder.to_owned()),
            segments: Some(folder.join("segments").to_string_lossy().into_owned()),
            checkpoint_interval_ms,
            ..SqlSettings::default()
        };
        Self::open(EngineSettings::in_directory(folder), settings)
    }

    pub(crate) fn open(engine: EngineSettings, settings: SqlSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let engine = Engine::open(engine).expect("a node");
        let sources = Sources::default();
        let database = Database::open(engine.clone(), settings, sources, runtime.handle().clone())
            .expect("a database");
        Self { engine, session: database.session(), database: Some(database), runtime }
    }

    /// Goes away without a last checkpoint of the views.
    pub(crate) fn crash(mut self) {
        if let Some(database) = self.database.take() {
            database.abandon();
        }
    }

    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().expect("open")
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn try_run(&mut self, text: &str) -> Result<String, SqlError> {
        let (_, batches) = self.runtime.block_on(self.session.run(text))?;
        Ok(pretty_format_batches(&batches).expect("printable").to_string())
    }

    /// The answer's cells, rows apart by newlines.
    pub(crate) fn rows(&mut self, text: &str) -> String {
        let table = self.try_run(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
        let cells = |line: &str| {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            cells.collect::<Vec<_>>().join(" ")
        };
        lines.map(cells).collect::<Vec<_>>().join("\n")
    }

    /// The code of the error that a statement gives.
    pub(crate) fn fails(&mut self, text: &str) -> &'static str {
        match self.try_run(text) {
            Err(error) => error.state.code(),
            Ok(rows) => panic!("{text} went through: {rows}"),
        }
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            database.close();
        }
    }
}
