//! Segments: a stream's older records, sealed into Parquet files that any other engine reads as
//! they lie.
//!
//! A partition's newest records are entries of the node: in memory and in its log. When there are
//! many, the oldest are written to a file in an object store (usually a folder). Then the file is
//! named in the partition's manifest, and only then are the records trimmed from the entry. Readers
//! look at the manifest first: up to its last ID the files count, above it the entry. So no record
//! is missed, and none is read twice.
//!
//! The manifest of a partition is the hash `thalweg:segments:<key of the partition>`: a field for
//! each file, named like it, its value a [`Segment`] as JSON. Files are
//! `<stream>/<partition>/<first ID>-<when it was sealed>.parquet`, zstd, with statistics: `_id_ms`
//! and `_id_sequence` (the record's ID), the stream's columns, and `_rest`, the fields that are no
//! columns, as JSON.

mod file;
mod read;
mod seal;

pub(crate) use read::{SegmentReader, SegmentRows};

use crate::catalog::{Definition, StreamDefinition};
use crate::error::{SqlError, SqlState};
use crate::write::{Write, write_all};
use object_store::path::Path as StorePath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_machine::StreamId;
use thalweg_node::{Engine, Packed};

/// Fields of a segment's file beside the stream's columns.
pub(crate) const ID_MS: &str = "_id_ms";
pub(crate) const ID_SEQUENCE: &str = "_id_sequence";
pub(crate) const REST: &str = "_rest";
/// A file that no manifest names any more is kept this long for those who still read it.
const RETIRED_FOR: Duration = Duration::from_secs(600);

/// A sealed run of a partition's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// Its file, within the store.
    pub(crate) file: String,
    /// First and last ID, milliseconds and sequence.
    first: (u64, u64),
    last: (u64, u64),
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Segment {
    pub(crate) fn first(&self) -> StreamId {
        StreamId { ms: self.first.0, sequence: self.first.1 }
    }

    pub(crate) fn last(&self) -> StreamId {
        StreamId { ms: self.last.0, sequence: self.last.1 }
    }
}

/// Where files are.
struct Place {
    store: Arc<dyn ObjectStore>,
    root: Root,
}

/// How other programs, and queries, name the place.
enum Root {
    Folder(PathBuf),
    /// `s3://bucket/prefix`
    Address(String),
}

impl Place {
    fn open(address: &str) -> Result<Self, SqlError> {
        if let Some((store, prefix)) = crate::files::stores::open(address)? {
            let store = Arc::new(PrefixStore::new(store, prefix));
            return Ok(Self {
                store,
                root: Root::Address(address.trim_end_matches('/').to_owned()),
            });
        }
        let unusable = |error: std::io::Error| {
            let message = format!("segments cannot be kept in {address}: {error}");
            let hint = "let this user write there, or name another place with `segments`";
            SqlError::new(SqlState::Internal, message).hint(hint)
        };
        std::fs::create_dir_all(address).map_err(unusable)?;
        let folder = Path::new(address).canonicalize().map_err(unusable)?;
        let store = object_store::local::LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| failed("open the folder of segments", error))?;
        Ok(Self { store: Arc::new(store), root: Root::Folder(folder) })
    }

    fn location_of(&self, segment: &Segment) -> String {
        match &self.root {
            Root::Folder(folder) => folder.join(&segment.file).to_string_lossy().into_owned(),
            // As an address, which is decoded once.
            Root::Address(address) => format!("{address}/{}", segment.file.replace('%', "%25")),
        }
    }
}

/// A partition's segments, oldest first.
type List = Arc<Vec<Arc<Segment>>>;

/// The segments of all streams.
pub(crate) struct Segments {
    engine: Engine,
    runtime: tokio::runtime::Handle,
    /// Nothing: the node keeps no files, so nothing is sealed.
    place: Option<Place>,
    /// By the partition's key.
    lists: RwLock<BTreeMap<String, List>>,
    /// Files on their way out, and since when.
    retired: Mutex<Vec<(Instant, String)>>,
    /// Keys that may still have as entries what a crash has left in segments, too.
    untrimmed: Mutex<BTreeSet<String>>,
    /// One change at a time.
    changing: Mutex<()>,
}

fn failed(action: &str, error: impl std::fmt::Display) -> SqlError {
    SqlError::new(SqlState::Internal, format!("cannot {action}: {error}"))
}

fn manifest_key(key: &str) -> String {
    format!("thalweg:segments:{key}")
}

