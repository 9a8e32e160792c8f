//! The extended protocol: statements that are parsed, bound, described and executed in steps.

use super::connection::{Connection, Failed, NAMES_MAX};
use super::parameters::values_of;
use super::rows::Columns;
use super::simple::Started;
use crate::error::{SqlError, SqlState};
use crate::sql::session::{Prepared, Rows, TransactionStatus};
use crate::sql::stop;
use crate::values::pg_type;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use futures_util::StreamExt;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete,
    PortalSuspended, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use std::sync::Arc;

/// A statement with its values, ready to run or under way.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    values: Vec<ScalarValue>,
    formats: Vec<i16>,
    state: State,
}

enum State {
    /// It has not run yet.
    New,
    /// Its rows come.
    Rows { rows: Rows, columns: Columns, rest: Option<(RecordBatch, usize)> },
    /// It is done.
    Done,
}

impl Connection {
    fn find_statement(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        let found = if name.is_empty() {
            self.unnamed.clone()
        } else {
            self.session.statements.get(name).cloned()
        };
        found.ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            SqlError::new(SqlState::InvalidStatementName, message)
        })
    }

    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Failed> {
        let name = parse.name.unwrap_or_default();
        if name.is_empty() {
            self.unnamed = None;
        } else if self.session.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateStatement, message).into());
        } else if self.session.statements.len() >= NAMES_MAX {
            let message = format!("a connection may have {NAMES_MAX} prepared statements");
            return Err(SqlError::new(SqlState::LimitExceeded, message).into());
        }
        self.begin_statement(&parse.query);
        let parsed = || self.session.parse_all(&parse.query);
        let mut statements = stop::within_now(self.cancel.stop(), parsed)?;
        if statements.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(SqlError::new(SqlState::SyntaxError, message).into());
        }
        let mut prepared = statements.pop().unwrap_or_else(Prepared::empty);
        self.session.refuse_if_failed_for(&prepared)?;
        let work = self.session.prepare(&mut prepared, &parse.type_oids);
        self.cancel.guarded(work).await?;
        let prepared = Arc::new(prepared);
        if name.is_empty() {
            self.unnamed = Some(prepared);
        } else {
            self.session.statements.insert(name, prepared);
        }
        Ok(self.wire.put(PgWireBackendMessage::ParseComplete(ParseComplete::new()))?)
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Failed> {
        let name = bind.portal_name.unwrap_or_default();
        if name.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateCursor, message).into());
        } else if self.portals.len() >= NAMES_MAX {
            let message = format!("a connection may have {NAMES_MAX} portals");
            return Err(SqlError::new(SqlState::LimitExceeded, message).into());
        }
        let prepared = self.find_statement(bind.statement_name.as_deref().unwrap_or_default())?;
        self.session.refuse_if_failed_for(&prepared)?;
        let values = values_of(
            &prepared,
            &bind.parameters,
            &bind.parameter_format_codes,
            &self.session.moment(),
        )?;
        let formats = bind.result_column_format_codes;
        if let Some(schema) = &prepared.schema {
            Columns::new(schema, &formats, self.session.variables.lock().style())?;
        }
        self.portals.insert(name, Portal { prepared, values, formats, state: State::New });
        Ok(self.wire.put(PgWireBackendMessage::BindComplete(BindComplete::new()))?)
    }

    fn find_portal(&self, name: &str) -> Result<&Portal, SqlError> {
        self.portals.get(name).ok_or_else(|| no_portal(name))
    }

    pub(super) fn describe(&mut self, describe: &Describe) -> Result<(), Failed> {
        let name = describe.name.as_deref().unwrap_or_default();
        let (prepared, formats) = if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let prepared = self.find_statement(name)?;
            // A type that the client has named stays: drivers refuse another name for it.
            let types = prepared.parameters.iter().enumerate().map(|(index, field)| {
                let named = prepared.type_oids.get(index).copied().filter(|oid| *oid != 0);
                named.unwrap_or_else(|| pg_type::of_field(field).oid())
            });
            let types = types.collect();
            let types = ParameterDescription::new(types);
            self.wire.put(PgWireBackendMessage::ParameterDescription(types))?;
            (prepared, Vec::new())
        } else {
            let portal = self.find_portal(name)?;
            (portal.prepared.clone(), portal.formats.clone())
        };
        let schema = self.session.schema_now(&prepared);
        let described = match &schema {
            Some(schema) => {
                let columns =
                    Columns::new(schema, &formats, self.session.variables.lock().style())?;
                PgWireBackendMessage::RowDescription(columns.describe())
            }
            None => PgWireBackendMessage::NoData(NoData::new()),
        };
        Ok(self.wire.put(described)?)
    }

    pub(super) async fn execute(&mut self, execute: Execute) -> Result<(), Failed> {
        let name = execute.name.unwrap_or_default();
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        if portal.prepared.is_empty() {
            let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
            self.wire.put(empty)?;
            self.portals.insert(name, portal);
            return Ok(());
        }
        self.session.refuse_if_failed_for(&portal.prepared)?;
        self.begin_statement(&portal.prepared.text);
        if matches!(portal.state, State::New) {
            // Alone before its Sync it is a transaction of its own, which can be tried again;
            // otherwise it is part of one.
            let alone =
                self.wire.sync_follows() && !self.session.is_implicit() && execute.max_rows <= 0;
            if !alone {
                self.session.begin_implicit();
            }
            let values = std::mem::take(&mut portal.values);
            match self.start(&portal.prepared.clone(), values).await? {
                Started::Done(tag) => {
                    portal.state = State::Done;
                    self.complete(tag)?;
                    self.keep(name, portal);
                    return Ok(());
                }
                Started::Rows(rows) => {
                    let style = self.session.variables.lock().style();
                    let columns = Columns::new(&rows.schema, &portal.formats, style)?;
                    portal.state = State::Rows { rows, columns, rest: None };
                }
            }
        }
        self.send_some(&mut portal, execute.max_rows).await?;
        self.keep(name, portal);
        Ok(())
    }

    fn keep(&mut self, name: String, portal: Portal) {
        // COMMIT and ROLLBACK end all portals, their own too.
        if self.session.transaction_status() == TransactionStatus::Idle
            && !self.session.is_implicit()
        {
            self.portals.clear();
        }
        self.portals.insert(name, portal);
    }

    /// Sends so many rows, or all; says whether there may be more.
    async fn send_some(&mut self, portal: &mut Portal, max_rows: i32) -> Result<(), Failed> {
        let State::Rows { rows, columns, rest } = &mut portal.state else {
            return self.done_already(portal);
        };
        let wanted = u64::try_from(max_rows).ok().filter(|&rows| rows > 0).unwrap_or(u64::MAX);
        let mut count = 0;
        loop {
            let (batch, mut row) = match rest.take() {
                Some(rest) => rest,
                None => {
                    let work =
                        async { rows.stream.next().await.transpose().map_err(SqlError::from) };
                    let batch = self.cancel.guarded(work).await?;
                    match batch {
                        Some(batch) => (batch, 0),
                        None => break,
                    }
                }
            };
            while row < batch.num_rows() && count < wanted {
                columns.put(self.wire.outgoing(), &batch, row)?;
                row += 1;
                count += 1;
                if self.wire.holds_much() {
                    self.flush_rows().await?;
                }
            }
            self.flush_rows().await?;
            if count == wanted {
                *rest = Some((batch, row));
                let more = PgWireBackendMessage::PortalSuspended(PortalSuspended::new());
                return Ok(self.wire.put(more)?);
            }
        }
        let tag = rows.tag.of(count);
        portal.state = State::Done;
        self.complete(tag)
    }

    /// A portal whose rows have all been taken has no more; what changes something is done once.
    fn done_already(&mut self, portal: &Portal) -> Result<(), Failed> {
        if portal.prepared.schema.is_some() {
            return self.complete("SELECT 0".to_owned());
        }
        let message = "portal cannot be run anymore";
        Err(SqlError::new(SqlState::NotInPrerequisiteState, message).into())
    }

    pub(super) fn close(&mut self, close: &Close) -> Result<(), Failed> {
        let name = close.name.as_deref().unwrap_or_default();
        if close.target_type != TARGET_TYPE_BYTE_STATEMENT {
            self.portals.remove(name);
        } else if name.is_empty() {
            self.unnamed = None;
        } else {
            self.session.statements.remove(name);
        }
        Ok(self.wire.put(PgWireBackendMessage::CloseComplete(CloseComplete::new()))?)
    }
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new(SqlState::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}
