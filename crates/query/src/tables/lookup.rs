//! Rows by primary key: finds conditions of a query that name one row.

use super::row::{RowDecoder, bucket_key, bucket_of, damaged, put_key};
use crate::catalog::{Catalog, Definition, TableDefinition};
use crate::error::SqlError;
use crate::values::types::{Column, ColumnType};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use std::collections::BTreeSet;
use std::sync::Arc;
use thalweg_node::{Engine, Gates};

/// A prepared statement that asks for some columns of one row by its primary key.
#[derive(Clone, Debug)]
pub(crate) struct PointLookup {
    pub(crate) table: String,
    pub(crate) definition: Arc<TableDefinition>,
    /// Columns that are read, in the table's order.
    pub(crate) wanted: Vec<usize>,
    /// Columns of the answer, as positions among those.
    pub(crate) projection: Vec<usize>,
    /// For each column of the primary key, the number of the parameter that it equals, from 1.
    pub(crate) parameters: Vec<usize>,
}

impl PointLookup {
    /// Recognises `SELECT columns FROM table WHERE key = $1 AND …`.
    pub(crate) fn of_plan(plan: &LogicalPlan, catalog: &Catalog) -> Option<Self> {
        let LogicalPlan::Projection(projection) = plan else { return None };
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return None };
        let LogicalPlan::TableScan(scan) = filter.input.as_ref() else { return None };
        let table = scan.table_name.table().to_owned();
        let Some(Definition::Table(definition)) = catalog.get(&table).as_deref().cloned() else {
            return None;
        };
        if !matches!(scan.table_name.schema(), None | Some("public")) {
            return None;
        }
        let position = |name: &str| definition.columns.iter().position(|other| other.name == name);
        let columns = projection.expr.iter().map(|expr| match expr {
            Expr::Column(column) => position(&column.name),
            _ => None,
        });
        let chosen = columns.collect::<Option<Vec<_>>>()?;
        let wanted: Vec<usize> =
            chosen.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let place = |index| wanted.iter().position(|other| other == index);
        let projection = chosen.iter().filter_map(place).collect();
        let mut found = vec![None; definition.columns.len()];
        find_parameters(&filter.predicate, &position, &mut found)?;
        let given = found.iter().flatten().count();
        let parameters = definition.primary_key.iter().map(|&key| *found.get(key)?);
        let parameters = parameters.collect::<Option<Vec<_>>>()?;
        // A document is compared by its value, and several texts have one.
        let of_documents = definition
            .primary_key
            .iter()
            .filter_map(|&key| definition.columns.get(key))
            .any(|column| matches!(column.kind, ColumnType::Jsonb));
        if of_documents {
            return None;
        }
        // A condition on another column would have to be looked at, too. Rows of no columns are
        // rare enough for the long way.
        (given == parameters.len() && !parameters.is_empty() && !wanted.is_empty()).then(|| Self {
            table,
            definition: Arc::new(definition),
            wanted,
            projection,
            parameters,
        })
    }

    /// The columns of the key, each with the number of its parameter.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Column, usize)> {
        let columns = self.definition.primary_key.iter();
        let columns = columns.filter_map(|&index| self.definition.columns.get(index));
        columns.zip(self.parameters.iter().copied())
    }

    /// The row as a batch of no or one row.
    pub(crate) fn run(
        &self,
        engine: &Engine,
        schema: &SchemaRef,
        parameters: &[ScalarValue],
    ) -> Result<Option<(RecordBatch, Gates)>, SqlError> {
        let mut values = vec![None; self.definition.columns.len()];
        for (&key, &number) in self.definition.primary_key.iter().zip(&self.parameters) {
            if let Some(slot) = values.get_mut(key) {
                *slot = number.checked_sub(1).and_then(|index| parameters.get(index)).cloned();
            }
        }
        // What is not a key of this type may still equal one after coercion: the long way decides.
        let Some(key) = encode_values(&self.definition, &values) else { return Ok(None) };
        let storage = self.definition.storage(&self.table);
        let bucket = bucket_key(&storage, bucket_of(&key));
        let mut row = Vec::new();
        let (found, gates) =
            engine.enter_ungated(|engine| engine.read_field(&bucket, &key, &mut row))?;
        let found = found?;
        let is_wanted = |index| self.wanted.contains(&index);
        let mut rows = RowDecoder::of_some(&self.definition, 1, is_wanted);
        if found {
            rows.push(&row).ok_or_else(|| damaged(&self.table))?;
        }
        let columns = rows.finish();
        let chosen = self.projection.iter().filter_map(|&index| columns.get(index).cloned());
        let batch = RecordBatch::try_new(schema.clone(), chosen.collect())
            .map_err(|_| damaged(&self.table))?;
        Ok(Some((batch, gates)))
    }
}

