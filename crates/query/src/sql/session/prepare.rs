//! Statements that are planned before they run: the types of their parameters, and the columns of
//! their answer.

use super::apart;
use super::{Prepared, Session, changes_rows, gives_plan};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect;
use crate::sql::statement::Statement;
use crate::tables::PointLookup;
use crate::values::pg_type;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

impl Session {
    /// Plans a statement whose client has said the types of some parameters, by their numbers.
    pub(crate) async fn prepare(
        &self,
        prepared: &mut Prepared,
        oids: &[u32],
    ) -> Result<(), SqlError> {
        prepared.type_oids = oids.to_vec();
        let types = oids.iter().map(|&oid| match oid {
            // It leaves that to us.
            0 | 705 => Ok(None),
            oid => dialect::field_of_oid(oid).map(Some).ok_or_else(|| {
                SqlError::new(
                    SqlState::UndefinedObject,
                    format!("type with OID {oid} does not exist"),
                )
            }),
        });
        self.prepare_with(prepared, types.collect::<Result<_, _>>()?).await
    }

    /// Plans a statement, to be run any number of times.
    pub(crate) async fn prepare_with(
        &self,
        prepared: &mut Prepared,
        mut types: Vec<Option<Field>>,
    ) -> Result<(), SqlError> {
        let Statement::Df(statement) = &prepared.statement else { return Ok(()) };
        if let Some(rows) = self.show(statement)? {
            prepared.schema = Some(rows.schema);
            return Ok(());
        }
        let count = dialect::count_parameters(statement)?;
        types.resize_with(count.max(types.len()), || None);
        if let DfStatement::Statement(inner) = statement.as_ref() {
            match inner.as_ref() {
                SqlStatement::Fetch { name, .. } => {
                    prepared.schema = self.cursor_schema(&super::control::folded(name));
                    return Ok(());
                }
                SqlStatement::Execute { name: Some(name), .. } => {
                    let name = name.to_string();
                    let found = self.statements.get(name.trim_matches('"'));
                    prepared.schema = found.and_then(|found| found.schema.clone());
                    return Ok(());
                }
                _ => {}
            }
        }
        let version = self.inner.catalog.version();
        if changes_rows(statement) {
            let (types, schema) = self.prepare_change(statement, types).await?;
            prepared.parameters = types;
            prepared.schema = schema;
        } else if gives_plan(statement) {
            prepared.parameters = self.infer(statement, types).await?;
            let plan = self.plan_query(statement, &prepared.parameters, &[]).await?;
            prepared.schema = Some(dialect::shown(&self.analyzed_schema(&plan).await?));
            if self.overlay().is_none() {
                prepared.version = version;
                prepared.lookup = PointLookup::of_plan(&plan, &self.inner.catalog);
                let by_value = prepared.parameters.iter().any(is_exact)
                    || dialect::has_parameters_in_tables(statement);
                prepared.plan = (!by_value).then_some(plan);
            }
        }
        Ok(())
    }

    /// The columns that a plan has when all types are settled.
    async fn analyzed_schema(&self, plan: &LogicalPlan) -> Result<SchemaRef, SqlError> {
        let state = self.state(self.transaction.as_ref())?;
        let options = state.config_options().clone();
        let (is_large, plan) = (apart::is_large_plan(plan), plan.clone());
        let analyzed =
            Box::pin(async move { state.analyzer().execute_and_check(plan, &options, |_, _| {}) });
        let plan = apart::planned(is_large, analyzed).await?;
        Ok(std::sync::Arc::new(plan.schema().as_arrow().clone()))
    }

    /// The columns of a prepared statement's answer as they are now: tables may have changed since.
    pub(crate) fn schema_now(&self, prepared: &Prepared) -> Option<SchemaRef> {
        prepared.schema.clone()
    }

    /// The types of a query's parameters: what the client says, what the query casts them to, what
    /// they are compared with; text where nothing tells.
    pub(super) async fn infer(
        &self,
        statement: &DfStatement,
        mut types: Vec<Option<Field>>,
    ) -> Result<Vec<Field>, SqlError> {
        dialect::types_of_casts(statement, &mut types)?;
        if types.iter().any(Option::is_none) {
            let known = types.clone();
            // A parameter without a type may be what does not fit: as text it says what does not.
            if let Ok(plan) = self.plan_with(statement, &known, &[]).await {
                dialect::types_of_plan(&plan, &mut types)?;
            }
        }
        let text = || Field::new("", DataType::Utf8View, true);
        Ok(types.into_iter().map(|known| known.unwrap_or_else(text)).collect())
    }

    /// The logical plan of a query, for parameters of these types; numbers without declared digits
    /// are put in by value.
    pub(super) async fn plan_query(
        &self,
        statement: &DfStatement,
        types: &[Field],
        values: &[ScalarValue],
    ) -> Result<LogicalPlan, SqlError> {
        let types: Vec<Option<Field>> = types.iter().cloned().map(Some).collect();
        self.plan_with(statement, &types, values).await
    }

    async fn plan_with(
        &self,
        statement: &DfStatement,
        types: &[Option<Field>],
        values: &[ScalarValue],
    ) -> Result<LogicalPlan, SqlError> {
        let mut statement = statement.clone();
        dialect::rewrite(&mut statement, self)?;
        dialect::type_parameters(&mut statement, types, values)?;
        let state = self.state(self.transaction.as_ref())?;
        let is_large = apart::is_large(&statement);
        let planning = Box::pin(async move {
            let plan = dialect::repair::plan(&state, statement).await?;
            dialect::show_names(dialect::narrow_literals(plan)?, &state)
        });
        apart::planned(is_large, planning).await
    }
}

/// Whether a parameter's digits are known only with its value.
fn is_exact(field: &Field) -> bool {
    pg_type::declared(field) == Some("numeric")
}