impl Segments {
    /// Opens the store, a folder or the address of a bucket; without one nothing is sealed.
    pub(crate) fn open(
        engine: &Engine,
        runtime: tokio::runtime::Handle,
        address: Option<&str>,
    ) -> Result<Self, SqlError> {
        let place = address.map(Place::open);
        Ok(Self {
            engine: engine.clone(),
            runtime,
            place: place.transpose()?,
            lists: RwLock::default(),
            retired: Mutex::default(),
            untrimmed: Mutex::default(),
            changing: Mutex::new(()),
        })
    }

    pub(crate) fn enabled(&self) -> bool {
        self.place.is_some()
    }

    /// Reads the manifests of the streams that are declared, and removes files that a crash has
    /// left without one.
    pub(crate) fn load(&self, objects: &[(String, Arc<Definition>)]) -> Result<(), SqlError> {
        for (name, definition) in objects {
            let Definition::Stream(stream) = definition.as_ref() else { continue };
            for partition in 0..stream.partitions {
                let key = stream.key(name, partition);
                let list = self.read_manifest(&key)?;
                // A bucket may be another node's, too: what a copy of its data directory does not
                // know is not a leftover.
                if matches!(&self.place, Some(Place { root: Root::Folder(_), .. })) {
                    self.sweep(&folder_of(name, partition), &list);
                }
                if !list.is_empty() {
                    self.untrimmed.lock().insert(key.clone());
                    self.lists.write().insert(key, Arc::new(list));
                }
            }
        }
        Ok(())
    }

    fn read_manifest(&self, key: &str) -> Result<Vec<Arc<Segment>>, SqlError> {
        let manifest = manifest_key(key).into_bytes();
        let mut fields = Packed::default();
        self.engine
            .enter_blocking(|engine| engine.read_fields(&manifest, &mut fields))?
            .map_err(SqlError::from)?;
        let values = fields.iter().skip(1).step_by(2);
        let segments = values.map(|value| {
            let segment: Segment = serde_json::from_slice(value)
                .map_err(|error| failed(&format!("read the manifest of \"{key}\""), error))?;
            Ok(Arc::new(segment))
        });
        let mut segments = segments.collect::<Result<Vec<_>, SqlError>>()?;
        segments.sort_by_key(|segment| segment.first());
        Ok(segments)
    }

    /// Removes the files of a folder that its manifest does not name.
    fn sweep(&self, folder: &StorePath, list: &[Arc<Segment>]) {
        let Some(place) = &self.place else { return };
        let there = self.wait(place.store.list_with_delimiter(Some(folder)), "list segments");
        let swept = there.and_then(|there| {
            for file in there.objects {
                let known = |segment: &Arc<Segment>| segment.file == file.location.as_ref();
                if !list.iter().any(known) {
                    self.wait(place.store.delete(&file.location), "remove a leftover segment")?;
                }
            }
            Ok(())
        });
        if let Err(error) = swept {
            tracing::warn!(%error, %folder, "leftover segments could not be removed");
        }
    }

    /// A partition's segments, oldest first.
    pub(crate) fn list(&self, key: &str) -> List {
        self.lists.read().get(key).cloned().unwrap_or_default()
    }

    /// The last ID that is sealed; below every record where none is.
    pub(crate) fn sealed_to(&self, key: &str) -> StreamId {
        self.lists
            .read()
            .get(key)
            .and_then(|list| Some(list.last()?.last()))
            .unwrap_or(StreamId::MIN)
    }

    /// The first segment that has anything above an ID.
    pub(crate) fn above(&self, key: &str, after: StreamId) -> Option<Arc<Segment>> {
        let lists = self.lists.read();
        let list = lists.get(key)?;
        let index = list.partition_point(|segment| segment.last() <= after);
        list.get(index).cloned()
    }

    /// The file as other programs name it.
    pub(crate) fn location_of(&self, segment: &Segment) -> Option<String> {
        Some(self.place.as_ref()?.location_of(segment))
    }

    /// The same, if the file is there and whole: a query must not pass over one that is missing.
    pub(crate) async fn check(&self, segment: &Segment) -> Result<String, SqlError> {
        let place =
            self.place.as_ref().ok_or_else(|| failed("read a segment", "no folder is set"))?;
        let location = place.location_of(segment);
        let action = || format!("read the segment {location}");
        let path = StorePath::parse(&segment.file).map_err(|error| failed(&action(), error))?;
        let about = place.store.head(&path).await.map_err(|error| failed(&action(), error))?;
        if about.size != segment.bytes {
            let what = format!("it has {} bytes, not {}", about.size, segment.bytes);
            return Err(failed(&action(), what));
        }
        Ok(location)
    }

