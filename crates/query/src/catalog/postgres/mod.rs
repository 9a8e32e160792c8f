//! Postgres' own catalog, as far as psql, drivers and tools ask for it: `pg_catalog` and
//! `information_schema` over what has been declared here. Tables that never change, such as
//! `pg_type`, and tables that are always empty come from the library `datafusion-pg-catalog`.

mod activity;
mod backends;
mod constraints;
mod functions;
mod information;
mod listings;
mod relations;
mod rows;
mod types;

pub(crate) use functions::{NAME_OF_OID, OID_OF_NAME, register, relation_name};
pub(crate) use relations::{find, name_of_schema, number_of_schema, relations};
pub(crate) use types::{proc_name, proc_number};

use crate::catalog::{Definition, Overlay, SequenceDefinition, gone};
use crate::database::Inner;
use crate::sql::backends::Seen;
use crate::sql::dialect::field_of_oid;
use crate::tables::advisory::Key;
use crate::values::moment::Moment;
use crate::values::parse::array_of_texts;
use crate::values::pg_type;
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use relations::{Attribute, Relation};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// A row, each value as Postgres writes it.
type Row = Vec<Option<String>>;

/// A table of the catalog.
struct CatalogTable {
    name: &'static str,
    /// Whether it tells of columns: to know those of a view it must be planned, and of a file it
    /// must be opened.
    needs_columns: bool,
    /// Names and types, by turns.
    columns: &'static str,
    rows: fn(&Facts) -> Vec<Row>,
}

/// What the rows are made of.
#[derive(Default)]
struct Facts {
    relations: Vec<Relation>,
    /// By the relation's number.
    columns: HashMap<u32, Vec<Attribute>>,
    clients: Vec<Seen>,
    /// Advisory locks: session, lock, whether it is shared, whether it is held.
    locks: Vec<(u64, Key, bool, bool)>,
}

impl Facts {
    /// Sequences, with how they were declared.
    fn sequences(&self) -> impl Iterator<Item = (&Relation, &SequenceDefinition)> {
        self.relations.iter().filter_map(|relation| match relation.definition.as_deref()? {
            Definition::Sequence(sequence) => Some((relation, sequence)),
            _ => None,
        })
    }

    /// Relations with columns.
    fn with_columns(&self) -> impl Iterator<Item = (&Relation, &[Attribute])> {
        self.relations.iter().filter_map(|relation| {
            Some((relation, self.columns.get(&relation.oid).map(Vec::as_slice)?))
        })
    }
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

/// As Postgres writes true and false.
fn truth(value: bool) -> Option<String> {
    some(if value { "t" } else { "f" })
}

/// A schema of Postgres' own: tables of ours, then those of somebody else.
pub(crate) struct OwnSchema {
    inner: Weak<Inner>,
    overlay: Overlay,
    tables: Vec<&'static CatalogTable>,
    places: Places,
    rest: Option<Arc<dyn SchemaProvider>>,
}

impl std::fmt::Debug for OwnSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a schema of the catalog")
    }
}

/// Where the columns of relations are looked up.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) public: Arc<dyn SchemaProvider>,
    pub(crate) sys: Arc<dyn SchemaProvider>,
}

impl OwnSchema {
    /// `pg_catalog`.
    pub(crate) fn pg_catalog(
        inner: &Arc<Inner>,
        overlay: Overlay,
        places: &Places,
        rest: Option<Arc<dyn SchemaProvider>>,
    ) -> Self {
        Self {
            inner: Arc::downgrade(inner),
            overlay,
            tables: rows::TABLES.iter().chain(activity::TABLES).collect(),
            places: places.clone(),
            rest,
        }
    }

    /// `information_schema`.
    pub(crate) fn information_schema(
        inner: &Arc<Inner>,
        overlay: Overlay,
        places: &Places,
    ) -> Self {
        Self {
            tables: information::TABLES.iter().collect(),
            ..Self::pg_catalog(inner, overlay, places, None)
        }
    }
}

