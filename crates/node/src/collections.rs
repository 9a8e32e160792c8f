//! Bulk reading of streams and hashes, for SQL and embedded use: a block of records or fields at a
//! time, copied under the partition's lock and looked at outside of it.

use crate::engine::Engine;
use crate::request::{Demand, Executed};
use thalweg_machine::{CommandError, StreamId};

/// Pieces of bytes, one after the other.
#[derive(Debug, Default)]
pub struct Packed {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Packed {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.ends.push(self.bytes.len());
    }

    /// How many bytes the pieces have together.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The pieces, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| match self.bytes.get(start..end) {
            Some(piece) => piece,
            None => unreachable!("every end is the length that the bytes have had"),
        })
    }

    /// Replaces the pieces by these.
    pub fn set<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        self.clear();
        for piece in pieces {
            self.push(piece);
        }
    }

    fn truncate(&mut self, pieces: usize) {
        self.ends.truncate(pieces);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
    }
}

/// A run of a stream's records.
#[derive(Debug, Default)]
pub struct RecordBlock {
    /// The records' IDs, ascending.
    pub ids: Vec<StreamId>,
    /// Each record's fields, as [`thalweg_machine::unpack_fields`] reads them.
    pub fields: Packed,
    /// The stream's last ID ever.
    pub last: StreamId,
}

impl RecordBlock {
    /// Records in the block.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Leaves out the records above an ID.
    pub fn truncate_after(&mut self, last: StreamId) {
        let keep = self.ids.partition_point(|&id| id <= last);
        self.ids.truncate(keep);
        self.fields.truncate(keep);
    }

    /// The records with their packed fields.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        self.ids.iter().copied().zip(self.fields.iter())
    }
}

impl Engine {
    /// Reads a stream's records above an ID into a block: at most so many, and no more once the
    /// block holds so many bytes. A stream that does not exist has none.
    pub fn read_records(
        &self,
        key: &[u8],
        after: StreamId,
        records_max: usize,
        bytes_max: usize,
        block: &mut RecordBlock,
    ) -> Executed<Result<(), CommandError>> {
        self.access(key, Demand::Nothing, |execution| {
            block.ids.clear();
            block.fields.clear();
            let last = execution.visit_records(key, after, &mut |id, fields| {
                block.ids.push(id);
                block.fields.push(fields);
                block.ids.len() < records_max && block.fields.byte_len() < bytes_max
            })?;
            block.last = last.unwrap_or(StreamId::MIN);
            Ok(())
        })
    }

    /// Reads all fields of a hash: names and values, alternating. A hash that does not exist has
    /// none.
    pub fn read_fields(
        &self,
        key: &[u8],
        fields: &mut Packed,
    ) -> Executed<Result<(), CommandError>> {
        self.access(key, Demand::Nothing, |execution| {
            fields.clear();
            execution.visit_fields(key, &mut |field, value| {
                fields.push(field);
                fields.push(value);
            })?;
            Ok(())
        })
    }
}