    /// Blocks until the store has answered.
    fn wait<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>>,
        action: &str,
    ) -> Result<T, SqlError> {
        // On a thread of the runtime the others must be able to go on meanwhile.
        let answer = match tokio::runtime::Handle::try_current() {
            Ok(_) => tokio::task::block_in_place(|| self.runtime.block_on(work)),
            Err(_) => self.runtime.block_on(work),
        };
        answer.map_err(|error| failed(action, error))
    }

    /// Forgets a partition's segments that end before an ID. Their files go later.
    fn forget(&self, key: &str, before: StreamId) -> Result<(), SqlError> {
        let list = self.list(key);
        let old: Vec<_> = list.iter().take_while(|segment| segment.last() < before).collect();
        if old.is_empty() {
            return Ok(());
        }
        let manifest = manifest_key(key).into_bytes();
        let writes = old.iter().map(|segment| {
            let field = segment.file.clone().into_bytes();
            Write::DeleteField { key: manifest.clone(), field }
        });
        write_all(&self.engine, &writes.collect::<Vec<_>>())?;
        let rest: Vec<_> = list.iter().skip(old.len()).cloned().collect();
        self.lists.write().insert(key.to_owned(), Arc::new(rest));
        let now = Instant::now();
        self.retired.lock().extend(old.iter().map(|segment| (now, segment.file.clone())));
        Ok(())
    }

    /// Removes files that have been out of use for long.
    pub(crate) fn remove_retired(&self) {
        let Some(place) = &self.place else { return };
        let mut retired = self.retired.lock();
        let gone: Vec<String> = {
            let (old, young) =
                retired.drain(..).partition(|(since, _)| since.elapsed() >= RETIRED_FOR);
            *retired = young;
            let old: Vec<(Instant, String)> = old;
            old.into_iter().map(|(_, file)| file).collect()
        };
        drop(retired);
        for file in gone {
            let removed = self.wait(place.store.delete(&StorePath::from(file)), "remove a segment");
            if let Err(error) = removed {
                tracing::warn!(%error, "a segment that nothing needs could not be removed");
            }
        }
    }

    /// Keeps what a stream's retention allows: drops segments that are too old, and the oldest
    /// beyond its size.
    pub(crate) fn retain(
        &self,
        name: &str,
        stream: &StreamDefinition,
        oldest_ms: Option<u64>,
    ) -> Result<(), SqlError> {
        let _changing = self.changing.lock();
        if let Some(oldest_ms) = oldest_ms {
            for partition in 0..stream.partitions {
                self.forget(&stream.key(name, partition), StreamId { ms: oldest_ms, sequence: 0 })?;
            }
        }
        let Some(bytes_max) = stream.retention_bytes else { return Ok(()) };
        loop {
            let keys = (0..stream.partitions).map(|partition| stream.key(name, partition));
            let lists: Vec<(String, List)> =
                keys.map(|key| (key.clone(), self.list(&key))).collect();
            let bytes: u64 =
                lists.iter().flat_map(|(_, list)| list.iter()).map(|segment| segment.bytes).sum();
            if bytes <= bytes_max {
                return Ok(());
            }
            let firsts = lists.iter().filter_map(|(key, list)| Some((list.first()?.last(), key)));
            let Some((last, key)) = firsts.min() else { return Ok(()) };
            let Some(before) = last.next() else { return Ok(()) };
            self.forget(key, before)?;
        }
    }

    /// Forgets all segments of a stream, and their files at once. Before a stream is made, too: a
    /// crash may have left an earlier one of the name half dropped.
    pub(crate) fn drop_stream(
        &self,
        name: &str,
        stream: &StreamDefinition,
    ) -> Result<(), SqlError> {
        let _changing = self.changing.lock();
        for partition in 0..stream.partitions {
            let key = stream.key(name, partition);
            let manifest = manifest_key(&key).into_bytes();
            write_all(&self.engine, &[Write::Delete { key: manifest }])?;
            crate::streams::forget_marks(&self.engine, &key)?;
            self.lists.write().remove(&key);
            let folder = folder_of(name, partition);
            self.sweep(&folder, &[]);
            self.retired
                .lock()
                .retain(|(_, file)| !StorePath::from(file.as_str()).prefix_matches(&folder));
        }
        Ok(())
    }
}

/// Where a partition's files are.
fn folder_of(name: &str, partition: u16) -> StorePath {
    StorePath::from_iter([name.to_owned(), partition.to_string()])
}