/// Finds `column = $n`, and nothing else, in a condition; `None` where there is something else.
fn find_parameters(
    predicate: &Expr,
    position: &dyn Fn(&str) -> Option<usize>,
    found: &mut [Option<usize>],
) -> Option<()> {
    let Expr::BinaryExpr(binary) = predicate else { return None };
    match (binary.op, binary.left.as_ref(), binary.right.as_ref()) {
        (Operator::And, left, right) => {
            find_parameters(left, position, found)?;
            find_parameters(right, position, found)
        }
        (Operator::Eq, Expr::Column(column), value)
        | (Operator::Eq, value, Expr::Column(column)) => {
            let placeholder = match value {
                Expr::Placeholder(placeholder) => placeholder,
                Expr::Cast(cast) => match cast.expr.as_ref() {
                    Expr::Placeholder(placeholder) => placeholder,
                    _ => return None,
                },
                _ => return None,
            };
            let slot = found.get_mut(position(&column.name)?)?;
            let number = placeholder.id.trim_start_matches('$').parse().ok()?;
            slot.replace(number).is_none().then_some(())
        }
        _ => None,
    }
}

/// The one row that conditions allow, as its key.
pub(crate) fn key_of(definition: &TableDefinition, filters: &[Expr]) -> Option<Vec<u8>> {
    let mut values: Vec<Option<ScalarValue>> = vec![None; definition.columns.len()];
    for filter in filters {
        find_equal(definition, filter, &mut values);
    }
    encode_values(definition, &values)
}

/// The key with these values, one for each column; those beside the key do not matter.
pub(crate) fn encode_values(
    definition: &TableDefinition,
    values: &[Option<ScalarValue>],
) -> Option<Vec<u8>> {
    if definition.primary_key.is_empty() {
        return None;
    }
    let mut key = Vec::new();
    for &index in &definition.primary_key {
        let column = definition.columns.get(index)?;
        let value = values.get(index)?.as_ref()?;
        let kind = column.kind.arrow();
        let array = if value.data_type() == kind {
            value.to_array().ok()?
        } else {
            let cast = value.cast_to(&kind).ok()?;
            // 1.5 is not the key 1.
            if cast.cast_to(&value.data_type()).ok()? != *value {
                return None;
            }
            cast.to_array().ok()?
        };
        put_key(&mut key, &array, 0, column).ok()?;
    }
    Some(key)
}

fn find_equal(definition: &TableDefinition, filter: &Expr, values: &mut [Option<ScalarValue>]) {
    let Expr::BinaryExpr(binary) = filter else { return };
    match (binary.op, binary.left.as_ref(), binary.right.as_ref()) {
        (Operator::And, left, right) => {
            find_equal(definition, left, values);
            find_equal(definition, right, values);
        }
        (Operator::Eq, Expr::Column(column), Expr::Literal(value, _))
        | (Operator::Eq, Expr::Literal(value, _), Expr::Column(column)) => {
            let index = definition.columns.iter().position(|other| other.name == column.name);
            if let Some(slot) = index.and_then(|index| values.get_mut(index)) {
                *slot = Some(value.clone());
            }
        }
        _ => {}
    }
}
