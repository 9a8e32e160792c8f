//! UPDATE and DELETE as queries: which rows they change, and what these rows are afterwards.

use super::*;

impl Session {
    pub(super) fn update_of(&self, update: Update) -> Result<Change, SqlError> {
        let TableFactor::Table { name, alias, .. } = &update.table.relation else {
            return Err(SqlError::unsupported("UPDATE works on tables only"));
        };
        let (name, definition) = self.target(name)?;
        let Definition::Table(table) = definition.as_ref() else {
            return Err(never_changed(&name));
        };
        let alias = alias.as_ref().map_or_else(|| name.clone(), |alias| folded(&alias.name));
        let mut new: Vec<Option<SqlExpr>> = vec![None; table.columns.len()];
        for assignment in &update.assignments {
            assign(&name, table, assignment, &mut new)?;
        }
        let mut items = vec![format!("{}.{KEY}", quoted(&alias))];
        for (column, value) in table.columns.iter().zip(&new) {
            let own = format!("{}.{}", quoted(&alias), quoted(&column.name));
            let value = match value {
                Some(value) => {
                    if column.identity == Some(Identity::Always) {
                        return Err(always(column));
                    }
                    dialect::cast_expr(value.clone(), &dialect::assignable_sql(column))?.to_string()
                }
                None => own,
            };
            items.push(format!("{value} AS {}", quoted(&format!("new {}", column.name))));
        }
        let mut returned = 0;
        if let Some(returning) = &update.returning {
            let others = update.from.is_some();
            for item in self.returned_items(returning, &alias, table, Some(&new), others)? {
                items.push(item);
                returned += 1;
            }
        }
        let from = match &update.from {
            Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => {
                from.clone()
            }
            None => Vec::new(),
        };
        let text = change_text(&items, &name, &alias, &from, update.selection.as_ref());
        let query = query_of(&text)?;
        Ok(Change { name, definition, kind: Kind::Update, query, returned })
    }

    pub(super) fn delete_of(&self, delete: Delete) -> Result<Change, SqlError> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let Some(TableFactor::Table { name, alias, .. }) = from.first().map(|from| &from.relation)
        else {
            return Err(SqlError::unsupported("DELETE works on tables only"));
        };
        let (name, definition) = self.target(name)?;
        let Definition::Table(table) = definition.as_ref() else {
            return Err(never_changed(&name));
        };
        let alias = alias.as_ref().map_or_else(|| name.clone(), |alias| folded(&alias.name));
        let mut items = vec![format!("{}.{KEY}", quoted(&alias))];
        let mut returned = 0;
        if let Some(returning) = &delete.returning {
            let others = delete.using.is_some();
            for item in self.returned_items(returning, &alias, table, None, others)? {
                items.push(item);
                returned += 1;
            }
        }
        let using = delete.using.clone().unwrap_or_default();
        let text = change_text(&items, &name, &alias, &using, delete.selection.as_ref());
        let query = query_of(&text)?;
        Ok(Change { name, definition, kind: Kind::Delete, query, returned })
    }
}
