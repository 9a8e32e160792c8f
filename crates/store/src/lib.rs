//! The checkpoint store: what the state was at some position of the log, on disk.
//!
//! An LSM tree without a journal of its own, because the log is the journal. Each partition's
//! changes are written as one sorted, atomic ingestion, together with the LSN up to which they
//! reach. So after a crash either all of them are there or none. Keys in the tree:
//!
//! | bytes | what |
//! |---|---|
//! | `partition` (2, big-endian) `0` | checkpoint LSN (8), number of keys (8), little-endian |
//! | `partition` `1` key | a key's head |
//! | `partition` `2` key length (2, big-endian) key suffix | an element of a collection |
//! | `FF FF 0` | the store's format: version (4), number of partitions (4), little-endian |
//! | `FF FF 1` | number of lanes (2), zero (6), number of the cluster (8), little-endian |
//!
//! `FF FF 1` is missing where a version before it made the store: there is one lane then.
//!
//! What heads and elements hold is decided in `thalweg-machine`, `state/checkpoint.rs`.

mod filter;
mod layout;
mod reading;

use filter::KeyFilter;
pub use layout::Layout;
use lsm_tree::config::{BlockSizePolicy, CompressionPolicy, PinningPolicy};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, Guard, SequenceNumberCounter,
};
use parking_lot::{Mutex, RwLock};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MARK: u8 = 0;
const HEAD: u8 = 1;
const ELEMENT: u8 = 2;
/// Partition and tag.
const PREFIX_BYTES: usize = 3;
/// A table is flushed when it is done, and the log's next flush waits behind that: tables are
/// small.
const TABLE_BYTES: u64 = 8 << 20;
/// Readers always want the newest version.
const NEWEST: u64 = u64::MAX;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The LSM tree failed: the disk, or damage that its checksums found.
    #[error("the checkpoint store in {path} failed to {action}: {source}")]
    Tree {
        /// Where the store is.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the tree said.
        source: lsm_tree::Error,
    },
    /// The store is not what was expected.
    #[error("the checkpoint store in {path}: {what}")]
    Mismatch {
        /// Where the store is.
        path: PathBuf,
        /// What does not fit, and what to do.
        what: String,
    },
}

/// How far a partition's checkpoint reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Everything up to this LSN is in the store.
    pub lsn: u64,
    /// How many keys the store holds.
    pub keys: u64,
}

/// Changes to the store. No key, and no element of a key, stands in it twice.
#[derive(Clone, Debug, Default)]
pub struct Changes<'a> {
    /// Heads with their keys; `None` deletes.
    pub heads: Vec<(&'a [u8], Option<&'a [u8]>)>,
    /// Elements with their keys and suffixes; no value deletes.
    pub elements: Vec<Element<'a>>,
    /// Keys whose elements all go, except those in `elements`.
    pub drop_elements: Vec<&'a [u8]>,
    /// Everything goes, except what is in `heads` and `elements`.
    pub clear: bool,
}

/// A change of one element of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The collection's key.
    pub key: &'a [u8],
    /// What stands behind the key.
    pub suffix: &'a [u8],
    /// `None` deletes.
    pub value: Option<&'a [u8]>,
}

/// A key as found: its head, and if asked for its elements with their suffixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The head; `None` where there is no such key.
    pub head: Option<Vec<u8>>,
    /// Elements in the order of their suffixes.
    pub elements: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A name in the tree and its value; `None` deletes.
type Row<'a> = (Vec<u8>, Option<&'a [u8]>);

/// The checkpoint store of a node.
pub struct Store {
    path: PathBuf,
    tree: AnyTree,
    filters: Vec<RwLock<KeyFilter>>,
    cache_bytes: u64,
    layout: Layout,
    /// One ingestion at a time.
    writing: Mutex<()>,
}

impl Store {
    /// Opens the store, or creates an empty one with this layout.
    pub fn open(path: &Path, layout: Layout, cache_bytes: u64) -> Result<Self, StoreError> {
        let (seqno, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = Config::new(path, seqno.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(cache_bytes)))
            .data_block_size_policy(BlockSizePolicy::all(4_096))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
            // A table's filter is as large as many data blocks: fetching it for each read would
            // cost the most.
            .filter_block_pinning_policy(PinningPolicy::all(true))
            .index_block_pinning_policy(PinningPolicy::all(true))
            .open()
            .map_err(|source| StoreError::Tree { path: path.to_owned(), action: "open", source })?;
        let next = tree.get_highest_persisted_seqno().map_or(1, |highest| highest + 1);
        seqno.set(next);
        visible.set(next);
        let fresh = tree.get_highest_persisted_seqno().is_none();
        let filters = (0..layout.partitions).map(|_| RwLock::new(KeyFilter::new(fresh))).collect();
        let writing = Mutex::new(());
        let mut store = Self { path: path.to_owned(), tree, filters, cache_bytes, layout, writing };
        store.layout = store.kept_layout(layout)?;
        Ok(store)
    }

    /// A partition's mark; zeros where it was never checkpointed.
    pub fn mark(&self, partition: u16) -> Result<Mark, StoreError> {
        let Some(bytes) = self.get(&tree_key(partition, MARK, &[]))? else {
            return Ok(Mark::default());
        };
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        match (number(0), number(8)) {
            (Some(lsn), Some(keys)) => Ok(Mark { lsn, keys }),
            _ => Err(StoreError::Mismatch {
                path: self.path.clone(),
                what: format!("the mark of partition {partition} does not decode"),
            }),
        }
    }

