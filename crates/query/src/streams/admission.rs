//! Records that Redis clients append to declared streams. A record must fit the stream's columns,
//! else it is refused or set aside, as the stream says. A record sent to the stream's name finds
//! its partition.

use crate::catalog::{Definition, OnError};
use crate::database::Inner;
use crate::streams::{misfit, partition_of};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use thalweg_machine::{CommandError, new_record};
use thalweg_node::Admitted;

impl Inner {
    /// Looks at the record of a command on its way to a key.
    pub(crate) fn admit(&self, key: &[u8], words: &[&[u8]]) -> Admitted {
        let Some((name, definition, number)) =
            std::str::from_utf8(key).ok().and_then(|key| self.stream_of(key))
        else {
            return Admitted::Here;
        };
        let Definition::Stream(stream) = definition.as_ref() else { return Admitted::Here };
        // What is not well formed is refused by the command itself.
        let Some(record) = new_record(words) else { return Admitted::Here };
        let value_of = |wanted: &str| {
            let mut pairs = record.fields.chunks_exact(2);
            pairs.find_map(|pair| match pair {
                [field, value] if *field == wanted.as_bytes() => Some(*value),
                _ => None,
            })
        };
        // Others are set aside by whoever reads them.
        if stream.on_error == OnError::Refuse
            && let Some((_, reason)) = misfit(stream, value_of)
        {
            return Admitted::Refused(CommandError::text(format!("stream \"{name}\": {reason}")));
        }
        if number.is_some() || stream.partitions == 1 {
            return Admitted::Here;
        }
        // A repetition must find the partition that remembers the first time.
        let turn = match record.idempotency.as_slice() {
            [] => self.turn.fetch_add(1, Ordering::Relaxed),
            request => xxhash_rust::xxh3::xxh3_64(request),
        };
        let number = partition_of(stream, |wanted| value_of(wanted).unwrap_or_default(), turn);
        Admitted::To(stream.key(name, number).into_bytes())
    }

    /// The stream that a key is, or is a partition of.
    fn stream_of<'a>(&self, key: &'a str) -> Option<(&'a str, Arc<Definition>, Option<u16>)> {
        if let Some(definition) = self.catalog.get(key) {
            return Some((key, definition, None));
        }
        let (name, number) = key.rsplit_once(':')?;
        // As keys are written: no sign, no zero in front.
        if !number.starts_with(|first: char| first.is_ascii_digit())
            || number.len() > 1 && number.starts_with('0')
        {
            return None;
        }
        let number: u16 = number.parse().ok()?;
        let definition = self.catalog.get(name)?;
        match definition.as_ref() {
            Definition::Stream(stream) if stream.partitions > 1 && number < stream.partitions => {
                Some((name, definition, Some(number)))
            }
            _ => None,
        }
    }
}
