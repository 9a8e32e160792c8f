//! Columns that a table loses, renames or changes.

use super::*;

impl Session {
    pub(super) async fn drop_column(
        &mut self,
        name: &str,
        column: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), SqlError> {
        let Some(old) = self.definition(name) else { return Ok(()) };
        let Definition::Table(table) = old.as_ref() else { return Ok(()) };
        let mut table = table.clone();
        let Some(at) = table.position(column) else {
            if if_exists {
                return Ok(());
            }
            let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
            return Err(SqlError::new(SqlState::UndefinedColumn, message));
        };
        if table.primary_key.contains(&at) {
            let message =
                format!("column \"{column}\" is part of the primary key and cannot be dropped");
            return Err(SqlError::unsupported(message));
        }
        let user =
            self.objects().into_iter().find(|(view, definition)| match definition.as_ref() {
                Definition::Query(query) => {
                    view != name
                        && dialect::reads(&query.query, name)
                        && query.query.contains(column)
                }
                _ => false,
            });
        if let Some((view, _)) = user.filter(|_| !cascade) {
            let message = format!(
                "cannot drop column {column} of table {name} because view {view} depends on it"
            );
            return Err(SqlError::new(SqlState::DependentObjects, message));
        }
        table.uniques.retain(|unique| !unique.columns.contains(&at));
        table.checks.retain(|check| !dialect::mentions(&check.condition, column));
        table.columns.remove(at);
        let moved = |index: &mut usize| *index -= usize::from(*index > at);
        table.primary_key.iter_mut().for_each(moved);
        table.uniques.iter_mut().flat_map(|unique| &mut unique.columns).for_each(moved);
        let sources = sources(&table, table.columns.len());
        self.rewrite_table(name, &old, table, sources).await?;
        self.drop_sequences(name, Some(column))
    }

    pub(super) fn rename_column(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        from: &str,
        to: &str,
    ) -> Result<(), SqlError> {
        if table.position(to).is_some() {
            let message = format!("column \"{to}\" of relation \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateColumn, message));
        }
        let at = table.position(from).ok_or_else(|| {
            SqlError::new(SqlState::UndefinedColumn, format!("column \"{from}\" does not exist"))
        })?;
        if table.checks.iter().any(|check| dialect::mentions(&check.condition, from)) {
            return Err(SqlError::unsupported("a column that a CHECK names cannot be renamed")
                .hint("drop the constraint first"));
        }
        if let Some(column) = table.columns.get_mut(at) {
            // Its sequence keeps its name.
            if column.identity.is_some() && column.default.is_none() {
                column.default = Some(nextval_of(&sequence_name(name, from)));
            }
            column.name = to.to_owned();
        }
        self.put(name, Some(old.clone()), Some(Definition::Table(table)))?;
        let renamed = |column: &str| if column == from { to } else { column }.to_owned();
        self.rename_owner(name, |column| (name.to_owned(), renamed(column)))
    }

    pub(super) async fn alter_column(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        column: &str,
        operation: &AlterColumnOperation,
    ) -> Result<(), SqlError> {
        let at = table.position(column).ok_or_else(|| {
            let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
            SqlError::new(SqlState::UndefinedColumn, message)
        })?;
        let is_key = table.primary_key.contains(&at);
        let Some(slot) = table.columns.get_mut(at) else { return Ok(()) };
        match operation {
            AlterColumnOperation::SetDefault { value } => slot.default = Some(value.to_string()),
            AlterColumnOperation::DropDefault => slot.default = None,
            AlterColumnOperation::DropNotNull if is_key => {
                let message = format!("column \"{column}\" is in a primary key");
                return Err(SqlError::new(SqlState::InvalidTableDefinition, message));
            }
            AlterColumnOperation::DropNotNull => slot.nullable = true,
            AlterColumnOperation::SetNotNull => {
                slot.nullable = false;
                let sources = sources(&table, table.columns.len());
                return self.rewrite_table(name, old, table, sources).await;
            }
            AlterColumnOperation::SetDataType { data_type, using, .. } => {
                slot.kind = crate::values::types::ColumnType::of_sql(data_type)?;
                let mut sources = sources(&table, table.columns.len());
                if let (Some(using), Some(source)) = (using, sources.get_mut(at)) {
                    *source = Source::Computed(using.to_string());
                }
                return self.rewrite_table(name, old, table, sources).await;
            }
            other => {
                return Err(SqlError::unsupported(format!(
                    "ALTER COLUMN {other} is not supported"
                )));
            }
        }
        self.check_table(name, &table)?;
        self.put(name, Some(old.clone()), Some(Definition::Table(table)))
    }

    pub(super) async fn rewrite_open(
        &mut self,
        name: &str,
        old: &Arc<Definition>,
        mut table: TableDefinition,
        sources: Vec<Source>,
    ) -> Result<(), SqlError> {
        let Definition::Table(before) = old.as_ref() else { return Ok(()) };
        let item = |(source, column): (&Source, &Column)| -> Result<String, SqlError> {
            let value = match source {
                Source::Old(column) => dialect::parse_expr(&quoted(column))?,
                Source::Computed(text) => dialect::parse_expr(text)?,
            };
            let value = dialect::cast_expr(value, &dialect::assignable_sql(column))?;
            Ok(format!("{value} AS {}", quoted(&format!("new {}", column.name))))
        };
        let items = sources.iter().zip(&table.columns).map(item).collect::<Result<Vec<_>, _>>()?;
        let text = format!("SELECT {} FROM {}", items.join(", "), quoted(name));
        let rows = self.rows_of(&text).await?;
        let storage = before.storage(name).into_owned();
        table.storage = Some(self.new_storage(name, table.temporary));
        self.put(name, Some(old.clone()), Some(Definition::Table(table.clone())))?;
        for batch in rows {
            let columns: Vec<ArrayRef> = batch.columns().to_vec();
            super::super::insert_rows(self, name, &table, &columns)?;
        }
        self.retire(Retired::Rows(storage))
    }

    pub(super) async fn rows_of(
        &self,
        text: &str,
    ) -> Result<Vec<datafusion::arrow::array::RecordBatch>, SqlError> {
        let Some(crate::sql::statement::Statement::Df(statement)) =
            crate::sql::statement::parse(text)?.pop()
        else {
            return Err(SqlError::new(SqlState::Internal, "a table's rows are no query"));
        };
        let plan = self.plan_query(&statement, &[], &[]).await?;
        let state = self.state(self.transaction.as_ref())?;
        let physical = super::super::super::physical(&state, &plan).await?;
        Ok(datafusion::physical_plan::collect(physical, state.task_ctx()).await?)
    }
}
