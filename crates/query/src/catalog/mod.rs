//! The catalog: what has been declared, by name. It lives in the node's log like any other data, so
//! it is as durable, and is read into memory when the node starts.

mod definition;
pub(crate) mod postgres;
mod schemas;

pub(crate) use definition::{
    Check, Definition, Emit, ExternalDefinition, OnError, Partitioner, QueryDefinition,
    SequenceDefinition, StreamDefinition, TableDefinition, Unique, ViewDefinition, Watermark,
};

pub(crate) use schemas::{gone, overlaid, own_catalog, with_table};

/// What some names mean for one session and nobody else; nothing: they are not there for it.
pub(crate) type Overlay = BTreeMap<String, Option<Arc<Definition>>>;

/// A change of the catalog: a name, what it meant before, what it means then.
pub(crate) type Change = (String, Option<Arc<Definition>>, Option<Arc<Definition>>);

use crate::error::{SqlError, SqlState};
use crate::write::{Write, write_all};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg_node::{Engine, Packed};

const KEY: &[u8] = b"thalweg:catalog";
/// Names that mean something else.
const RESERVED: &[&str] = &["kv"];
/// The longest name, as in Postgres.
const NAME_MAX_BYTES: usize = 63;

/// What has been declared.
pub(crate) struct Catalog {
    engine: Engine,
    objects: RwLock<BTreeMap<String, Arc<Definition>>>,
    /// Names whose definitions could not be read, and why: somebody else has written there. They
    /// cannot be used and not be declared anew, which would be over what they hold; nothing else
    /// suffers.
    damaged: BTreeMap<String, String>,
    /// One change at a time, from the check to the log.
    changing: Mutex<()>,
    /// Counts changes: a plan that was made before one is made anew.
    version: AtomicU64,
}

