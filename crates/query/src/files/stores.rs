//! Object stores by their addresses: `s3://bucket/…`. Credentials, region and endpoint come from
//! the usual `AWS_` variables. Folders of this machine need no such store.

use crate::error::{SqlError, SqlState};
use crate::files::file_cache::CachedFiles;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use std::sync::Arc;
use url::Url;

/// Opens a store when it is first named.
#[derive(Debug)]
pub(crate) struct Stores(DefaultObjectStoreRegistry);

impl Stores {
    /// The files of this machine are there from the beginning; so much of them may stay in memory.
    pub(crate) fn new(cache_bytes_max: usize) -> Result<Self> {
        let stores = DefaultObjectStoreRegistry::default();
        let files =
            Url::parse("file://").map_err(|error| DataFusionError::External(error.into()))?;
        stores.register_store(&files, Arc::new(CachedFiles::new(cache_bytes_max)));
        Ok(Self(stores))
    }
}

impl ObjectStoreRegistry for Stores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Ok(store) = self.0.get_store(url) {
            return Ok(store);
        }
        match open(url.as_str()).map_err(DataFusionError::from)? {
            Some((store, _)) => {
                self.0.register_store(url, store.clone());
                Ok(store)
            }
            // Says which addresses there are.
            None => self.0.get_store(url),
        }
    }
}

/// A store and a path within it.
pub(crate) type Place = (Arc<dyn ObjectStore>, Path);

/// The store of an address and the path within it; nothing where it is not the address of a store.
pub(crate) fn open(address: &str) -> Result<Option<Place>, SqlError> {
    if !address.starts_with("s3://") {
        return Ok(None);
    }
    let failed = |error: &dyn std::fmt::Display| {
        SqlError::new(SqlState::InvalidParameter, format!("cannot open {address}: {error}"))
            .hint("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT say how")
    };
    let url = Url::parse(address).map_err(|error| failed(&error))?;
    let bucket = url.host_str().ok_or_else(|| failed(&"it names no bucket"))?;
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .build()
        .map_err(|error| failed(&error))?;
    let path = Path::from_url_path(url.path()).map_err(|error| failed(&error))?;
    Ok(Some((Arc::new(store), path)))
}
