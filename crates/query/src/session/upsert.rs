//! ON CONFLICT: what an INSERT does where the key is there already.

use super::define::object_name;
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlState};
use crate::table::Assignments;
use crate::types::loose_schema_of;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr as Logical;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
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
    Update(Box<Update>),
}

/// DO UPDATE SET … WHERE …
#[derive(Clone, Debug)]
pub(super) struct Update {
    /// What the table is called in it, where that is not its name.
    alias: Option<String>,
    /// Columns and what they get.
    assignments: Vec<(String, Expr)>,
    condition: Option<Expr>,
    /// Values of parameters, once they are known.
    values: Vec<ScalarValue>,
}

impl OnConflict {
    /// With values for the statement's parameters.
    pub(super) fn with_values(self, values: &[ScalarValue]) -> Self {
        match self {
            Self::Update(mut update) => {
                update.values = values.to_vec();
                Self::Update(update)
            }
            nothing => nothing,
        }
    }

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
        Ok(Some(Self::Update(Box::new(Update {
            alias: insert.table_alias.take().map(|alias| folded(&alias.alias)),
            assignments: assignments.collect::<Result<_, SqlError>>()?,
            condition: update.selection,
            values: Vec::new(),
        }))))
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
        let schema = self.schema(table, definition)?;
        let compute = |expr: &Expr, kind: Option<&DataType>| -> Result<_, SqlError> {
            let mut logical = self.logical(state, &schema, table, expr)?;
            logical = logical.transform(|expr| Ok(self.with_value(expr))).data()?;
            if let Some(kind) = kind {
                logical = datafusion::logical_expr::cast(logical, kind.clone());
            }
            physical(state, &schema, logical)
        };
        let mut values = Vec::new();
        for (column, value) in &self.assignments {
            let target = position(definition, column)?;
            if definition.primary_key.contains(&target) && !is_excluded(value, column) {
                let message =
                    format!("column \"{column}\" is part of the primary key and cannot be changed");
                return Err(SqlError::unsupported(message));
            }
            values.push((target, compute(value, Some(schema.field(target).data_type()))?));
        }
        Ok(Assignments {
            values,
            condition: self.condition.as_ref().map(|expr| compute(expr, None)).transpose()?,
            schema: schema.inner().clone(),
        })
    }

    /// The parameters in it, by their names, with their types where these are known.
    pub(super) fn parameters(
        &self,
        state: &SessionState,
        table: &str,
        definition: &TableDefinition,
    ) -> Result<Vec<(String, Option<DataType>)>, SqlError> {
        let schema = self.schema(table, definition)?;
        let mut found = Vec::new();
        let assigned = self.assignments.iter().map(|(column, value)| (Some(column), value));
        for (column, expr) in assigned.chain(self.condition.iter().map(|expr| (None, expr))) {
            let logical = self.logical(state, &schema, table, expr)?;
            let (logical, _) = logical.infer_placeholder_types(&schema)?;
            logical.apply(|inner| {
                if let Logical::Placeholder(placeholder) = inner {
                    let known = placeholder.field.as_ref().map(|field| field.data_type().clone());
                    // A column's new value as a whole.
                    let whole = column.filter(|_| matches!(logical, Logical::Placeholder(_)));
                    let target = whole.and_then(|column| position(definition, column).ok());
                    let own = target.map(|target| schema.field(target).data_type().clone());
                    found.push((placeholder.id.clone(), known.or(own)));
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(found)
    }

    fn called<'a>(&'a self, table: &'a str) -> &'a str {
        self.alias.as_deref().unwrap_or(table)
    }

    /// The row that is there, and the new one behind it.
    fn schema(&self, table: &str, definition: &TableDefinition) -> Result<DFSchema, SqlError> {
        let columns = loose_schema_of(&definition.columns);
        let of =
            |name: &str| DFSchema::try_from_qualified_schema(TableReference::bare(name), &columns);
        Ok(of(self.called(table))?.join(&of("excluded")?)?)
    }

    fn logical(
        &self,
        state: &SessionState,
        schema: &DFSchema,
        table: &str,
        expr: &Expr,
    ) -> Result<Logical, SqlError> {
        let (mut expr, called) = (expr.clone(), self.called(table));
        // A bare name is that of the row that is there.
        let _finished: ControlFlow<()> = visit_expressions_mut(&mut expr, |expr| {
            if let Expr::Identifier(name) = expr {
                let table = Ident::with_quote('"', called);
                *expr = Expr::CompoundIdentifier(vec![table, name.clone()]);
            }
            ControlFlow::Continue(())
        });
        Ok(state.create_logical_expr(&expr.to_string(), schema)?)
    }

    fn with_value(&self, expr: Logical) -> Transformed<Logical> {
        let Logical::Placeholder(placeholder) = &expr else { return Transformed::no(expr) };
        let number = placeholder.id.trim_start_matches('$').parse::<usize>().ok();
        match number.and_then(|number| self.values.get(number.checked_sub(1)?)) {
            Some(value) => Transformed::yes(Logical::Literal(value.clone(), None)),
            None => Transformed::no(expr),
        }
    }
}

fn position(definition: &TableDefinition, column: &str) -> Result<usize, SqlError> {
    let position = definition.columns.iter().position(|other| other.name == *column);
    position.ok_or_else(|| {
        let message = format!("column \"{column}\" does not exist");
        SqlError::new(SqlState::UndefinedColumn, message)
    })
}

/// `EXCLUDED.column`, which is what a key is already where it conflicts.
fn is_excluded(value: &Expr, column: &str) -> bool {
    matches!(value, Expr::CompoundIdentifier(parts)
        if matches!(parts.as_slice(), [table, name] if folded(table) == "excluded" && folded(name) == column))
}

fn physical(
    state: &SessionState,
    schema: &DFSchema,
    expr: Logical,
) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    let now = state.execution_props().query_execution_start_time;
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(state.config_options().clone())
        .with_query_execution_start_time(now)
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.coerce(expr, schema)?;
    // now() is a constant of the statement only after this.
    let expr = simplifier.simplify(expr)?;
    Ok(state.create_physical_expr(expr, schema)?)
}
