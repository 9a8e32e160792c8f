//! Effects read back from bytes.

use super::*;

/// Reads encoded effects with their LSNs. Stops with an error at the first that makes no sense.
pub struct Effects<'a> {
    rest: &'a [u8],
    lsn: Lsn,
}

impl<'a> Effects<'a> {
    /// The effects in a batch's payload.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, lsn: 0 }
    }

    fn decode(&mut self) -> Option<(Lsn, Effect<'a>)> {
        let mut operation = take_u8(&mut self.rest)?;
        while operation == SET_LSN {
            let (bytes, rest) = self.rest.split_at_checked(8)?;
            self.lsn = u64::from_le_bytes(bytes.try_into().ok()?);
            self.rest = rest;
            operation = take_u8(&mut self.rest)?;
        }
        if operation & NEXT_LSN != 0 {
            self.lsn = self.lsn.checked_add(1)?;
        }
        let operation = Operation::from_code(operation & !NEXT_LSN)?;
        let effect = decode_fields(operation, &mut self.rest)?;
        Some((self.lsn, effect))
    }
}

impl<'a> Iterator for Effects<'a> {
    type Item = Result<(Lsn, Effect<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let decoded = self.decode();
        if decoded.is_none() {
            self.rest = &[];
        }
        Some(decoded.ok_or("the effects do not decode; a newer version may have written them"))
    }
}

fn decode_fields<'a>(operation: Operation, rest: &mut &'a [u8]) -> Option<Effect<'a>> {
    // All have a key, but for the one that is about every key.
    let key = if operation == Operation::Clear { &[] } else { take_bytes(rest)? };
    Some(match operation {
        Operation::Clear => Effect::Clear,
        Operation::Put => Effect::Put { key, value: take_bytes(rest)?, expiry: PutExpiry::Never },
        Operation::PutExpiring => {
            Effect::Put { key, value: take_bytes(rest)?, expiry: PutExpiry::At(take_varint(rest)?) }
        }
        Operation::Delete => Effect::Delete { key },
        Operation::Expire => Effect::Expire { key, at_ms: take_varint(rest)? },
        Operation::Splice => {
            Effect::Splice { key, offset: take_varint(rest)?, bytes: take_bytes(rest)? }
        }
        Operation::HashPut => {
            Effect::HashPut { key, field: take_bytes(rest)?, value: take_bytes(rest)? }
        }
        Operation::HashDelete => Effect::HashDelete { key, field: take_bytes(rest)? },
        Operation::StreamAppend => Effect::StreamAppend {
            key,
            id: take_id(rest)?,
            idempotency: take_bytes(rest)?,
            fields: take_bytes(rest)?,
        },
        Operation::StreamDelete => Effect::StreamDelete { key, id: take_id(rest)? },
        Operation::StreamTrim => Effect::StreamTrim { key, below: take_id(rest)? },
        Operation::StreamCounters => Effect::StreamCounters {
            key,
            last: take_id(rest)?,
            added: take_varint(rest)?,
            max_deleted: take_id(rest)?,
        },
        Operation::GroupPut => Effect::GroupPut {
            key,
            group: take_bytes(rest)?,
            last_delivered: take_id(rest)?,
            read: take_varint(rest)?.checked_sub(1),
        },
        Operation::GroupDelete => Effect::GroupDelete { key, group: take_bytes(rest)? },
        Operation::ConsumerPut => Effect::ConsumerPut {
            key,
            group: take_bytes(rest)?,
            consumer: take_bytes(rest)?,
            seen_ms: take_varint(rest)?,
            active_ms: take_varint(rest)?,
        },
        Operation::ConsumerDelete => {
            Effect::ConsumerDelete { key, group: take_bytes(rest)?, consumer: take_bytes(rest)? }
        }
        Operation::PendingPut => decode_pending(key, rest)?,
        Operation::PendingDelete => {
            Effect::PendingDelete { key, group: take_bytes(rest)?, id: take_id(rest)? }
        }
        Operation::IdempotencyLimit => {
            Effect::IdempotencyLimit { key, records: take_varint(rest)? }
        }
    })
}

fn decode_pending<'a>(key: &'a [u8], rest: &mut &'a [u8]) -> Option<Effect<'a>> {
    Some(Effect::PendingPut {
        key,
        group: take_bytes(rest)?,
        id: take_id(rest)?,
        consumer: take_bytes(rest)?,
        delivered_ms: take_varint(rest)?,
        deliveries: take_varint(rest)?,
    })
}

pub(crate) fn take_u8(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(rest)?;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

pub(crate) fn take_id(rest: &mut &[u8]) -> Option<StreamId> {
    Some(StreamId { ms: take_varint(rest)?, sequence: take_varint(rest)? })
}
