//! Marks of a partition that fell silent: how far it lets event time go on without it.
//!
//! A mark is between two records, and stays there: it is written only while nothing has come after
//! the record that it follows. So every view finds the same marks before the same records, now or
//! in a replay years later, and counts the same records as late. If there are several marks in one
//! place, the highest counts, so a place keeps one.
//!
//! The marks of a partition are one hash, `thalweg:marks:<partition's key>`, in the log like
//! everything else:
//!
//! | field | value |
//! |---|---|
//! | ID of the record before, `<ms>-<sequence>`, or `0-0` | watermark: µs since 1970, decimal |

use super::texts_of;
use crate::error::{SqlError, SqlState};
use crate::write::{Write, write_all, write_all_in};
use thalweg_machine::{Reply, StreamId};
use thalweg_node::{Engine, Session};

/// A hash with more marks than this is looked through for those that no record needs any more.
const TRIM_MARKS: usize = 64;

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The record that it follows.
    pub(crate) after: StreamId,
    pub(crate) watermark_us: i64,
}

/// The marks of a partition, as far as they are known.
#[derive(Default)]
pub(crate) struct Marks {
    /// By the records that they follow.
    known: Vec<Mark>,
    /// No mark can come any more before this record.
    complete_to: StreamId,
}

fn marks_key(key: &str) -> String {
    format!("thalweg:marks:{key}")
}

impl Marks {
    /// The marks that follow a record from `first` on and stand before the record `last`, which has
    /// been read.
    pub(crate) fn between(
        &mut self,
        engine: &Engine,
        key: &str,
        (first, last): (StreamId, StreamId),
    ) -> Result<&[Mark], SqlError> {
        if self.complete_to < last {
            // What is there now is complete up to the last record that was there before we look.
            let newest = newest(engine, key)?;
            self.known = read(engine, key)?;
            self.complete_to = newest.max(last);
        }
        let from = self.known.partition_point(|mark| mark.after < first);
        let to = self.known.partition_point(|mark| mark.after < last);
        Ok(self.known.get(from..to).unwrap_or_default())
    }
}

/// How far a partition that has been read to its last record lets event time go on: the highest of
/// its marks up to there.
pub(crate) fn up_to(engine: &Engine, key: &str, last: StreamId) -> Result<Option<i64>, SqlError> {
    let marks = read(engine, key)?;
    Ok(marks.iter().filter(|mark| mark.after <= last).map(|mark| mark.watermark_us).max())
}

fn read(engine: &Engine, key: &str) -> Result<Vec<Mark>, SqlError> {
    let reply = engine.call(&[b"HGETALL", marks_key(key).as_bytes()])?;
    if let Reply::Error(error) = reply {
        return Err(error.into());
    }
    let fields = texts_of(&reply);
    let marks = fields.iter().map(|(after, watermark_us)| {
        let after = StreamId::parse(after.as_bytes(), 0)?;
        Some(Mark { after, watermark_us: watermark_us.parse().ok()? })
    });
    let marks: Option<Vec<Mark>> = marks.collect();
    let mut marks = marks.ok_or_else(|| {
        let message = format!("the marks of \"{key}\" cannot be read");
        SqlError::new(SqlState::Internal, message)
    })?;
    marks.sort_unstable_by_key(|mark| mark.after);
    Ok(marks)
}

/// The last ID that a partition has given out, whether its record is still there or not; the first
/// possible one where there is no partition yet.
pub(crate) fn newest(engine: &Engine, key: &str) -> Result<StreamId, SqlError> {
    if engine.call(&[b"EXISTS", key.as_bytes()])? == Reply::Integer(0) {
        return Ok(StreamId::MIN);
    }
    let reply = engine.call(&[b"XINFO", b"STREAM", key.as_bytes()])?;
    if let Reply::Error(error) = reply {
        return Err(error.into());
    }
    let newest = texts_of(&reply).remove("last-generated-id");
    let newest = newest.and_then(|id| StreamId::parse(id.as_bytes(), 0));
    newest.ok_or_else(|| SqlError::new(SqlState::Internal, format!("\"{key}\" has no last ID")))
}

/// Writes a mark behind a record, durably, unless another record came meanwhile. `first` is the
/// oldest record that the partition still has, and is asked for only where marks are many.
pub(crate) fn append(
    engine: &Engine,
    key: &str,
    mark: Mark,
    first: impl FnOnce() -> Result<StreamId, SqlError>,
) -> Result<bool, SqlError> {
    let marks_key = marks_key(key);
    let mut session = Session::trusted();
    engine.run_in(&mut session, &[b"WATCH", key.as_bytes(), marks_key.as_bytes()])?;
    let known = read(engine, key)?;
    let is_news = known
        .iter()
        .all(|known| known.after < mark.after || known.watermark_us < mark.watermark_us);
    if !is_news || newest(engine, key)? > mark.after {
        engine.run_in(&mut session, &[b"UNWATCH"])?;
        return Ok(false);
    }
    let key = marks_key.into_bytes();
    let (field, value) = (mark.after.to_text().to_vec(), mark.watermark_us.to_string());
    let value = value.into_bytes();
    let mut writes = vec![Write::PutField { key: key.clone(), field, value }];
    if known.len() > TRIM_MARKS {
        let first = first()?;
        let old = known.partition_point(|known| known.after < first);
        // The last of them still says how far event time was before the oldest record.
        let old = known.get(..old.saturating_sub(1)).unwrap_or_default();
        writes.extend(old.iter().map(|mark| {
            let field = mark.after.to_text().to_vec();
            Write::DeleteField { key: key.clone(), field }
        }));
    }
    write_all_in(engine, &mut session, &writes)
}

/// Forgets the marks of a partition.
pub(crate) fn forget(engine: &Engine, key: &str) -> Result<(), SqlError> {
    write_all(engine, &[Write::Delete { key: marks_key(key).into_bytes() }])
}
