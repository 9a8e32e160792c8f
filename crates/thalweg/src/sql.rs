//! SQL for the HTTP door: the database of the query crate, behind the trait that the door knows.

use crate::settings::Settings;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use serde_json::Value;
use std::sync::Arc;
use thalweg_doors::{BulkAppended, Shared, SqlAnswer, SqlFault, SqlService};
use thalweg_query::{AppendFormat, Database, Format, Sources, SqlError, SqlState};

/// Pieces of an answer that may be ready before the client takes them.
const PIECES_AHEAD: usize = 4;

/// The database as a service.
pub(crate) struct Service(pub(crate) Database);

fn fault(error: SqlError) -> SqlFault {
    use SqlState::{
        CannotConnectNow, DiskFull, DuplicateTable, Internal, LimitExceeded, OutOfMemory,
        SerializationFailure, UndefinedTable, UniqueViolation,
    };
    let status = match error.state {
        UndefinedTable => 404,
        DuplicateTable | UniqueViolation | SerializationFailure => 409,
        LimitExceeded => 413,
        Internal => 500,
        CannotConnectNow => 503,
        DiskFull | OutOfMemory => 507,
        _ => 400,
    };
    let detail = match &error.hint {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message.clone(),
    };
    SqlFault { code: error.state.code(), detail, status }
}

/// Runs work on the database's own threads: queries must not keep other requests waiting.
fn on_runtime<T: Send + 'static>(
    database: &Database,
    work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
) -> BoxFuture<'static, Result<T, SqlFault>> {
    let task = database.runtime().spawn(work);
    async move {
        match task.await {
            Ok(outcome) => outcome.map_err(fault),
            Err(_panicked) => Err(fault(SqlError::internal())),
        }
    }
    .boxed()
}

impl SqlService for Service {
    fn query(
        &self,
        text: String,
        parameters: Vec<Value>,
        accept: String,
    ) -> BoxFuture<'static, Result<SqlAnswer, SqlFault>> {
        let database = self.0.clone();
        let format = Format::of_media_type(&accept);
        // It stays with the answer: when the client does not take that any more, its statements
        // stop.
        let request = self.0.request();
        let statements = request.statements();
        let answer = on_runtime(&self.0, async move {
            let pieces = database.answer(statements, &text, &parameters, format).await?;
            let (sender, receiver) = tokio::sync::mpsc::channel(PIECES_AHEAD);
            // Rows are made where they are asked for; that is here, not on the threads that serve
            // HTTP.
            tokio::spawn(async move {
                let mut pieces = std::pin::pin!(pieces.map_err(fault));
                while let Some(piece) = pieces.next().await {
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                }
            });
            let body = futures_util::stream::unfold(receiver, async |mut receiver| {
                Some((receiver.recv().await?, receiver))
            });
            Ok(SqlAnswer { media_type: format.media_type(), body: body.boxed() })
        });
        async move {
            let SqlAnswer { media_type, body } = answer.await?;
            let body = body.inspect(move |_piece| _ = &request).boxed();
            Ok(SqlAnswer { media_type, body })
        }
        .boxed()
    }

    fn partition_keys(&self, stream: &str) -> Option<Vec<String>> {
        self.0.partition_keys(stream)
    }

    fn declare(
        &self,
        stream: String,
        definition: Value,
    ) -> BoxFuture<'static, Result<bool, SqlFault>> {
        let database = self.0.clone();
        on_runtime(&self.0, async move {
            let work = move || database.declare_stream_json(&stream, definition);
            tokio::task::spawn_blocking(work).await.unwrap_or(Ok(false))
        })
    }

    fn append(
        &self,
        stream: String,
        media_type: String,
        body: axum::body::Bytes,
    ) -> BoxFuture<'static, Result<BulkAppended, SqlFault>> {
        let database = self.0.clone();
        on_runtime(&self.0, async move {
            let work = move || {
                let format = AppendFormat::of_media_type(&media_type, &body);
                database.append(&stream, format, &body)
            };
            let appended = match tokio::task::spawn_blocking(work).await {
                Ok(outcome) => outcome?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            Ok(BulkAppended { appended: appended.appended, dead: appended.dead })
        })
    }
}

/// What `sys.clients` and `sys.settings` show.
pub(crate) fn sources(shared: &Arc<Shared>, started: Arc<Settings>) -> Sources {
    let (for_clients, for_settings) = (shared.clone(), shared.clone());
    Sources {
        clients: Box::new(move || {
            let rows =
                for_clients.client_rows().into_iter().map(|(id, address, since_ms, name)| {
                    let name = (!name.is_empty()).then_some(name);
                    vec![
                        Some(id.to_string()),
                        Some("resp".to_owned()),
                        Some(address),
                        Some(since_ms.to_string()),
                        name,
                    ]
                });
            rows.collect()
        }),
        settings: Box::new(move || started.rows(&for_settings.settings())),
    }
}
