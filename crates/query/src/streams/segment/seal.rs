//! Sealing: from a partition's oldest entries to a file, the manifest, and only then the trimming.

use super::file::{segment_properties, segment_schema};
use super::{Root, Segment, Segments, failed, folder_of, manifest_key};
use crate::catalog::{Catalog, StreamDefinition};
use crate::error::SqlError;
use crate::streams::{BLOCK_RECORDS, Decoder, Misfit, describe, info, info_rows, read_block};
use crate::write::{Write, write_all};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use datafusion::common::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use thalweg_machine::{StreamId, unpack_fields};
use thalweg_node::RecordBlock;

/// Records that are trimmed in one command: nobody waits long for the partition.
const TRIM_RECORDS: u64 = 4_096;

/// A segment ends when it has left out so many records: they are appended elsewhere in one
/// transaction.
const SEGMENT_MISFITS: usize = 4_096;

/// A file under way.
struct Sealed {
    bytes: Vec<u8>,
    first: StreamId,
    last: StreamId,
    records: u64,
    misfits: Vec<(Misfit, Vec<u8>)>,
}

impl Segments {
    /// Seals a partition's oldest records while it has twice as many as a segment, or, with `all`,
    /// down to the last.
    pub(crate) fn seal(
        &self,
        catalog: &Catalog,
        name: &str,
        partition: u16,
        all: bool,
    ) -> Result<u64, SqlError> {
        if self.place.is_none() {
            return Ok(0);
        }
        let _changing = self.changing.lock();
        // Looked up under the lock that dropping takes, too: the records are never read as those of
        // an earlier stream of the name.
        let Some(stream) = catalog.stream(name).filter(|stream| partition < stream.partitions)
        else {
            return Ok(0);
        };
        let stream = &stream;
        let key = stream.key(name, partition);
        if self.untrimmed.lock().remove(&key) {
            self.trim(&key)?;
        }
        let mut sealed = 0;
        loop {
            let about = info(&self.engine, &key);
            let number = |name: &str| about.get(name).and_then(|text| text.parse::<u64>().ok());
            let length = number("length").unwrap_or(0);
            let kept = if all { 0 } else { stream.segment_records };
            let wanted = length.saturating_sub(kept).min(stream.segment_records);
            if wanted == 0 || (!all && wanted < stream.segment_records) {
                return Ok(sealed);
            }
            let Some(file) = self.write(&key, stream, partition, wanted)? else {
                return Ok(sealed);
            };
            sealed += file.records;
            self.commit(name, &key, partition, file)?;
            self.trim(&key)?;
        }
    }

    /// The last record that nobody needs as an entry any more: every consumer group is done with
    /// it, and no idempotent producer can still repeat it, which is known by the record that is
    /// repeated.
    fn limit(&self, key: &str) -> StreamId {
        let full =
            describe(&self.engine, &[b"XINFO", b"STREAM", key.as_bytes(), b"FULL", b"COUNT", b"1"]);
        let tracked = full.get("iids-oldest-id").and_then(|id| StreamId::parse(id.as_bytes(), 0));
        let tracked = tracked.and_then(StreamId::previous);
        let groups = info_rows(&self.engine, &[b"XINFO", b"GROUPS", key.as_bytes()]);
        let limits = groups.iter().map(|group| {
            let id = |text: &String| StreamId::parse(text.as_bytes(), 0);
            let delivered = group.get("last-delivered-id").and_then(id).unwrap_or(StreamId::MIN);
            let name = group.get("name").map(String::as_str).unwrap_or_default();
            let pending = self.engine.call(&[b"XPENDING", key.as_bytes(), name.as_bytes()]);
            let oldest = pending
                .ok()
                .and_then(|reply| StreamId::parse(reply.elements().get(1)?.as_bytes()?, 0));
            match oldest {
                Some(oldest) => delivered.min(oldest.previous().unwrap_or(StreamId::MIN)),
                None => delivered,
            }
        });
        limits.chain(tracked).min().unwrap_or(StreamId::MAX)
    }

    /// Writes the records that follow the last segment to a file's bytes.
    fn write(
        &self,
        key: &str,
        stream: &StreamDefinition,
        partition: u16,
        records: u64,
    ) -> Result<Option<Sealed>, SqlError> {
        let (after, limit) = (self.sealed_to(key), self.limit(key));
        let names: HashSet<&[u8]> =
            stream.columns.iter().map(|column| column.name.as_bytes()).collect();
        let mut decoder = Decoder::new(stream);
        let mut writer = ArrowWriter::try_new(
            Vec::new(),
            segment_schema(stream),
            Some(segment_properties(stream).map_err(parquet)?),
        )
        .map_err(parquet)?;
        let mut sealed = Sealed {
            bytes: Vec::new(),
            first: after,
            last: after,
            records: 0,
            misfits: Vec::new(),
        };
        let mut block = RecordBlock::default();
        while sealed.records < records
            && sealed.last < limit
            && sealed.misfits.len() < SEGMENT_MISFITS
        {
            let wanted = (records - sealed.records).min(BLOCK_RECORDS as u64);
            read_block(&self.engine, key, sealed.last, wanted as usize, &mut block)?;
            block.truncate_after(limit);
            let (Some(&first), Some(&last)) = (block.ids.first(), block.ids.last()) else { break };
            let (batch, misfits) = decoder.decode(&block, partition);
            let rest = rest_of(&block, &names, stream.columns.is_empty(), &misfits);
            writer.write(&lay_out(stream, batch, &block, &misfits, rest)?).map_err(parquet)?;
            if sealed.records == 0 {
                sealed.first = first;
            }
            sealed.last = last;
            sealed.records += block.len() as u64;
            let record_of = |misfit: &Misfit| {
                let fields =
                    block.iter().find(|(id, _)| *id == misfit.id).map(|(_, fields)| fields);
                crate::streams::fields_as_json(fields.unwrap_or_default())
            };
            let misfits = misfits.into_iter().map(|misfit| (record_of(&misfit), misfit));
            sealed.misfits.extend(misfits.map(|(record, misfit)| (misfit, record)));
        }
        if sealed.records == 0 {
            return Ok(None);
        }
        sealed.bytes = writer.into_inner().map_err(parquet)?;
        Ok(Some(sealed))
    }

