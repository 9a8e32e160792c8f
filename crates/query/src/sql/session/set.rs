//! SET and SHOW, and the functions that do the same.

use super::variables::REPORTED;
use super::{Block, Rows, RowsTag, Session, Variables, text_rows};
use crate::error::{SqlError, SqlState};
use crate::functions::{Call, Function, no_function, returns_text};
use datafusion::arrow::array::{ArrayRef, StringViewBuilder};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    ContextModifier, Expr, Set, Statement as SqlStatement, TransactionAccessMode, TransactionMode,
    Value,
};
use parking_lot::Mutex;
use std::sync::Arc;

/// `current_setting` and `set_config` of a session.
pub(super) fn functions(variables: &Arc<Mutex<Variables>>) -> [Function; 2] {
    let (read, written) = (variables.clone(), variables.clone());
    [
        Function::new("current_setting", returns_text, move |call| {
            current_setting(&read.lock(), call)
        })
        .stable(),
        Function::new("set_config", returns_text, move |call| {
            set_config(&mut written.lock(), call)
        })
        .volatile(),
    ]
}

fn current_setting(variables: &Variables, call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if !matches!(call.args.len(), 1 | 2) {
        return Err(no_function("current_setting", call.fields));
    }
    let names = call.texts(0)?;
    let missing_ok = (call.args.len() == 2).then(|| call.booleans(1)).transpose()?;
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for (row, name) in names.iter().enumerate() {
        let missing_ok = missing_ok.as_ref().is_some_and(|missing| missing.value(row));
        out.append_option(match name {
            Some(name) if missing_ok => variables.get(name),
            Some(name) => Some(variables.known(name)?),
            None => None,
        });
    }
    Ok(Arc::new(out.finish()))
}

fn set_config(variables: &mut Variables, call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if call.args.len() != 3 {
        return Err(no_function("set_config", call.fields));
    }
    let (names, values, local) = (call.texts(0)?, call.texts(1)?, call.booleans(2)?);
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for (row, (name, value)) in names.iter().zip(values.iter()).enumerate() {
        let name = name.ok_or_else(|| {
            SqlError::new(SqlState::NullValueNotAllowed, "SET requires parameter name")
        })?;
        match value {
            Some(value) => out.append_value(variables.assign(name, value, local.value(row))?),
            None => {
                variables.reset(Some(name))?;
                out.append_value(variables.get(name).unwrap_or_default());
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

impl Session {
    /// What a variable is; nothing where there is no such variable.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.variables.lock().get(name)
    }

    pub(super) fn set(&mut self, set: &Set) -> Result<(), SqlError> {
        let (name, value, local) = match set {
            Set::SingleAssignment { scope, variable, values, .. } => {
                let texts: Vec<String> = values.iter().map(text_of).collect();
                let local = matches!(scope, Some(ContextModifier::Local));
                (variable.to_string(), texts.join(", "), local)
            }
            Set::SetTimeZone { local, value: Expr::Interval(offset) } => {
                ("timezone".to_owned(), text_of(&offset.value), *local)
            }
            Set::SetTimeZone { local, value } => ("timezone".to_owned(), text_of(value), *local),
            Set::SetNames { charset_name, .. } => {
                ("client_encoding".to_owned(), charset_name.to_string(), false)
            }
            Set::SetNamesDefault {} => ("client_encoding".to_owned(), "UTF8".to_owned(), false),
            Set::SetTransaction { modes, session, snapshot } => {
                if snapshot.is_some() {
                    return Err(SqlError::unsupported("SET TRANSACTION SNAPSHOT is not supported"));
                }
                return self.set_modes(modes, *session);
            }
            // There is one isolation level, and it is the strictest.
            Set::SetSessionParam(_) | Set::SetRole { .. } => return Ok(()),
            Set::SetSessionAuthorization(_) => return Ok(()),
            other => return Err(SqlError::unsupported(format!("{other} is not supported"))),
        };
        let name = name.trim_matches('"').to_owned();
        if value.eq_ignore_ascii_case("default") {
            return self.variables.lock().reset(Some(&name));
        }
        if matches!(
            name.to_lowercase().as_str(),
            "transaction_isolation" | "default_transaction_isolation"
        ) {
            return Ok(());
        }
        let is_open = self.block == Block::Explicit || self.block == Block::Implicit;
        if local && !is_open {
            let message = "SET LOCAL can only be used in transaction blocks";
            self.notice("WARNING", SqlState::NoActiveTransaction, message);
        }
        self.variables.lock().assign(&name, &value, local)?;
        Ok(())
    }

    /// READ ONLY and READ WRITE; every isolation level that is asked for is given, for there is
    /// one, the strictest.
    pub(super) fn set_modes(
        &mut self,
        modes: &[TransactionMode],
        session: bool,
    ) -> Result<(), SqlError> {
        for mode in modes {
            let TransactionMode::AccessMode(access) = mode else { continue };
            let read_only = matches!(access, TransactionAccessMode::ReadOnly);
            if session {
                let value = if read_only { "on" } else { "off" };
                self.variables.lock().assign("default_transaction_read_only", value, false)?;
            } else if self.transaction.is_some() {
                self.variables.lock().read_only = read_only;
            }
        }
        Ok(())
    }

    /// SHOW: a variable's value as rows; `None` if the statement is another one.
    pub(super) fn show(&self, statement: &DfStatement) -> Result<Option<Rows>, SqlError> {
        let DfStatement::Statement(statement) = statement else { return Ok(None) };
        let SqlStatement::ShowVariable { variable } = statement.as_ref() else { return Ok(None) };
        let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
        let (name, shown) = match words.join(" ").as_str() {
            "time zone" => ("timezone".to_owned(), "TimeZone".to_owned()),
            "transaction isolation level" => {
                ("transaction_isolation".to_owned(), "transaction_isolation".to_owned())
            }
            "streams" | "views" | "materialized views" => {
                let kinds: &[&str] = match words.first().map(String::as_str) {
                    Some("streams") => &["stream"],
                    Some("views") => &["view", "materialized view"],
                    _ => &["materialized view"],
                };
                let names = self.inner.catalog.list();
                let names =
                    names.into_iter().filter(|(_, definition)| kinds.contains(&definition.kind()));
                let names = names.map(|(name, _)| Some(name)).collect();
                return Ok(Some(Rows::new(text_rows("name", names)?.0, RowsTag::Word("SHOW"))));
            }
            _ => {
                let shown = REPORTED.iter().find(|(known, _)| *known == words.join("."));
                let name = words.join(".");
                (name.clone(), shown.map_or(name, |(_, shown)| (*shown).to_owned()))
            }
        };
        let value = self.variables.lock().known(&name)?;
        let rows = text_rows(&shown, vec![Some(value)])?;
        Ok(Some(Rows::new(rows.0, RowsTag::Word("SHOW"))))
    }
}

/// A value of SET as text.
fn text_of(expr: &Expr) -> String {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(name) => name.value.clone(),
        other => other.to_string().trim_matches('\'').to_owned(),
    }
}