impl Catalog {
    /// Reads what the node's log says.
    pub(crate) fn open(engine: &Engine) -> Result<Self, SqlError> {
        let mut fields = Packed::default();
        // Where somebody has put another kind of value there, all is lost, but keys are not: the
        // node starts, and declaring something is refused by the key.
        if let Err(error) = engine.enter_blocking(|engine| engine.read_fields(KEY, &mut fields))? {
            tracing::error!(%error, "the catalog cannot be read: thalweg:catalog is no hash");
        }
        let (mut objects, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        let mut pieces = fields.iter();
        while let (Some(name), Some(text)) = (pieces.next(), pieces.next()) {
            let name = String::from_utf8_lossy(name).into_owned();
            match serde_json::from_slice(text) {
                Ok(definition) => {
                    objects.insert(name, Arc::new(definition));
                }
                Err(error) => {
                    tracing::error!(name, %error, "a definition in the catalog cannot be read");
                    damaged.insert(name, error.to_string());
                }
            }
        }
        Ok(Self {
            engine: engine.clone(),
            objects: RwLock::new(objects),
            damaged,
            changing: Mutex::new(()),
            version: AtomicU64::new(1),
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Definition>> {
        self.objects.read().get(name).cloned()
    }

    /// Refuses a name whose definition could not be read.
    pub(crate) fn refuse_damaged(&self, name: &str) -> Result<(), SqlError> {
        let Some(why) = self.damaged.get(name) else { return Ok(()) };
        let message = format!("the definition of \"{name}\" cannot be read: {why}");
        Err(SqlError::new(SqlState::DataCorrupted, message).hint(
            "it is the field of that name in the hash thalweg:catalog, where somebody else has \
             written; put back what was there, or delete the field with HDEL, and restart",
        ))
    }

    /// How often it has changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Everything, by name.
    pub(crate) fn list(&self) -> Vec<(String, Arc<Definition>)> {
        let objects = self.objects.read();
        objects.iter().map(|(name, definition)| (name.clone(), definition.clone())).collect()
    }

    /// The stream of a name.
    pub(crate) fn stream(&self, name: &str) -> Option<StreamDefinition> {
        match self.get(name).as_deref() {
            Some(Definition::Stream(stream)) => Some(stream.clone()),
            _ => None,
        }
    }

    /// Declares an object; false if it is there already and that is no error.
    pub(crate) fn create(
        &self,
        name: &str,
        definition: Definition,
        if_not_exists: bool,
    ) -> Result<bool, SqlError> {
        self.create_after(name, definition, if_not_exists, || Ok(()))
    }

    /// The same after some preparation, which is made only if the object is new, and by nobody else
    /// at the same time.
    pub(crate) fn create_after(
        &self,
        name: &str,
        definition: Definition,
        if_not_exists: bool,
        prepare: impl FnOnce() -> Result<(), SqlError>,
    ) -> Result<bool, SqlError> {
        let _changing = self.changing.lock();
        check_name(name)?;
        self.refuse_damaged(name)?;
        if let Some(other) = self.get(name) {
            if if_not_exists && other.kind() == definition.kind() {
                return Ok(false);
            }
            let message = format!("{} \"{name}\" already exists", other.kind());
            return Err(SqlError::new(SqlState::DuplicateTable, message));
        }
        prepare()?;
        self.write(name, definition)?;
        Ok(true)
    }

    /// Puts another definition in the place of one that is there, if it is still the one that was
    /// seen.
    pub(crate) fn replace(
        &self,
        name: &str,
        seen: &Definition,
        definition: Definition,
    ) -> Result<(), SqlError> {
        let _changing = self.changing.lock();
        if self.get(name).as_deref() != Some(seen) {
            return Err(SqlError::new(
                SqlState::SerializationFailure,
                format!("\"{name}\" was changed by somebody else meanwhile"),
            ));
        }
        self.write(name, definition)
    }

    fn write(&self, name: &str, definition: Definition) -> Result<(), SqlError> {
        let text = serde_json::to_vec(&definition)
            .map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))?;
        let (key, field) = (KEY.to_vec(), name.as_bytes().to_vec());
        write_all(&self.engine, &[Write::PutField { key, field, value: text }])?;
        self.objects.write().insert(name.to_owned(), Arc::new(definition));
        self.version.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Forgets an object.
    pub(crate) fn drop(&self, name: &str) -> Result<(), SqlError> {
        self.drop_after(name, || Ok(()))
    }

    /// The same after its data have gone: if that is cut short, the object is still there, and can
    /// be dropped again.
    pub(crate) fn drop_after(
        &self,
        name: &str,
        clear: impl FnOnce() -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let _changing = self.changing.lock();
        clear()?;
        let (key, field) = (KEY.to_vec(), name.as_bytes().to_vec());
        write_all(&self.engine, &[Write::DeleteField { key, field }])?;
        self.objects.write().remove(name);
        self.version.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Makes several changes at once, together with what `run` adds to them: all of it, or nothing
    /// where somebody else was faster.
    pub(crate) fn change(
        &self,
        changes: &[Change],
        run: impl FnOnce(Vec<Write>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let _changing = self.changing.lock();
        let mut writes = Vec::with_capacity(changes.len());
        for (name, seen, now) in changes {
            if self.get(name) != *seen {
                let message = format!("\"{name}\" was changed by somebody else meanwhile");
                return Err(SqlError::new(SqlState::SerializationFailure, message));
            }
            let (key, field) = (KEY.to_vec(), name.as_bytes().to_vec());
            writes.push(match now {
                Some(definition) => {
                    check_name(name)?;
                    self.refuse_damaged(name)?;
                    let value = serde_json::to_vec(definition.as_ref())
                        .map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))?;
                    Write::PutField { key, field, value }
                }
                None => Write::DeleteField { key, field },
            });
        }
        run(writes)?;
        let mut objects = self.objects.write();
        for (name, _, now) in changes {
            match now {
                Some(definition) => objects.insert(name.clone(), definition.clone()),
                None => objects.remove(name),
            };
        }
        drop(objects);
        self.version.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), SqlError> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name.contains(['\0', '/']) {
        let message =
            format!("\"{name}\" cannot be a name: 1 to {NAME_MAX_BYTES} bytes, without '/'");
        return Err(SqlError::new(SqlState::InvalidDefinition, message));
    }
    if RESERVED.contains(&name) || name.starts_with("thalweg:") {
        let message = format!("\"{name}\" is reserved");
        return Err(SqlError::new(SqlState::DuplicateTable, message));
    }
    Ok(())
}
