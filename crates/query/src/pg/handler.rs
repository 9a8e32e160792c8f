//! One connection: its session, its statements, and a COPY that is under way.

use super::copy::{CopyIn, copy_out};
use super::info;
use super::text::with_texts;
use crate::database::Database;
use crate::error::{SqlError, SqlState};
use crate::session::{Outcome, Prepared, Session, TransactionStatus};
use crate::statement::Statement;
use arrow_pg::datatypes::df::deserialize_parameters;
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch, into_pg_type};
use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::SendableRecordBatchStream;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures_util::{Sink, SinkExt, StreamExt};
use pgwire::api::copy::CopyHandler;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{CopyResponse, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{Describe, TARGET_TYPE_BYTE_STATEMENT};
use std::fmt::Debug;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Mutex;

/// Turns what clients ask of Postgres' own catalog into what DataFusion can answer.
static COMPATIBILITY: LazyLock<PostgresCompatibilityParser> =
    LazyLock::new(PostgresCompatibilityParser::new);

/// One client's connection.
pub(super) struct Connection {
    session: Mutex<Session>,
    copy: Mutex<Option<CopyIn>>,
    parser: Arc<Parser>,
    full: bool,
}

impl Connection {
    /// A connection; one that is `full` is only told so.
    pub(super) fn new(database: &Database, full: bool) -> Self {
        let parser = Arc::new(Parser(Mutex::new(database.session())));
        Self { session: Mutex::new(database.session()), copy: Mutex::new(None), parser, full }
    }

    fn refuse_if_full(&self) -> Result<(), SqlError> {
        if self.full {
            let message = "too many connections";
            return Err(SqlError::new(SqlState::CannotConnectNow, message));
        }
        Ok(())
    }

    /// Runs a statement that was prepared.
    async fn run(
        &self,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
        format: &Format,
    ) -> PgWireResult<Response> {
        let mut session = self.session.lock().await;
        match &prepared.statement {
            Statement::CopyIn(copy) => {
                let copy = CopyIn::new(&session, copy)?;
                let response = CopyResponse::new(0, copy.columns(), futures_util::stream::empty());
                *self.copy.lock().await = Some(copy);
                return Ok(Response::CopyIn(response));
            }
            Statement::CopyOut(copy) => {
                return Ok(Response::CopyOut(copy_out(&mut session, copy).await?));
            }
            _ => {}
        }
        let limit_ms = session.variable("statement_timeout").and_then(|text| text.parse().ok());
        let before = session.transaction_status();
        let work = async {
            match session.execute(prepared, parameters).await? {
                Outcome::Rows(rows) => first_row(rows).await.map(Outcome::Rows),
                done => Ok(done),
            }
        };
        let outcome = match limit_ms {
            Some(limit_ms) if limit_ms > 0 => {
                tokio::time::timeout(Duration::from_millis(limit_ms), work).await.unwrap_or_else(
                    |_| {
                        let message = "canceling statement due to statement timeout";
                        Err(SqlError::new(SqlState::QueryCanceled, message))
                    },
                )?
            }
            _ => work.await?,
        };
        respond(outcome, format, before, session.transaction_status())
    }
}

/// Waits for the first rows, so that what takes long can be cancelled and what fails fails as a statement.
async fn first_row(rows: SendableRecordBatchStream) -> Result<SendableRecordBatchStream, SqlError> {
    let schema = rows.schema();
    let mut rows = rows.peekable();
    if let Some(Err(_)) = std::pin::Pin::new(&mut rows).peek().await
        && let Some(Err(error)) = rows.next().await
    {
        return Err(error.into());
    }
    Ok(Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, rows)))
}

fn respond(
    outcome: Outcome,
    format: &Format,
    before: TransactionStatus,
    after: TransactionStatus,
) -> PgWireResult<Response> {
    match outcome {
        Outcome::Rows(rows) => {
            let fields = Arc::new(arrow_schema_to_pg_fields(&rows.schema(), format, None)?);
            let encoded = fields.clone();
            let rows = rows.flat_map(move |batch| {
                let rows: Vec<_> = match batch.and_then(|batch| with_texts(batch, &encoded)) {
                    Ok(batch) => encode_recordbatch(encoded.clone(), batch).collect(),
                    Err(error) => vec![Err(SqlError::from(error).into())],
                };
                futures_util::stream::iter(rows)
            });
            Ok(Response::Query(QueryResponse::new(fields, rows)))
        }
        Outcome::Done(tag) => {
            let tag = Tag::new(&tag);
            Ok(match (before, after) {
                (TransactionStatus::Idle, TransactionStatus::Active) => {
                    Response::TransactionStart(tag)
                }
                (
                    TransactionStatus::Active | TransactionStatus::Failed,
                    TransactionStatus::Idle,
                ) => Response::TransactionEnd(tag),
                _ => Response::Execution(tag),
            })
        }
    }
}

