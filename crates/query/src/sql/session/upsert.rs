//! ON CONFLICT: what an INSERT does with a row whose key is in the table already.

use super::Session;
use super::define::object_name;
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlState};
use crate::sql::dialect;
use crate::sql::walk::WalkMut;
use crate::tables::{Assignments, Conflict, Target};
use crate::values::types::{Column, loose_schema_of};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr as Logical;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, ConflictTarget, Expr, Ident, Insert, OnConflictAction, OnInsert,
};
use std::ops::ControlFlow;
use std::sync::Arc;

/// ON CONFLICT as it was written, before the table's columns are known.
#[derive(Clone, Debug)]
pub(super) enum OnConflict {
    Nothing(Option<Wanted>),
    Update(Option<Wanted>, Box<Update>),
}

/// What a conflict may be about, as it was written.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Columns(Vec<String>),
    Constraint(String),
}

impl Wanted {
    fn find(&self, name: &str, table: &TableDefinition) -> Result<Target, SqlError> {
        match self {
            Self::Columns(columns) => {
                let positions = columns.iter().map(|column| position(table, column));
                let mut positions = positions.collect::<Result<Vec<_>, _>>()?;
                positions.sort_unstable();
                positions.dedup();
                let same = |key: &[usize]| {
                    let mut key = key.to_vec();
                    key.sort_unstable();
                    key == positions
                };
                if same(&table.primary_key) && !positions.is_empty() {
                    return Ok(Target::PrimaryKey);
                }
                let found = table.uniques.iter().position(|unique| same(&unique.columns));
                found.map(Target::Unique).ok_or_else(|| {
                    SqlError::new(
                        SqlState::InvalidColumnReference,
                        "there is no unique or exclusion constraint matching the ON CONFLICT \
                         specification",
                    )
                })
            }
            Self::Constraint(constraint) => {
                if !table.primary_key.is_empty() && table.key_name(name) == *constraint {
                    return Ok(Target::PrimaryKey);
                }
                let found = table.uniques.iter().position(|unique| unique.name == *constraint);
                found.map(Target::Unique).ok_or_else(|| {
                    let message =
                        format!("constraint \"{constraint}\" for table \"{name}\" does not exist");
                    SqlError::new(SqlState::UndefinedObject, message)
                })
            }
        }
    }
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
    /// What is to be done, ready to be done.
    pub(super) fn resolve(
        &self,
        session: &Session,
        name: &str,
        table: &TableDefinition,
        values: &[ScalarValue],
    ) -> Result<Conflict, SqlError> {
        let find = |wanted: &Wanted| wanted.find(name, table);
        match self {
            Self::Nothing(wanted) => Ok(Conflict::Nothing(wanted.as_ref().map(find).transpose()?)),
            Self::Update(wanted, update) => {
                let target = match wanted {
                    Some(wanted) => find(wanted)?,
                    None => {
                        let message = "ON CONFLICT DO UPDATE requires inference specification or \
                                       constraint name";
                        return Err(SqlError::new(SqlState::SyntaxError, message)
                            .hint("For example, ON CONFLICT (column_name)."));
                    }
                };
                let update = Update { values: values.to_vec(), ..update.as_ref().clone() };
                let state = session.state(None)?;
                Ok(Conflict::Update(target, update.resolve(&state, name, table)?))
            }
        }
    }

    /// The types of the parameters in it that are not known yet.
    pub(super) fn types(
        &self,
        session: &Session,
        name: &str,
        table: &TableDefinition,
        types: &mut [Option<Field>],
    ) -> Result<(), SqlError> {
        let Self::Update(_, update) = self else { return Ok(()) };
        for (parameter, kind) in update.parameters(&session.state(None)?, name, table)? {
            let number = parameter.trim_start_matches('$').parse::<usize>().unwrap_or(0);
            let slot = number.checked_sub(1).and_then(|index| types.get_mut(index));
            if let (Some(slot @ None), Some(kind)) = (slot, kind) {
                *slot = Some(Field::new("", kind, true));
            }
        }
        Ok(())
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
        let wanted = match &conflict.conflict_target {
            None => None,
            Some(ConflictTarget::OnConstraint(name)) => {
                Some(Wanted::Constraint(object_name(name)?))
            }
            Some(ConflictTarget::Columns(columns)) => {
                Some(Wanted::Columns(columns.iter().map(folded).collect()))
            }
        };
        let update = match conflict.action {
            OnConflictAction::DoNothing => return Ok(Some(Self::Nothing(wanted))),
            OnConflictAction::DoUpdate(update) => update,
        };
        let assignments = update.assignments.into_iter().map(|assignment| {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                return Err(SqlError::unsupported(format!("{assignment} is not supported"))
                    .hint("SET column = value, …"));
            };
            Ok((object_name(target)?, assignment.value))
        });
        let update = Box::new(Update {
            alias: insert.table_alias.as_ref().map(|alias| folded(&alias.alias)),
            assignments: assignments.collect::<Result<_, SqlError>>()?,
            condition: update.selection,
            values: Vec::new(),
        });
        Ok(Some(Self::Update(wanted, update)))
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
        let compute = |expr: &Expr, kind: Option<&Field>| -> Result<_, SqlError> {
            let mut logical = self.logical(state, &schema, table, expr)?;
            logical = logical.transform(|expr| Ok(self.with_value(expr))).data()?;
            if let Some(kind) = kind {
                logical = dialect::cast_to(logical, kind);
            }
            physical(state, &schema, logical)
        };
        let mut values = Vec::new();
        for (column, value) in &self.assignments {
            let target = position(definition, column)?;
            values.push((
                target,
                compute(value, Some(&dialect::assignable(column_at(definition, target)?)))?,
            ));
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
        let _finished: ControlFlow<()> = expr.each_expr_mut(&mut |expr| {
            if let Expr::Identifier(name) = expr {
                let table = Ident::with_quote('"', called);
                *expr = Expr::CompoundIdentifier(vec![table, name.clone()]);
            }
            ControlFlow::Continue(())
        });
        dialect::plan_expr(state, &expr.to_string(), schema)
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

fn column_at(definition: &TableDefinition, at: usize) -> Result<&Column, SqlError> {
    definition.columns.get(at).ok_or_else(|| SqlError::new(SqlState::Internal, "no such column"))
}

fn position(definition: &TableDefinition, column: &str) -> Result<usize, SqlError> {
    let position = definition.columns.iter().position(|other| other.name == *column);
    position.ok_or_else(|| {
        let message = format!("column \"{column}\" does not exist");
        SqlError::new(SqlState::UndefinedColumn, message)
    })
}

/// An expression over rows of a schema, ready to be evaluated.
pub(super) fn physical(
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
