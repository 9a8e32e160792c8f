//! Where the rows of an INSERT come from, and how a change is planned.

use super::*;

impl Session {
    /// The plan of the rows that a change writes, in the table's columns and types.
    pub(super) async fn plan_change(
        &self,
        change: &Change,
        types: &[Field],
        values: &[ScalarValue],
        transaction: Option<&Arc<Mutex<Transaction>>>,
    ) -> Result<LogicalPlan, SqlError> {
        let plan = self.plan_query_in(&change.query, types, values, transaction).await?;
        let plan = match values.is_empty() {
            true => plan,
            false => plan.with_param_values(ParamValues::from(values.to_vec()))?,
        };
        let Kind::Insert { targets, .. } = &change.kind else { return Ok(plan) };
        let columns = columns_of(&change.definition);
        let given: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let is_stream = matches!(change.definition.as_ref(), Definition::Stream(_));
        if is_stream && columns.is_empty() {
            return Ok(plan);
        }
        let state = self.state(transaction)?;
        let nothing = DFSchema::empty();
        let mut all = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let source = targets.iter().position(|&target| target == index);
            let value = match source.and_then(|source| given.get(source)) {
                Some(given) => given.clone(),
                None if is_stream => continue,
                None => match default_of(&change.name, column) {
                    Some(default) => dialect::plan_expr(&state, &default, &nothing)?,
                    None => Expr::Literal(ScalarValue::Null, None),
                },
            };
            let field = dialect::assignable(column);
            let value = dialect::cast_to(value, &field);
            all.push(value.alias(&column.name));
        }
        let plan = LogicalPlanBuilder::from(plan).project(all)?.build()?;
        Ok(dialect::narrow_literals(plan)?)
    }

    pub(super) async fn plan_query_in(
        &self,
        query: &DfStatement,
        types: &[Field],
        values: &[ScalarValue],
        _transaction: Option<&Arc<Mutex<Transaction>>>,
    ) -> Result<LogicalPlan, SqlError> {
        self.plan_query(query, types, values).await
    }

    /// The types of a change's parameters, and the columns of what it returns.
    pub(crate) async fn prepare_change(
        &self,
        statement: &DfStatement,
        mut types: Vec<Option<Field>>,
    ) -> Result<(Vec<Field>, Option<SchemaRef>), SqlError> {
        let change = self.change_of(statement)?;
        if let (Kind::Insert { conflict: Some(conflict), .. }, Definition::Table(table)) =
            (&change.kind, change.definition.as_ref())
        {
            conflict.types(self, &change.name, table, &mut types)?;
        }
        let types = self.infer(&change.query, types).await?;
        let plan = self.plan_change(&change, &types, &[], None).await?;
        let schema = match (&change.kind, change.definition.as_ref()) {
            (Kind::Insert { returning: Some(items), alias, .. }, Definition::Table(table)) => {
                let empty = RecordBatch::new_empty(schema_of(&table.columns));
                Some(self.returning(items, alias, table, empty).await?.schema())
            }
            (Kind::Insert { .. }, _) => None,
            _ if change.returned == 0 => None,
            _ => {
                let fields = plan.schema().fields();
                let skipped = fields.len().saturating_sub(change.returned);
                Some(Arc::new(Schema::new(
                    fields.iter().skip(skipped).cloned().collect::<Vec<_>>(),
                )))
            }
        };
        Ok((types, schema.map(|schema| dialect::shown(&schema))))
    }

    pub(super) fn target(&self, name: &ObjectName) -> Result<(String, Arc<Definition>), SqlError> {
        let name = super::super::define::object_name(name)?;
        let definition = self.definition(&name);
        let definition = definition.ok_or_else(|| SqlError::unknown("relation", &name))?;
        match definition.as_ref() {
            Definition::Table(_) | Definition::Stream(_) => Ok((name, definition)),
            other => Err(not_written(&name, other)),
        }
    }

    pub(super) fn change_of(&self, statement: &DfStatement) -> Result<Change, SqlError> {
        let DfStatement::Statement(statement) = statement else {
            return Err(SqlError::unsupported("this change is not supported"));
        };
        match statement.as_ref() {
            SqlStatement::Insert(insert) => self.insert_of(insert.clone()),
            SqlStatement::Update(update) => self.update_of(update.clone()),
            SqlStatement::Delete(delete) => self.delete_of(delete.clone()),
            other => Err(SqlError::unsupported(format!("{other} is not supported"))),
        }
    }

    pub(super) fn insert_of(&self, mut insert: Insert) -> Result<Change, SqlError> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into a function is not supported"));
        };
        let (name, definition) = self.target(name)?;
        let alias = insert.table_alias.as_ref().map(|alias| folded(&alias.alias));
        let conflict = OnConflict::take(&mut insert)?;
        let columns = columns_of(&definition);
        let mut targets = Vec::new();
        for given in &insert.columns {
            let given = super::super::define::object_name(given)?;
            let position = columns.iter().position(|column| column.name == given);
            let open = matches!(definition.as_ref(), Definition::Stream(stream)
                if stream.columns.is_empty());
            match position {
                Some(position) if targets.contains(&position) => {
                    let message = format!("column \"{given}\" specified more than once");
                    return Err(SqlError::new(SqlState::DuplicateColumn, message));
                }
                Some(position) => targets.push(position),
                None if open => {}
                None => return Err(no_column(&name, &given)),
            }
        }
        let listed = !insert.columns.is_empty();
        if !listed {
            targets = (0..columns.len()).collect();
        }
        let query = self.source_of(&name, &definition, &mut insert, &mut targets, listed)?;
        let returning = insert.returning.take();
        if returning.is_some() && matches!(definition.as_ref(), Definition::Stream(_)) {
            return Err(SqlError::unsupported("RETURNING is for tables, not for streams"));
        }
        let alias = alias.unwrap_or_else(|| name.clone());
        let kind = Kind::Insert { targets, conflict, returning, alias };
        Ok(Change { name, definition, kind, query, returned: 0 })
    }

    /// The query that gives an INSERT's rows; VALUES have the types of their columns.
    pub(super) fn source_of(
        &self,
        name: &str,
        definition: &Definition,
        insert: &mut Insert,
        targets: &mut Vec<usize>,
        listed: bool,
    ) -> Result<DfStatement, SqlError> {
        let columns = columns_of(definition);
        let Some(source) = insert.source.as_mut() else {
            targets.clear();
            return query_of("SELECT 1 AS nothing");
        };
        let open = columns.is_empty();
        if open {
            return self.open_source(insert);
        }
        if let SetExpr::Values(values) = source.body.as_mut() {
            let width = values.rows.iter().map(|row| row.len()).max().unwrap_or(0);
            check_width(width, targets, listed)?;
            for row in &mut values.rows {
                for (cell, &target) in row.content.iter_mut().zip(targets.iter()) {
                    let Some(column) = columns.get(target) else { continue };
                    if is_default(cell) {
                        let default = default_of(name, column).unwrap_or_else(|| "NULL".to_owned());
                        *cell = dialect::parse_expr(&default)?;
                    } else if column.identity == Some(Identity::Always) {
                        return Err(always(column));
                    }
                    let inner = std::mem::replace(cell, SqlExpr::Value(Value::Null.into()));
                    *cell = dialect::cast_expr(inner, &dialect::assignable_sql(column))?;
                }
            }
        } else if let Some(column) = targets
            .iter()
            .filter_map(|&target| columns.get(target))
            .find(|column| listed && column.identity == Some(Identity::Always))
        {
            return Err(always(column));
        }
        let statement = SqlStatement::Query(source.clone());
        let statement = DfStatement::Statement(Box::new(statement));
        if !matches!(source.body.as_ref(), SetExpr::Values(_))
            && let Some(width) = dialect::width_of(source)
        {
            check_width(width, targets, listed)?;
        }
        Ok(statement)
    }

    /// The source of rows for a stream without declared columns: they are called what the INSERT
    /// calls them.
    pub(super) fn open_source(&self, insert: &Insert) -> Result<DfStatement, SqlError> {
        let source = insert.source.as_ref().map(ToString::to_string).unwrap_or_default();
        if insert.columns.is_empty() {
            return query_of(&source);
        }
        let names: Vec<String> = insert.columns.iter().map(ToString::to_string).collect();
        query_of(&format!("SELECT * FROM ({source}) AS given({})", names.join(", ")))
    }
}

/// Rows that a COPY brings.
pub(crate) fn insert_rows(
    session: &mut Session,
    name: &str,
    table: &TableDefinition,
    columns: &[ArrayRef],
) -> Result<u64, SqlError> {
    let checks = session.checks(name, table)?;
    let columns = sized_columns(table, columns)?;
    let rows = columns.first().map_or(0, Array::len);
    session.in_transaction(|transaction, engine| {
        let mut writer = Writer::new(transaction, name, table, &checks, engine.now_ms());
        writer.insert(&columns, rows, &Conflict::Error)
    })
}