/// Whether a text may be about Postgres' own catalog.
fn is_about_postgres(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["pg_", "version()", "current_schema", "current_user", "session_user", "regclass", "regtype"]
        .iter()
        .any(|word| lower.contains(word))
}

fn parse_all(session: &Session, text: &str) -> Result<Vec<Prepared>, SqlError> {
    if is_about_postgres(text)
        && let Ok(statements) = COMPATIBILITY.parse(text)
    {
        return Ok(statements.into_iter().map(|statement| Prepared::of(statement, text)).collect());
    }
    session.parse_all(text)
}

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.refuse_if_full()?;
        let statements = parse_all(&*self.session.lock().await, query)?;
        let mut responses = Vec::with_capacity(statements.len());
        for prepared in statements {
            match self.run(&prepared, Vec::new(), &Format::UnifiedText).await {
                Ok(response) => responses.push(response),
                // What was done before stays done, and is answered before the error.
                Err(PgWireError::UserError(error)) if !responses.is_empty() => {
                    responses.push(Response::Error(error));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(responses)
    }
}

/// Plans statements for the extended protocol.
pub(super) struct Parser(Mutex<Session>);

#[async_trait]
impl QueryParser for Parser {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Arc<Prepared>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let session = self.0.lock().await;
        let mut statements = parse_all(&session, sql)?;
        if statements.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(SqlError::new(SqlState::SyntaxError, message).into());
        }
        let Some(mut prepared) = statements.pop() else { return Ok(None) };
        session.plan(&mut prepared).await?;
        Ok(Some(Arc::new(prepared)))
    }

    fn get_parameter_types(&self, prepared: &Arc<Prepared>) -> PgWireResult<Vec<Type>> {
        let kinds = prepared.parameters.iter();
        kinds.map(|kind| kind.as_ref().map_or(Ok(Type::TEXT), into_pg_type)).collect()
    }

    fn get_result_schema(
        &self,
        prepared: &Arc<Prepared>,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        match &prepared.schema {
            Some(schema) => {
                arrow_schema_to_pg_fields(schema, format.unwrap_or(&Format::UnifiedText), None)
            }
            None => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Arc<Prepared>;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        self.parser.clone()
    }

    /// The library describes a statement with parameters and without rows as one whose rows have no columns; drivers take that
    /// for a result.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT
            && let Some(Entry::Value(statement)) = client.portal_store().get_statement(name)
            && statement.statement.schema.is_none()
        {
            let described = self.do_describe_statement(client, &statement).await?;
            let types = described.parameters.iter().map(Type::oid).collect();
            let parameters = ParameterDescription::new(types);
            client.send(PgWireBackendMessage::ParameterDescription(parameters)).await?;
            client.send(PgWireBackendMessage::NoData(NoData::new())).await?;
            return Ok(());
        }
        self._on_describe(client, message).await
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Arc<Prepared>>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.refuse_if_full()?;
        let prepared = &portal.statement.statement;
        let kinds: Vec<Option<&DataType>> =
            prepared.parameters.iter().map(Option::as_ref).collect();
        let values = match deserialize_parameters(portal, &kinds)? {
            ParamValues::List(values) => values.into_iter().map(|value| value.value).collect(),
            ParamValues::Map(_) => Vec::new(),
        };
        self.run(prepared, values, &portal.result_column_format).await
    }
}

#[async_trait]
impl CopyHandler for Connection {
    async fn on_copy_data<C>(&self, _client: &mut C, data: CopyData) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let Some(copy) = self.copy.lock().await.as_mut() {
            copy.take(&data.data);
        }
        Ok(())
    }

    async fn on_copy_done<C>(&self, client: &mut C, _done: CopyDone) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Some(copy) = self.copy.lock().await.take() else { return Ok(()) };
        let mut session = self.session.lock().await;
        let rows = copy.finish(&mut session)?;
        let tag = Tag::new("COPY").with_rows(rows as usize);
        pgwire::api::query::send_execution_response(client, tag).await
    }

    async fn on_copy_fail<C>(&self, _client: &mut C, fail: CopyFail) -> PgWireError
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        *self.copy.lock().await = None;
        let message = format!("COPY from stdin failed: {}", fail.message);
        PgWireError::UserError(Box::new(info(&SqlError::new(SqlState::QueryCanceled, message))))
    }
}
