//! The simple protocol: a text with any number of statements, which are one transaction unless they
//! say otherwise.

use super::connection::{Connection, Failed};
use super::copy::{CopyIn, CopyOut, copy_out};
use super::rows::Columns;
use super::wire::Ended;
use crate::error::{SqlError, SqlState};
use crate::sql::session::{Outcome, Prepared, Rows};
use crate::sql::statement::Statement;
use crate::sql::stop;
use datafusion::common::ScalarValue;
use futures_util::StreamExt;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

impl Connection {
    pub(super) async fn simple(&mut self, text: &str) -> Result<(), Failed> {
        self.unnamed = None;
        self.portals.remove("");
        self.begin_statement(text);
        let point = Box::pin(async { Ok::<_, SqlError>(self.session.point(text).await) });
        if let Some((prepared, values)) = self.cancel.guarded(point).await? {
            self.run_simple(&prepared, values).await?;
            return Ok(self.ready()?);
        }
        let statements = stop::within_now(self.cancel.stop(), || self.session.parse_all(text))?;
        if statements.is_empty() {
            self.wire.put(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))?;
        }
        let alone = statements.len() == 1;
        for (index, prepared) in statements.iter().enumerate() {
            if index > 0 {
                self.begin_statement(text);
            }
            if !alone {
                self.session.begin_implicit();
            }
            self.run_simple(prepared, Vec::new()).await?;
            // COMMIT and ROLLBACK end what stood before them; what follows stands on its own.
            self.put_notices()?;
        }
        self.end_implicit()?;
        self.ready()?;
        Ok(())
    }

    async fn run_simple(
        &mut self,
        prepared: &Prepared,
        values: Vec<ScalarValue>,
    ) -> Result<(), Failed> {
        match self.start(prepared, values).await? {
            Started::Rows(rows) => {
                let style = self.session.variables.lock().style();
                let mut columns = Columns::new(&rows.schema, &[], style)?;
                self.wire.put(PgWireBackendMessage::RowDescription(columns.describe()))?;
                self.send_all(rows, &mut columns).await
            }
            Started::Done(tag) => self.complete(tag),
        }
    }

    /// Starts a statement; COPY is done as a whole.
    pub(super) async fn start(
        &mut self,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
    ) -> Result<Started, Failed> {
        match &prepared.statement {
            Statement::CopyIn(copy) => {
                self.session.refuse_if_failed()?;
                let copy = CopyIn::new(&mut self.session, copy)?;
                return Ok(Started::Done(self.copy_in(copy).await?));
            }
            Statement::CopyOut(copy) => {
                let copied = {
                    let work = Box::pin(copy_out(&mut self.session, copy));
                    self.cancel.guarded(work).await?
                };
                return Ok(Started::Done(self.copy_out(copied).await?));
            }
            _ => {}
        }
        let work = Box::pin(async {
            match self.session.execute(prepared, parameters).await? {
                Outcome::Rows(rows) => Ok(Started::Rows(rows.with_first().await?)),
                Outcome::Done(tag) => Ok(Started::Done(tag)),
            }
        });
        self.cancel.guarded(work).await
    }

    /// Sends all rows, and what was done.
    async fn send_all(&mut self, mut rows: Rows, columns: &mut Columns) -> Result<(), Failed> {
        let mut count = 0u64;
        loop {
            let work = async { rows.stream.next().await.transpose().map_err(SqlError::from) };
            let batch = self.cancel.guarded(work).await?;
            let Some(batch) = batch else { break };
            for row in 0..batch.num_rows() {
                columns.put(self.wire.outgoing(), &batch, row)?;
                if self.wire.holds_much() {
                    self.flush_rows().await?;
                }
            }
            self.flush_rows().await?;
            count += batch.num_rows() as u64;
        }
        self.complete(rows.tag.of(count))
    }

    /// Sends rows if there are many. A client that does not read them is waited for, but its
    /// statement can be cancelled.
    pub(super) async fn flush_rows(&mut self) -> Result<(), Failed> {
        let cancel = self.cancel.clone();
        tokio::select! {
            biased;
            reason = cancel.cancelled() => Err(reason.into()),
            sent = self.wire.flush_if_much() => Ok(sent?),
        }
    }

    pub(super) fn complete(&mut self, tag: String) -> Result<(), Failed> {
        self.put_notices()?;
        let complete = CommandComplete::new(tag);
        Ok(self.wire.put(PgWireBackendMessage::CommandComplete(complete))?)
    }

    /// Takes in what a COPY brings; an error is told when the client has said all, so that both
    /// stay in step.
    async fn copy_in(&mut self, mut copy: CopyIn) -> Result<String, Failed> {
        let columns = copy.columns() as i16;
        let formats = vec![copy.format(); columns as usize];
        let response = CopyInResponse::new(copy.format() as i8, columns, formats);
        self.wire.put(PgWireBackendMessage::CopyInResponse(response))?;
        self.wire.flush().await?;
        loop {
            let Some(message) = self.wire.next().await? else {
                return Err(Failed::Connection(Ended::Lost));
            };
            match message {
                PgWireFrontendMessage::CopyData(data) => copy.take(&data.data),
                PgWireFrontendMessage::CopyDone(_) => {
                    let rows = copy.finish(&mut self.session).await?;
                    return Ok(format!("COPY {rows}"));
                }
                PgWireFrontendMessage::CopyFail(fail) => {
                    let message = format!("COPY from stdin failed: {}", fail.message);
                    return Err(SqlError::new(SqlState::QueryCanceled, message).into());
                }
                // Drivers send them with the statement, before they know that it copies.
                PgWireFrontendMessage::Flush(_) | PgWireFrontendMessage::Sync(_) => {}
                _ => {
                    let message = "unexpected message during COPY from stdin";
                    return Err(SqlError::new(SqlState::ProtocolViolation, message).into());
                }
            }
        }
    }

    async fn copy_out(
        &mut self,
        CopyOut { columns, format, mut head, mut rows, tail }: CopyOut,
    ) -> Result<String, Failed> {
        let formats = vec![format; columns];
        let response = CopyOutResponse::new(format as i8, columns as i16, formats);
        self.wire.put(PgWireBackendMessage::CopyOutResponse(response))?;
        if format == 0 && !head.is_empty() {
            self.wire.copy_data(&[], &std::mem::take(&mut head))?;
        }
        let mut count = 0;
        loop {
            let work = async { rows.next().await.transpose() };
            let piece = self.cancel.guarded(work).await?;
            let Some(piece) = piece else { break };
            let mut start = 0;
            for &end in &piece.ends {
                let row = piece.bytes.get(start..end).unwrap_or_default();
                self.wire.copy_data(&std::mem::take(&mut head), row)?;
                start = end;
                count += 1;
            }
            self.flush_rows().await?;
        }
        if !head.is_empty() || !tail.is_empty() {
            self.wire.copy_data(&head, &tail)?;
        }
        self.wire.put(PgWireBackendMessage::CopyDone(CopyDone::new()))?;
        Ok(format!("COPY {count}"))
    }
}

/// What a statement gave.
pub(super) enum Started {
    Rows(Rows),
    Done(String),
}