    /// Makes the file durable, then names it in the manifest. What did not fit its columns is in
    /// the stream of dead letters from that moment on.
    fn commit(
        &self,
        name: &str,
        key: &str,
        partition: u16,
        sealed: Sealed,
    ) -> Result<(), SqlError> {
        let Some(place) = &self.place else { return Ok(()) };
        let first = sealed.first;
        let file = folder_of(name, partition).join(format!(
            // The last part tells it from a file of the same records that is on its way out.
            "{:020}-{}-{}.parquet",
            first.ms,
            first.sequence,
            self.engine.now_ms()
        ));
        let segment = Arc::new(Segment {
            file: file.to_string(),
            first: (first.ms, first.sequence),
            last: (sealed.last.ms, sealed.last.sequence),
            records: sealed.records,
            bytes: sealed.bytes.len() as u64,
        });
        self.wait(place.store.put(&file, sealed.bytes.into()), "write a segment")?;
        if let Root::Folder(folder) = &place.root {
            sync(folder, &file)?;
        }
        let text = serde_json::to_vec(segment.as_ref())
            .map_err(|error| failed("write the manifest", error))?;
        let (manifest, file) = (manifest_key(key).into_bytes(), segment.file.clone().into_bytes());
        let mut writes = vec![Write::PutField { key: manifest, field: file, value: text }];
        writes.extend(sealed.misfits.into_iter().map(|(misfit, record)| Write::Append {
            key: format!("{name}.dead").into_bytes(),
            fields: vec![
                (b"reason".to_vec(), misfit.reason.into_bytes()),
                (b"record".to_vec(), record),
            ],
        }));
        write_all(&self.engine, &writes)?;
        let mut lists = self.lists.write();
        let mut list = lists.get(key).map(|list| list.as_ref().clone()).unwrap_or_default();
        list.push(segment);
        lists.insert(key.to_owned(), Arc::new(list));
        Ok(())
    }

    /// Takes from the entry what is in segments.
    fn trim(&self, key: &str) -> Result<(), SqlError> {
        let sealed_to = self.sealed_to(key);
        if sealed_to == StreamId::MIN {
            return Ok(());
        }
        let Some(keep) = sealed_to.next() else { return Ok(()) };
        let (keep, limit) = (keep.to_text(), TRIM_RECORDS.to_string());
        loop {
            // With `~` it may do less than it could, and a limit is allowed.
            let args: [&[u8]; 7] =
                [b"XTRIM", key.as_bytes(), b"MINID", b"~", &keep, b"LIMIT", limit.as_bytes()];
            match self.engine.call(&args)? {
                thalweg_machine::Reply::Integer(trimmed) if trimmed > 0 => {}
                thalweg_machine::Reply::Error(error) => return Err(error.into()),
                _ => break,
            }
        }
        match self.engine.call(&[b"XTRIM", key.as_bytes(), b"MINID", &keep])? {
            thalweg_machine::Reply::Error(error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn parquet(error: datafusion::parquet::errors::ParquetError) -> SqlError {
    SqlError::from(DataFusionError::from(error))
}

/// Whether a record is none of those that do not fit; they ascend.
fn fits(id: StreamId, misfits: &[Misfit]) -> bool {
    misfits.binary_search_by_key(&id, |misfit| misfit.id).is_err()
}

/// For each record that fits, its fields that are no columns, as JSON; nothing for most.
fn rest_of(
    block: &RecordBlock,
    names: &HashSet<&[u8]>,
    untyped: bool,
    misfits: &[Misfit],
) -> StringViewArray {
    let rest = block.iter().filter(|(id, _)| fits(*id, misfits)).map(|(_, fields)| {
        let known = untyped || unpack_fields(fields).step_by(2).all(|name| names.contains(name));
        if known {
            return None;
        }
        let mut object = serde_json::Map::new();
        let mut pieces = unpack_fields(fields);
        while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
            if !names.contains(name) {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                object.insert(text(name), text(value).into());
            }
        }
        Some(serde_json::Value::Object(object).to_string())
    });
    rest.collect()
}

/// The rows of a file: IDs before, the rest behind the columns.
fn lay_out(
    stream: &StreamDefinition,
    batch: RecordBatch,
    block: &RecordBlock,
    misfits: &[Misfit],
    rest: StringViewArray,
) -> Result<RecordBatch, SqlError> {
    let ids = || block.ids.iter().filter(|id| fits(**id, misfits));
    let ms: Int64Array = ids().map(|id| id.ms as i64).collect();
    let sequence: Int64Array = ids().map(|id| id.sequence as i64).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ms), Arc::new(sequence)];
    columns.extend(batch.columns().iter().cloned());
    columns.push(Arc::new(rest));
    RecordBatch::try_new(segment_schema(stream), columns)
        .map_err(|error| DataFusionError::from(error).into())
}

/// Makes a file and its folders survive a power cut: a store only promises that others see it.
fn sync(folder: &std::path::Path, file: &StorePath) -> Result<(), SqlError> {
    let path = folder.join(file.as_ref());
    File::open(&path)?.sync_all()?;
    for folder in path.ancestors().skip(1).take(3) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
