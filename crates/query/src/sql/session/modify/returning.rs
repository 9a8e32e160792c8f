//! RETURNING: the rows that a change has written or taken away.

use super::*;
use crate::sql::walk::WalkMut;

/// The table that RETURNING looks at.
struct Returned<'a> {
    alias: &'a str,
    table: &'a TableDefinition,
    /// New values of its columns.
    new: Option<&'a [Option<SqlExpr>]>,
}

impl Returned<'_> {
    /// A column's value after the change.
    fn value(&self, index: usize, column: &Column) -> Result<SqlExpr, SqlError> {
        match self.new.and_then(|new| new.get(index)).and_then(Option::as_ref) {
            Some(value) => dialect::cast_expr(value.clone(), &dialect::assignable_sql(column)),
            None => {
                let text = format!("{}.{}", quoted(self.alias), quoted(&column.name));
                dialect::parse_expr(&text)
            }
        }
    }

    /// Adds all columns to the items.
    fn push_all(&self, out: &mut Vec<String>) -> Result<(), SqlError> {
        for (index, column) in self.table.columns.iter().enumerate() {
            out.push(format!(
                "{} AS {}",
                self.value(index, column)?,
                quoted(&dialect::distinct(&column.name, out.len()))
            ));
        }
        Ok(())
    }

    /// The name of the table's column that an expression is, if it is one.
    fn column_of(&self, expr: &SqlExpr) -> Option<String> {
        match expr {
            SqlExpr::Identifier(name) => Some(folded(name)),
            SqlExpr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] if folded(table) == self.alias => Some(folded(name)),
                _ => None,
            },
            _ => None,
        }
    }

    /// An expression with the columns' values in the place of their names.
    fn with_values(&self, expr: &SqlExpr) -> Result<SqlExpr, SqlError> {
        let mut expr = expr.clone();
        let mut failed = None;
        let _finished: ControlFlow<()> = expr.each_expr_mut(&mut |expr| {
            let column = self.column_of(expr);
            if let Some(index) = column.and_then(|column| self.table.position(&column))
                && let Some(column) = self.table.columns.get(index)
            {
                match self.value(index, column) {
                    Ok(value) => *expr = SqlExpr::Nested(Box::new(value)),
                    Err(error) => failed = Some(error),
                }
            }
            ControlFlow::Continue(())
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(expr),
        }
    }
}

impl Session {
    /// What RETURNING asks for, as items of the change's query, in which columns of the table have
    /// their new values.
    pub(super) fn returned_items(
        &self,
        items: &[SelectItem],
        alias: &str,
        table: &TableDefinition,
        new: Option<&[Option<SqlExpr>]>,
        others: bool,
    ) -> Result<Vec<String>, SqlError> {
        let returned = Returned { alias, table, new };
        let mut out = Vec::new();
        for item in items {
            match item {
                SelectItem::Wildcard(_) if others => {
                    return Err(SqlError::unsupported(
                        "RETURNING * with other tables is not supported",
                    )
                    .hint("name the columns, or table.*"));
                }
                SelectItem::Wildcard(_)
                | SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(_),
                    _,
                ) => returned.push_all(&mut out)?,
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    let name = match item {
                        SelectItem::ExprWithAlias { alias, .. } => folded(alias),
                        _ => dialect::name_of(expr),
                    };
                    let expr = returned.with_values(expr)?;
                    out.push(format!("{expr} AS {}", quoted(&dialect::distinct(&name, out.len()))));
                }
                other => {
                    return Err(SqlError::unsupported(format!(
                        "RETURNING {other} is not supported"
                    )));
                }
            }
        }
        Ok(out)
    }

    /// What an INSERT returns of the rows that it wrote.
    pub(super) async fn returning(
        &self,
        items: &[SelectItem],
        alias: &str,
        table: &TableDefinition,
        written: RecordBatch,
    ) -> Result<RecordBatch, SqlError> {
        let _columns = &table.columns;
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        let provider =
            datafusion::datasource::MemTable::try_new(written.schema(), vec![vec![written]])?;
        let text = format!(
            "SELECT {} FROM {} AS {}",
            items.join(", "),
            quoted("\u{1}returning"),
            quoted(alias)
        );
        let mut statement = query_of(&text)?;
        dialect::rewrite(&mut statement, self)?;
        let state = self.state(None)?;
        let list = crate::catalog::with_table(
            &self.inner,
            self.overlay(),
            "\u{1}returning",
            Arc::new(provider),
        )?;
        let mut state = state;
        state.register_catalog_list(list);
        let plan = dialect::narrow_literals(state.statement_to_plan(statement).await?)?;
        let physical_plan = physical(&state, &plan).await?;
        let schema = physical_plan.schema();
        let batches = collect_writes(execute_stream(physical_plan, state.task_ctx())?).await?;
        concat_batches(&schema, &batches).map_err(internal)
    }
}
