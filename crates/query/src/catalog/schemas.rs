//! The catalog as DataFusion asks it: schema `public` with what has been declared, schema `sys`
//! with the node's own tables.

use super::postgres::{OwnSchema, Places};
use super::{Definition, Overlay};
use crate::database::{DATABASE, Inner};
use crate::error::SqlError;
use crate::streams::StreamTable;
use crate::tables::kv::KvTable;
use crate::tables::system;
use crate::tables::{RowTable, WITH_KEYS};
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider, TableProvider,
};
use datafusion::common::{DataFusionError, Result};
use std::sync::{Arc, Weak};

/// Schema `public`, as everybody sees it or as one session does.
pub(crate) struct Public(pub(crate) Weak<Inner>, pub(crate) Overlay);

/// The catalogs as one session sees them.
pub(crate) fn overlaid(
    inner: &Arc<Inner>,
    overlay: Overlay,
) -> std::result::Result<Arc<dyn CatalogProviderList>, SqlError> {
    let shared = inner.context()?.state().catalog_list().clone();
    let list = MemoryCatalogProviderList::new();
    for name in shared.catalog_names() {
        let Some(catalog) = shared.catalog(&name) else { continue };
        if name != DATABASE {
            list.register_catalog(name, catalog);
            continue;
        }
        let rest = catalog.schema("pg_catalog");
        list.register_catalog(name, own_catalog(inner, &overlay, rest)?);
    }
    Ok(Arc::new(list))
}

/// Our catalog: what has been declared, the node's own tables, and what tools ask about both.
pub(crate) fn own_catalog(
    inner: &Arc<Inner>,
    overlay: &Overlay,
    rest: Option<Arc<dyn SchemaProvider>>,
) -> Result<Arc<dyn CatalogProvider>> {
    let own = MemoryCatalogProvider::new();
    let public: Arc<dyn SchemaProvider> = Arc::new(Public(Arc::downgrade(inner), overlay.clone()));
    let sys: Arc<dyn SchemaProvider> = Arc::new(Sys(Arc::downgrade(inner)));
    let places = Places { public: public.clone(), sys: sys.clone() };
    let information = OwnSchema::information_schema(inner, overlay.clone(), &places);
    let postgres = OwnSchema::pg_catalog(inner, overlay.clone(), &places, rest);
    own.register_schema("public", public)?;
    own.register_schema("sys", sys)?;
    own.register_schema("information_schema", Arc::new(information))?;
    own.register_schema("pg_catalog", Arc::new(postgres))?;
    Ok(Arc::new(own))
}

/// The same with one more table.
pub(crate) fn with_table(
    inner: &Arc<Inner>,
    overlay: Option<Overlay>,
    name: &str,
    table: Arc<dyn TableProvider>,
) -> std::result::Result<Arc<dyn CatalogProviderList>, SqlError> {
    let list = overlaid(inner, overlay.unwrap_or_default())?;
    if let Some(catalog) = list.catalog(DATABASE)
        && let Some(public) = catalog.schema("public")
    {
        let with = With { public, name: name.to_owned(), table };
        catalog.register_schema("public", Arc::new(with))?;
    }
    Ok(list)
}

/// A schema with one more table.
#[derive(Debug)]
struct With {
    public: Arc<dyn SchemaProvider>,
    name: String,
    table: Arc<dyn TableProvider>,
}

#[async_trait]
impl SchemaProvider for With {
    fn table_names(&self) -> Vec<String> {
        self.public.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name == self.name {
            return Ok(Some(self.table.clone()));
        }
        self.public.table(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        name == self.name || self.public.table_exist(name)
    }
}

impl Public {
    fn find(&self, inner: &Inner, name: &str) -> Option<Arc<Definition>> {
        match self.1.get(name) {
            Some(own) => own.clone(),
            None => inner.catalog.get(name),
        }
    }
}

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("public")
    }
}

/// The error while the node goes down.
pub(crate) fn gone() -> DataFusionError {
    SqlError::from(thalweg_node::EngineError::ShuttingDown).into()
}

#[async_trait]
impl SchemaProvider for Public {
    fn table_names(&self) -> Vec<String> {
        let Some(inner) = self.0.upgrade() else { return Vec::new() };
        let declared = inner.catalog.list().into_iter();
        let declared = declared.filter(|(name, definition)| {
            !self.1.contains_key(name) && !matches!(**definition, Definition::Sequence(_))
        });
        let own = self.1.iter().filter(|(_, definition)| definition.is_some());
        std::iter::once("kv".to_owned())
            .chain(declared.map(|(name, _)| name))
            .chain(own.map(|(name, _)| name.clone()))
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let inner = self.0.upgrade().ok_or_else(gone)?;
        if name == "kv" {
            return Ok(Some(Arc::new(KvTable::new(&inner.engine))));
        }
        let (name, with_keys) = match name.strip_prefix(WITH_KEYS) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let Some(definition) = self.find(&inner, name) else {
            // Postgres' own catalog is looked at wherever a name is.
            if name.starts_with("pg_")
                && let Some(schema) =
                    inner.context()?.catalog(DATABASE).and_then(|own| own.schema("pg_catalog"))
                && let Some(table) = schema.table(name).await?
            {
                return Ok(Some(table));
            }
            inner.catalog.refuse_damaged(name)?;
            return undeclared_stream(&inner, name);
        };
        let table: Arc<dyn TableProvider> = match definition.as_ref() {
            Definition::Stream(stream) => Arc::new(StreamTable {
                engine: inner.engine.clone(),
                segments: inner.segments.clone(),
                name: name.to_owned(),
                definition: Arc::new(stream.clone()),
            }),
            Definition::Table(table) => {
                let table = RowTable::new(&inner.engine, name, table.clone());
                Arc::new(if with_keys { table.with_keys() } else { table })
            }
            Definition::View(_) => inner.views.table(name)?,
            Definition::External(external) => inner.external(external).await?,
            Definition::Query(query) => inner.query_view(query).await?,
            Definition::Sequence(_) => return Ok(None),
        };
        Ok(Some(table))
    }

    fn table_exist(&self, name: &str) -> bool {
        name == "kv" || self.0.upgrade().is_some_and(|inner| self.find(&inner, name).is_some())
    }
}

/// A stream that was made by XADD and never declared.
fn undeclared_stream(inner: &Inner, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let reply = inner.engine.call(&[b"TYPE", name.as_bytes()]).map_err(SqlError::from)?;
    if reply.as_bytes() != Some(b"stream") {
        return Ok(None);
    }
    Ok(Some(Arc::new(StreamTable {
        engine: inner.engine.clone(),
        segments: inner.segments.clone(),
        name: name.to_owned(),
        definition: Arc::default(),
    })))
}

/// Schema `sys`.
pub(crate) struct Sys(pub(crate) Weak<Inner>);

impl std::fmt::Debug for Sys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sys")
    }
}

#[async_trait]
impl SchemaProvider for Sys {
    fn table_names(&self) -> Vec<String> {
        system::TABLES.iter().map(|table| table.name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = system::TABLES.iter().find(|table| table.name == name);
        Ok(table.map(|table| Arc::new(system::Reading::new(table, self.0.clone())) as _))
    }

    fn table_exist(&self, name: &str) -> bool {
        system::TABLES.iter().any(|table| table.name == name)
    }
}
