//! ON CONFLICT: what an INSERT does where the key is there already.

use super::define::object_name;
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlState};
use crate::table::Assignments;
use crate::types::loose_schema_of;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, ConflictTarget, Expr, Ident, Insert, OnConflictAction, OnInsert,
    visit_expressions_mut,
};
use std::ops::ControlFlow;
use std::sync::Arc;

/// ON CONFLICT as it was written, before the table's columns are known.
#[derive(Clone, Debug)]
pub(super) enum OnConflict {
    Nothing,
    Update(Update),
}

/// DO UPDATE SET … WHERE …
#[derive(Clone, Debug)]
pub(super) struct Update {
    /// What the table is called in it, where that is not its name.
    alias: Option<String>,
    /// Columns and what they get.
    assignments: Vec<(String, Expr)>,
    condition: Option<Expr>,
}

impl OnConflict {
    /// Takes ON CONFLICT out of an INSERT.
    pub(super) fn take(insert: &mut Insert) -> Result<Option<Self>, SqlError> {
        let conflict = match insert.on.take() {
            None => return Ok(None),
            Some(OnInsert::OnConflict(conflict)) => conflict,
            Some(_) => {
                let message = "ON DUPLICATE KEY is not supported; ON CONFLICT is";
                return Err(SqlError::unsupported(message));
            }
        };
        if let Some(ConflictTarget::OnConstraint(name)) = &conflict.conflict_target {
            return Err(SqlError::unsupported(format!(
                "ON CONSTRAINT {name}: name the columns of the primary key"
            )));
        }
        let update = match conflict.action {
            OnConflictAction::DoNothing => return Ok(Some(Self::Nothing)),
            OnConflictAction::DoUpdate(update) => update,
        };
        let assignments = update.assignments.into_iter().map(|assignment| {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                return Err(SqlError::unsupported(format!("{assignment} is not supported"))
                    .hint("SET column = value, …"));
            };
            Ok((object_name(target)?, assignment.value))
        });
        Ok(Some(Self::Update(Update {
            alias: insert.table_alias.take().map(|alias| folded(&alias.alias)),
            assignments: assignments.collect::<Result<_, SqlError>>()?,
            condition: update.selection,
        })))
    }
}

fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

impl Update {
    /// The assignments, ready to be computed from the row that is there and the new one behind it.
    pub(super) fn resolve(
        &self,
        state: &SessionState,
        table: &str,
        definition: &TableDefinition,
    ) -> Result<Assignments, SqlError> {
        let name = self.alias.as_deref().unwrap_or(table);
        let columns = loose_schema_of(&definition.columns);
        let there = DFSchema::try_from_qualified_schema(name, &columns)?;
        let schema = there.join(&DFSchema::try_from_qualified_schema("excluded", &columns)?)?;
        let compute = |expr: &Expr, kind: Option<&DataType>| {
            compile(state, &schema, name, expr.clone(), kind)
        };
        let values = self.assignments.iter().map(|(column, value)| {
            let position = definition.columns.iter().position(|other| other.name == *column);
            let target = position.ok_or_else(|| {
                let message = format!("column \"{column}\" does not exist");
                SqlError::new(SqlState::UndefinedColumn, message)
            })?;
            if definition.primary_key.contains(&target) && !is_excluded(value, column) {
                let message =
                    format!("column \"{column}\" is part of the primary key and cannot be changed");
                return Err(SqlError::unsupported(message));
            }
            let kind = columns.field(target).data_type();
            Ok((target, compute(value, Some(kind))?))
        });
        Ok(Assignments {
            values: values.collect::<Result<_, SqlError>>()?,
            condition: self.condition.as_ref().map(|expr| compute(expr, None)).transpose()?,
            schema: schema.inner().clone(),
        })
    }
}

/// `EXCLUDED.column`, which is what a key is already where it conflicts.
fn is_excluded(value: &Expr, column: &str) -> bool {
    matches!(value, Expr::CompoundIdentifier(parts)
        if matches!(parts.as_slice(), [table, name] if folded(table) == "excluded" && folded(name) == column))
}

fn compile(
    state: &SessionState,
    schema: &DFSchema,
    table: &str,
    mut expr: Expr,
    kind: Option<&DataType>,
) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    // A bare name is that of the row that is there.
    let _finished: ControlFlow<()> = visit_expressions_mut(&mut expr, |expr| {
        if let Expr::Identifier(name) = expr {
            let table = Ident::with_quote('"', table);
            *expr = Expr::CompoundIdentifier(vec![table, name.clone()]);
        }
        ControlFlow::Continue(())
    });
    let mut logical = state.create_logical_expr(&expr.to_string(), schema)?;
    if let Some(kind) = kind {
        logical = datafusion::logical_expr::cast(logical, kind.clone());
    }
    Ok(state.create_physical_expr(logical, schema)?)
}
