//! A stream's records in memory: chunks of 128, each with its IDs and one run of bytes.
//!
//! Appending touches the last chunk, trimming the first; a record in the middle that is deleted
//! leaves a hole until its chunk is empty.

use super::StreamId;
use std::collections::VecDeque;

const CHUNK_RECORDS: usize = 128;
/// A chunk with this many bytes takes no more, so that a hole never keeps much memory.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Records {
    chunks: VecDeque<Chunk>,
    len: usize,
    bytes: usize,
}

struct Chunk {
    ids: Vec<StreamId>,
    /// Where each record ends in `bytes`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
    /// One bit for each record: it was deleted.
    deleted: u128,
}

impl Chunk {
    fn live(&self) -> usize {
        self.ids.len() - self.deleted.count_ones() as usize
    }

    fn is_deleted(&self, index: usize) -> bool {
        self.deleted >> index & 1 == 1
    }

    fn record(&self, index: usize) -> Option<(StreamId, &[u8])> {
        if self.is_deleted(index) {
            return None;
        }
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        let end = *self.ends.get(index)? as usize;
        Some((*self.ids.get(index)?, self.bytes.get(start..end)?))
    }

    fn heap_bytes(&self) -> usize {
        self.ids.capacity() * 16 + self.ends.capacity() * 4 + self.bytes.capacity() + 96
    }
}

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record above all others.
    pub(crate) fn push(&mut self, id: StreamId, blob: &[u8]) {
        let full = self.chunks.back().is_none_or(|chunk| {
            chunk.ids.len() >= CHUNK_RECORDS
                || (!chunk.bytes.is_empty() && chunk.bytes.len() + blob.len() > CHUNK_BYTES)
        });
        if full {
            // The one before will not grow again.
            if let Some(chunk) = self.chunks.back_mut() {
                self.bytes -= chunk.heap_bytes();
                chunk.bytes.shrink_to_fit();
                self.bytes += chunk.heap_bytes();
            }
            let chunk = Chunk { ids: Vec::new(), ends: Vec::new(), bytes: Vec::new(), deleted: 0 };
            self.bytes += chunk.heap_bytes();
            self.chunks.push_back(chunk);
        }
        let Some(chunk) = self.chunks.back_mut() else { unreachable!("one was pushed") };
        self.bytes -= chunk.heap_bytes();
        chunk.ids.push(id);
        chunk.bytes.extend_from_slice(blob);
        chunk.ends.push(chunk.bytes.len() as u32);
        self.bytes += chunk.heap_bytes();
        self.len += 1;
    }

    /// The chunk that holds an ID if anything does, and the first index in it that is not below.
    fn locate(&self, id: StreamId) -> (usize, usize) {
        let chunk =
            self.chunks.partition_point(|chunk| chunk.ids.last().is_some_and(|&last| last < id));
        let index = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.ids.partition_point(|&other| other < id));
        (chunk, index)
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&[u8]> {
        let (chunk, index) = self.locate(id);
        let (found, blob) = self.chunks.get(chunk)?.record(index)?;
        (found == id).then_some(blob)
    }

    pub(crate) fn remove(&mut self, id: StreamId) {
        let (at, index) = self.locate(id);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        if chunk.ids.get(index) != Some(&id) || chunk.is_deleted(index) {
            return;
        }
        chunk.deleted |= 1 << index;
        self.len -= 1;
        if chunk.live() == 0
            && let Some(chunk) = self.chunks.remove(at)
        {
            self.bytes -= chunk.heap_bytes();
        }
    }

    pub(crate) fn first_id(&self) -> Option<StreamId> {
        self.iter_from(StreamId::MIN).next().map(|(id, _)| id)
    }

    pub(crate) fn last_id(&self) -> Option<StreamId> {
        self.iter_back_from(StreamId::MAX).next().map(|(id, _)| id)
    }

    /// Records from an ID on, that ID included.
    pub(crate) fn iter_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &[u8])> {
        let (first, index) = self.locate(start);
        self.chunks.range(first.min(self.chunks.len())..).enumerate().flat_map(
            move |(number, chunk)| {
                let from = if number == 0 { index } else { 0 };
                (from..chunk.ids.len()).filter_map(move |index| chunk.record(index))
            },
        )
    }

    /// Records from an ID down, that ID included.
    pub(crate) fn iter_back_from(&self, end: StreamId) -> impl Iterator<Item = (StreamId, &[u8])> {
        let (chunk, _) = self.locate(end);
        let upto = (chunk + 1).min(self.chunks.len());
        self.chunks.range(..upto).rev().flat_map(move |chunk| {
            let until = chunk.ids.partition_point(|&id| id <= end);
            (0..until).rev().filter_map(move |index| chunk.record(index))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_an_ordered_map() {
        let mut records = Records::default();
        let mut model: BTreeMap<StreamId, Vec<u8>> = BTreeMap::new();
        let mut random = 42u64;
        let mut last = StreamId::MIN;
        for step in 0..20_000u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random % 3 < 2 {
                last = StreamId { ms: last.ms + random % 2, sequence: last.sequence + 1 };
                let blob = step.to_le_bytes()[..(random >> 32) as usize % 8].to_vec();
                records.push(last, &blob);
                model.insert(last, blob);
            } else if let Some((&id, _)) =
                model.range(StreamId { ms: random % (last.ms + 1), sequence: 0 }..).next()
            {
                model.remove(&id);
                records.remove(id);
                assert!(records.get(id).is_none());
            }
        }
        assert_eq!(records.len(), model.len());
        let middle = StreamId { ms: last.ms / 2, sequence: 3 };
        let forward: Vec<_> =
            records.iter_from(middle).map(|(id, blob)| (id, blob.to_vec())).collect();
        let expected: Vec<_> =
            model.range(middle..).map(|(id, blob)| (*id, blob.clone())).collect();
        assert_eq!(forward, expected);
        let back: Vec<_> = records.iter_back_from(middle).map(|(id, _)| id).collect();
        let expected: Vec<_> = model.range(..=middle).rev().map(|(id, _)| *id).collect();
        assert_eq!(back, expected);
        for id in model.keys() {
            records.remove(*id);
        }
        assert_eq!((records.len(), records.bytes()), (0, 0));
    }
}
