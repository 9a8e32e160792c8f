//! Tables: made, filled from a query, emptied, retired.

use super::*;

impl Session {
    pub(super) async fn create_table(&mut self, create: &CreateTable) -> Result<String, SqlError> {
        let name = object_name(&create.name)?;
        columns::refuse_options(create)?;
        if let Some(query) = &create.query {
            return self.create_table_as(&name, create, query).await;
        }
        let (mut definition, sequences) = columns::table_definition(self, &name, create)?;
        definition.temporary = create.temporary;
        self.check_table(&name, &definition)?;
        self.make_table(&name, definition, sequences, create.if_not_exists)?;
        Ok("CREATE TABLE".to_owned())
    }

    /// Makes a table with the sequences that go with it.
    pub(super) fn make_table(
        &mut self,
        name: &str,
        mut definition: TableDefinition,
        sequences: Vec<(String, SequenceDefinition)>,
        if_not_exists: bool,
    ) -> Result<bool, SqlError> {
        let temporary = definition.temporary;
        definition.storage = Some(self.new_storage(name, temporary));
        if !self.declare(name, Definition::Table(definition), if_not_exists)? {
            return Ok(false);
        }
        for (sequence, numbers) in sequences {
            let numbers = SequenceDefinition { temporary, ..numbers };
            self.make_sequence(&sequence, numbers, false)?;
        }
        Ok(true)
    }

    /// A name under which no rows stand yet.
    pub(super) fn new_storage(&self, name: &str, temporary: bool) -> String {
        let key = crate::tables::new_key(self.inner.engine.now_ms());
        let digits: String = key.iter().skip(2).map(|byte| format!("{byte:02x}")).collect();
        let prefix = if temporary { format!("temp-{}-", self.number) } else { String::new() };
        format!("{prefix}{name}~{digits}")
    }

    /// Refuses a table whose defaults or conditions cannot be planned.
    pub(super) fn check_table(
        &self,
        name: &str,
        definition: &TableDefinition,
    ) -> Result<(), SqlError> {
        self.checks(name, definition)?;
        let state = self.state(None)?;
        let nothing = datafusion::common::DFSchema::empty();
        for column in &definition.columns {
            if let Some(default) = &column.default {
                let planned = dialect::plan_expr(&state, default, &nothing)?;
                if !planned.column_refs().is_empty() {
                    let message = "cannot use column reference in DEFAULT expression";
                    return Err(SqlError::unsupported(message));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn create_table_as(
        &mut self,
        name: &str,
        create: &CreateTable,
        query: &datafusion::sql::sqlparser::ast::Query,
    ) -> Result<String, SqlError> {
        use futures_util::StreamExt;
        if create.if_not_exists && self.definition(name).is_some() {
            let message = format!("relation \"{name}\" already exists, skipping");
            self.notice("NOTICE", SqlState::DuplicateTable, message);
            return Ok("CREATE TABLE AS".to_owned());
        }
        let statement =
            DfStatement::Statement(Box::new(SqlStatement::Query(Box::new(query.clone()))));
        let plan = self.plan_query(&statement, &[], &[]).await?;
        let state = self.state(self.transaction.as_ref())?;
        let physical = super::super::physical(&state, &plan).await?;
        let shown = dialect::shown(&physical.schema());
        let names: Vec<String> = create
            .columns
            .iter()
            .map(|column| super::super::control::folded(&column.name))
            .collect();
        let mut definition = columns::definition_of_schema(&shown, &names)?;
        definition.temporary = create.temporary;
        let mut rows = datafusion::physical_plan::execute_stream(physical, state.task_ctx())?;
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = rows.next().await.transpose()? {
            bytes += batch.get_array_memory_size();
            if bytes > ROWS_MAX_BYTES {
                let message =
                    format!("CREATE TABLE AS brings at most {} MiB", ROWS_MAX_BYTES >> 20);
                return Err(SqlError::new(SqlState::LimitExceeded, message)
                    .hint("create the table, then INSERT INTO … SELECT in parts"));
            }
            batches.push(batch);
        }
        drop(rows);
        let alone = self.block == Block::None;
        if alone {
            self.begin_implicit();
        }
        let made = self.fill(name, definition, batches);
        match (made, alone) {
            (Ok(count), true) => {
                tokio::task::block_in_place(|| self.end_implicit())?;
                Ok(format!("SELECT {count}"))
            }
            (Ok(count), false) => Ok(format!("SELECT {count}")),
            (Err(error), _) => Err(error),
        }
    }

    pub(super) fn fill(
        &mut self,
        name: &str,
        definition: TableDefinition,
        batches: Vec<RecordBatch>,
    ) -> Result<u64, SqlError> {
        self.make_table(name, definition, Vec::new(), false)?;
        let Some(definition) = self.definition(name) else { return Ok(0) };
        let Definition::Table(table) = definition.as_ref() else { return Ok(0) };
        let mut count = 0;
        for batch in batches {
            let columns = table.columns.iter().zip(batch.columns());
            let moment = self.moment();
            let columns = columns.map(|(column, array)| {
                dialect::cast_array(array, &dialect::assignable(column), &moment)
            });
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            count += insert_rows(self, name, table, &columns)?;
        }
        Ok(count)
    }

    pub(super) fn truncate(&mut self, truncate: &Truncate) -> Result<String, SqlError> {
        for target in &truncate.table_names {
            let name = object_name(&target.name)?;
            let Some(old) = self.definition(&name) else {
                if truncate.if_exists {
                    continue;
                }
                return Err(SqlError::unknown("relation", &name));
            };
            let Definition::Table(table) = old.as_ref() else {
                let message = format!("\"{name}\" is not a table");
                return Err(SqlError::new(SqlState::WrongObjectType, message));
            };
            let storage = table.storage(&name).into_owned();
            let mut now = table.clone();
            now.storage = Some(self.new_storage(&name, table.temporary));
            if truncate.identity == Some(TruncateIdentityOption::Restart) {
                self.restart_sequences(&name)?;
            }
            self.put(&name, Some(old), Some(Definition::Table(now)))?;
            self.retire(Retired::Rows(storage))?;
        }
        Ok("TRUNCATE TABLE".to_owned())
    }

    /// What nobody reaches any more goes when the transaction has happened.
    pub(super) fn retire(&mut self, retired: Retired) -> Result<(), SqlError> {
        match &self.transaction {
            Some(transaction) => {
                transaction.lock().retire(retired);
                Ok(())
            }
            None => retired.clear(&self.inner.engine),
        }
    }
}
