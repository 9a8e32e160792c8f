//! One connection: messages in their order, the transaction that a pipeline is, and what stops a
//! statement.

use super::extended::Portal;
use super::info;
use super::wire::{Ended, Wire};
use crate::error::{SqlError, SqlState};
use crate::sql::backends::{Activity, terminated};
use crate::sql::cancel::Cancel;
use crate::sql::session::{Prepared, Session, TransactionStatus};
use futures_util::FutureExt;
use pgwire::messages::response::{
    ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus as WireStatus,
};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use thalweg_listen::Access;

/// Prepared statements and portals that a connection may have at once.
pub(super) const NAMES_MAX: usize = 10_000;

/// One client's connection.
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) session: Session,
    /// Portals by name; the unnamed one is "".
    pub(super) portals: HashMap<String, Portal>,
    /// The statement without a name.
    pub(super) unnamed: Option<Arc<Prepared>>,
    pub(super) cancel: Arc<Cancel>,
    activity: Arc<Activity>,
    access: Arc<Access>,
    /// After an error nothing is done until Sync.
    skipping: bool,
}

/// What became of a message.
pub(super) enum Failed {
    /// The statement failed; the connection goes on.
    Statement(SqlError),
    /// The connection is at its end.
    Connection(Ended),
}

impl From<SqlError> for Failed {
    fn from(error: SqlError) -> Self {
        Self::Statement(error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(_: std::io::Error) -> Self {
        Self::Connection(Ended::Lost)
    }
}

impl From<Ended> for Failed {
    fn from(ended: Ended) -> Self {
        Self::Connection(ended)
    }
}

impl Connection {
    pub(super) fn new(
        wire: Wire,
        session: Session,
        cancel: Arc<Cancel>,
        activity: Arc<Activity>,
        access: Arc<Access>,
    ) -> Self {
        let portals = HashMap::new();
        let (unnamed, skipping) = (None, false);
        Self { wire, session, portals, unnamed, cancel, activity, access, skipping }
    }

    /// Serves the client until it leaves.
    pub(super) async fn serve(mut self) {
        let _end = self.serve_messages().await;
        self.wire.finish();
        self.portals.clear();
        tokio::task::block_in_place(|| self.session.end());
    }

    async fn serve_messages(&mut self) -> Result<(), Ended> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.activity.terminated() => Err(Ended::Told(terminated())),
                // What runs when the doors close comes to its end, and nothing begins.
                () = self.access.drain.begun() => Err(Ended::Told(terminated())),
                next = self.wire.next() => next,
            };
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(Ended::Told(error)) => return self.tell_end(error).await,
                Err(lost) => return Err(lost),
            };
            if matches!(message, PgWireFrontendMessage::Terminate(_)) {
                return Ok(());
            }
            if self.skipping && !matches!(message, PgWireFrontendMessage::Sync(_)) {
                continue;
            }
            let is_extended = message.is_extended_query();
            // A bug in a statement is the statement's end, and nobody else's.
            let handled = AssertUnwindSafe(self.handle(message)).catch_unwind().await;
            match handled.unwrap_or_else(|_panicked| Err(SqlError::internal().into())) {
                Ok(()) => {}
                Err(Failed::Statement(error)) => {
                    if self.activity.is_terminated() {
                        continue;
                    }
                    self.fail(&error)?;
                    if is_extended {
                        self.skipping = true;
                    } else {
                        self.ready()?;
                    }
                }
                Err(Failed::Connection(ended)) => return Err(ended),
            }
        }
    }

    /// Tells the client why its connection ends.
    async fn tell_end(&mut self, error: SqlError) -> Result<(), Ended> {
        let mut fatal = info(&error);
        fatal.severity = "FATAL".to_owned();
        let _told = self.wire.put(PgWireBackendMessage::ErrorResponse(fatal.into()));
        self.wire.flush().await?;
        Err(Ended::Told(error))
    }

    async fn handle(&mut self, message: PgWireFrontendMessage) -> Result<(), Failed> {
        match message {
            PgWireFrontendMessage::Query(query) => self.simple(&query.query).await,
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind),
            PgWireFrontendMessage::Describe(describe) => self.describe(&describe),
            PgWireFrontendMessage::Execute(execute) => self.execute(execute).await,
            PgWireFrontendMessage::Close(close) => self.close(&close),
            PgWireFrontendMessage::Flush(_) => Ok(self.wire.flush().await?),
            PgWireFrontendMessage::Sync(_) => self.sync(),
            // What is left of a COPY that failed.
            PgWireFrontendMessage::CopyData(_)
            | PgWireFrontendMessage::CopyDone(_)
            | PgWireFrontendMessage::CopyFail(_) => Ok(()),
            _ => {
                let message = "this message is not expected here";
                Err(SqlError::new(SqlState::ProtocolViolation, message).into())
            }
        }
    }

    /// The end of a pipeline: what it did becomes durable, or an error says why not.
    fn sync(&mut self) -> Result<(), Failed> {
        self.skipping = false;
        if let Err(error) = self.end_implicit() {
            self.fail(&error)?;
        }
        self.ready()?;
        Ok(())
    }

    /// Commits the transaction that nobody began by name.
    pub(super) fn end_implicit(&mut self) -> Result<(), SqlError> {
        if !self.session.is_implicit() {
            self.session.end_statement();
            return Ok(());
        }
        // Rows that are still to be fetched end with their transaction.
        self.portals.clear();
        tokio::task::block_in_place(|| self.session.end_implicit())
    }

    /// Tells an error, and what it means for the transaction.
    pub(super) fn fail(&mut self, error: &SqlError) -> Result<(), Ended> {
        self.put_notices().map_err(|_| Ended::Lost)?;
        self.session.fail();
        if self.session.transaction_status() != TransactionStatus::Active {
            self.portals.clear();
        }
        let response: ErrorResponse = info(error).into();
        self.wire.put(PgWireBackendMessage::ErrorResponse(response)).map_err(|_| Ended::Lost)
    }

    pub(super) fn put_notices(&mut self) -> Result<(), SqlError> {
        for (severity, error) in self.session.take_notices() {
            let mut notice = info(&error);
            notice.severity = severity.to_owned();
            let ErrorResponse { fields, .. } = notice.into();
            self.wire.put(PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields)))?;
        }
        for (name, value) in self.session.variables.lock().take_reported() {
            self.wire.parameter(&name, &value)?;
        }
        Ok(())
    }

    /// A statement begins.
    pub(super) fn begin_statement(&self, text: &str) {
        self.activity.begin(text, self.session.inner.engine.now_ms());
        self.cancel.begin(self.session.variables.lock().statement_timeout_ms());
    }

    /// Says that the next statement may come.
    pub(super) fn ready(&mut self) -> Result<(), Ended> {
        self.cancel.end();
        self.activity.end(self.session.inner.engine.now_ms());
        if self.session.transaction_status() == TransactionStatus::Idle {
            self.portals.clear();
        }
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => WireStatus::Idle,
            TransactionStatus::Active => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        let ready = PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status));
        self.wire.put(ready).map_err(|_| Ended::Lost)
    }
}
