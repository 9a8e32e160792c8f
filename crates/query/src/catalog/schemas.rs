//! The catalog as DataFusion asks it: schema `public` with what has been declared, schema `sys` with the node's own tables.

use super::Definition;
use crate::database::Inner;
use crate::error::SqlError;
use crate::kv::KvTable;
use crate::stream::StreamTable;
use crate::system;
use crate::table::RowTable;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};
use std::sync::{Arc, Weak};

/// Schema `public`.
pub(crate) struct Public(pub(crate) Weak<Inner>);

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
        let declared = inner.catalog.list().into_iter().map(|(name, _)| name);
        std::iter::once("kv".to_owned()).chain(declared).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let inner = self.0.upgrade().ok_or_else(gone)?;
        if name == "kv" {
            return Ok(Some(Arc::new(KvTable::new(&inner.engine))));
        }
        let Some(definition) = inner.catalog.get(name) else {
            return undeclared_stream(&inner, name);
        };
        let table: Arc<dyn TableProvider> = match definition.as_ref() {
            Definition::Stream(stream) => Arc::new(StreamTable {
                engine: inner.engine.clone(),
                segments: inner.segments.clone(),
                name: name.to_owned(),
                definition: Arc::new(stream.clone()),
            }),
            Definition::Table(table) => Arc::new(RowTable::new(&inner.engine, name, table.clone())),
            Definition::View(_) => inner.views.table(name)?,
            Definition::External(external) => inner.external(external).await?,
            Definition::Query(query) => inner.query_view(query).await?,
        };
        Ok(Some(table))
    }

    fn table_exist(&self, name: &str) -> bool {
        name == "kv" || self.0.upgrade().is_some_and(|inner| inner.catalog.get(name).is_some())
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
        let inner = self.0.upgrade().ok_or_else(gone)?;
        match system::TABLES.iter().find(|table| table.name == name) {
            Some(table) => Ok(Some(system::read(table, &inner)?)),
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        system::TABLES.iter().any(|table| table.name == name)
    }
}