    /// Writes a partition's changes and its mark, all or nothing. Heads in the order of their keys
    /// cost least.
    pub fn write(
        &self,
        partition: u16,
        mark: Mark,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock();
        changes.heads.sort_unstable_by_key(|&(key, _)| key);
        let mut elements = self.element_rows(partition, changes)?;
        let old_heads =
            if changes.clear { self.names(&tree_key(partition, HEAD, &[]))? } else { Vec::new() };
        // The filter first: a key may be looked for as soon as it is in the tree.
        if let Some(filter) = self.filters.get(usize::from(partition)) {
            let mut filter = filter.write();
            for (key, _) in changes.heads.iter().filter(|(_, head)| head.is_some()) {
                filter.insert(key);
            }
        }
        let mark = [mark.lsn.to_le_bytes(), mark.keys.to_le_bytes()].concat();
        let mut ingestion = self.tree.ingestion().map_err(self.failed("begin"))?;
        let mut write = |name: &[u8], value: Option<&[u8]>| match value {
            Some(value) => ingestion.write(name, value),
            None => ingestion.write_tombstone(name),
        };
        write(&tree_key(partition, MARK, &[]), Some(&mark)).map_err(self.failed("write"))?;
        let mut old_heads = old_heads.iter().peekable();
        let mut name = tree_key(partition, HEAD, &[]);
        for &(key, head) in &changes.heads {
            name.truncate(PREFIX_BYTES);
            name.extend_from_slice(key);
            while let Some(old) = old_heads.next_if(|old| **old < name) {
                write(old, None).map_err(self.failed("write"))?;
            }
            let _replaced = old_heads.next_if(|old| **old == name);
            write(&name, head).map_err(self.failed("write"))?;
        }
        for old in old_heads {
            write(old, None).map_err(self.failed("write"))?;
        }
        // Stable: what is written stands before the deletion of what was there, and wins.
        elements.sort_by(|(one, _), (other, _)| one.cmp(other));
        elements.dedup_by(|(later, _), (earlier, _)| later == earlier);
        for (name, value) in elements {
            write(&name, value).map_err(self.failed("write"))?;
        }
        ingestion.finish().map_err(self.failed("finish"))
    }

    /// Elements that change, then those that go with their keys.
    fn element_rows<'a>(
        &self,
        partition: u16,
        changes: &Changes<'a>,
    ) -> Result<Vec<Row<'a>>, StoreError> {
        let mut rows = Vec::with_capacity(changes.elements.len());
        for element in &changes.elements {
            let mut name = element_prefix(partition, element.key);
            name.extend_from_slice(element.suffix);
            rows.push((name, element.value));
        }
        let mut doomed: Vec<_> =
            changes.drop_elements.iter().map(|key| element_prefix(partition, key)).collect();
        if changes.clear {
            doomed.push(tree_key(partition, ELEMENT, &[]));
        }
        for prefix in doomed {
            rows.extend(self.names(&prefix)?.into_iter().map(|name| (name, None)));
        }
        Ok(rows)
    }

    /// What the tree holds that begins so.
    fn names(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let items = self.tree.prefix(prefix, NEWEST, None);
        items.map(|item| Ok(item.key().map_err(self.failed("read"))?.to_vec())).collect()
    }

    /// Merges tables until there is nothing to merge. For a background thread.
    pub fn compact(&self) -> Result<(), StoreError> {
        let strategy = lsm_tree::compaction::Leveled::default().with_table_target_size(TABLE_BYTES);
        let strategy = Arc::new(strategy);
        // One call does at most one step; an idle call is cheap.
        for _ in 0..8 {
            let before = self.tree.table_count();
            self.tree.compact(strategy.clone(), NEWEST).map_err(self.failed("compact"))?;
            if self.tree.table_count() == before {
                break;
            }
        }
        Ok(())
    }

    /// Fills a partition's filter from the keys on disk, so that absent keys need no reads. Until
    /// then every key is looked for.
    pub fn build_filter(&self, partition: u16) -> Result<(), StoreError> {
        let Some(filter) = self.filters.get(usize::from(partition)) else { return Ok(()) };
        if filter.read().is_complete() {
            return Ok(());
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let keys = self.keys_after(partition, after.as_deref(), 10_000)?;
            let mut filter = filter.write();
            for key in &keys {
                filter.insert(key);
            }
            match keys.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => {
                    filter.complete();
                    return Ok(());
                }
            }
        }
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.tree.disk_space()
    }

    /// Bytes of memory: filters, indexes, and what the cache of blocks may take.
    pub fn memory_bytes(&self) -> u64 {
        let filters: usize = self.filters.iter().map(|filter| filter.read().bytes()).sum();
        let pinned = self.tree.pinned_filter_size() + self.tree.pinned_block_index_size();
        (filters + pinned) as u64 + self.cache_bytes
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.tree.get(key, NEWEST).map_err(self.failed("read"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn failed(&self, action: &'static str) -> impl Fn(lsm_tree::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Tree { path: path.clone(), action, source }
    }
}

fn tree_key(partition: u16, tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key =
        Vec::with_capacity(PREFIX_BYTES + parts.iter().map(|part| part.len()).sum::<usize>());
    key.extend_from_slice(&partition.to_be_bytes());
    key.push(tag);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

fn element_prefix(partition: u16, key: &[u8]) -> Vec<u8> {
    tree_key(partition, ELEMENT, &[&(key.len() as u16).to_be_bytes(), key])
}
