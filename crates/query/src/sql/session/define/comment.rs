//! COMMENT ON: comments on tables and columns, which are kept with them.

use super::super::Session;
use super::columns::ident;
use super::object_name;
use crate::catalog::Definition;
use crate::error::{SqlError, SqlState};
use datafusion::sql::sqlparser::ast::{CommentObject, ObjectName, ObjectNamePart};

impl Session {
    pub(super) fn comment(
        &mut self,
        object: &CommentObject,
        name: &ObjectName,
        comment: Option<&str>,
    ) -> Result<String, SqlError> {
        let (table, column) = match object {
            CommentObject::Table => (object_name(name)?, None),
            CommentObject::Column => {
                let mut parts = name.0.clone();
                let column = parts.pop();
                let column = column.as_ref().and_then(ObjectNamePart::as_ident).map(ident);
                if parts.is_empty() {
                    let message = "column name must be qualified";
                    return Err(SqlError::new(SqlState::SyntaxError, message));
                }
                (object_name(&ObjectName(parts))?, column)
            }
            other => {
                let message = format!(
                    "COMMENT ON {other} is not supported: only tables and columns have comments"
                );
                return Err(SqlError::unsupported(message));
            }
        };
        let old = self.definition(&table).ok_or_else(|| SqlError::unknown("relation", &table))?;
        let Definition::Table(definition) = old.as_ref() else {
            let message = format!("\"{table}\" is not a table: its comments are not kept");
            return Err(SqlError::new(SqlState::WrongObjectType, message));
        };
        let mut definition = definition.clone();
        // An empty comment is none.
        let comment = comment.filter(|comment| !comment.is_empty()).map(str::to_owned);
        match column {
            None => definition.comment = comment,
            Some(name) => {
                let mut columns = definition.columns.iter_mut();
                let column = columns.find(|column| column.name == name).ok_or_else(|| {
                    let message =
                        format!("column \"{name}\" of relation \"{table}\" does not exist");
                    SqlError::new(SqlState::UndefinedColumn, message)
                })?;
                column.comment = comment;
            }
        }
        self.put(&table, Some(old), Some(Definition::Table(definition)))?;
        Ok("COMMENT".to_owned())
    }
}