#[async_trait]
impl SchemaProvider for OwnSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.tables.iter().map(|table| table.name.to_owned()).collect();
        let rest = self.rest.iter().flat_map(|rest| rest.table_names());
        names.extend(rest.filter(|name| !self.tables.iter().any(|own| own.name == name)));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.tables.iter().find(|table| table.name == name) {
            return Ok(Some(Arc::new(Reading {
                inner: self.inner.clone(),
                overlay: self.overlay.clone(),
                places: self.places.clone(),
                schema: schema_of(table)?,
                table,
            })));
        }
        match &self.rest {
            Some(rest) => rest.table(name).await,
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table.name == name)
            || self.rest.as_ref().is_some_and(|rest| rest.table_exist(name))
    }
}

/// A table of the catalog as it is when it is read.
struct Reading {
    inner: Weak<Inner>,
    overlay: Overlay,
    places: Places,
    schema: SchemaRef,
    table: &'static CatalogTable,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.table.name)
    }
}

impl Reading {
    async fn facts(&self) -> Result<Facts> {
        let inner = self.inner.upgrade().ok_or_else(gone)?;
        let relations = relations(&inner, &self.overlay);
        let mut columns = HashMap::new();
        for relation in relations.iter().filter(|_| self.table.needs_columns) {
            if let Some(declared) = relations::declared_columns(relation) {
                columns.insert(relation.oid, declared);
                continue;
            }
            let found = match relation.schema {
                relations::PUBLIC if relation.index.is_none() => {
                    self.places.public.table(&relation.name).await
                }
                relations::SYS => self.places.sys.table(&relation.name).await,
                _ => continue,
            };
            // One that cannot be planned any more, its files gone, is there all the same.
            let found = found.ok().flatten().map(|table| relations::columns_of(&table.schema()));
            columns.insert(relation.oid, found.unwrap_or_default());
        }
        let clients = inner.backends.list();
        Ok(Facts { relations, columns, clients, locks: inner.locks.list() })
    }
}

#[async_trait]
impl TableProvider for Reading {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = (self.table.rows)(&self.facts().await?);
        let columns = self.schema.fields().iter().enumerate().map(|(index, field)| {
            let texts = rows.iter().map(|row| row.get(index).and_then(Option::as_deref));
            let texts: StringViewArray = texts.collect();
            array_of_texts(&texts, field, &Moment::default())
        });
        let columns: Vec<ArrayRef> = columns.collect::<std::result::Result<_, _>>()?;
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let table = MemTable::try_new(self.schema.clone(), vec![vec![batch]])?;
        table.scan(state, projection, filters, limit).await
    }
}

fn schema_of(table: &CatalogTable) -> Result<SchemaRef> {
    let mut words = table.columns.split_whitespace();
    let mut fields = Vec::new();
    while let (Some(name), Some(kind)) = (words.next(), words.next()) {
        fields.push(field_of(name, kind));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn field_of(name: &str, kind: &str) -> Field {
    let (element, is_array) = match kind.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (kind, false),
    };
    if element == "oid" && !is_array {
        return pg_type::field_of(name, DataType::Int64, "oid", true);
    }
    let found = pg_type::of_name(element);
    let oid = found.map_or(0, |found| if is_array { found.array_oid } else { found.oid });
    let field = field_of_oid(oid).unwrap_or_else(|| Field::new(name, DataType::Utf8View, true));
    field.with_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_type_and_every_row_its_columns() {
        let facts = Facts::default();
        for table in rows::TABLES.iter().chain(activity::TABLES).chain(information::TABLES) {
            let words: Vec<&str> = table.columns.split_whitespace().collect();
            assert_eq!(words.len() % 2, 0, "{}", table.name);
            for kind in words.iter().skip(1).step_by(2) {
                let element = kind.trim_end_matches("[]");
                assert!(pg_type::of_name(element).is_some(), "{}: {kind}", table.name);
            }
            for row in (table.rows)(&facts) {
                assert_eq!(row.len(), words.len() / 2, "{}", table.name);
            }
        }
    }
}
