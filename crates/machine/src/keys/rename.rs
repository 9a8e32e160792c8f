//! RENAME and COPY. The effect is what the target holds afterwards, so that it can be applied
//! twice.

use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::stream::{StreamId, fields_of, idempotency_of};
use crate::table::Kind;

/// A value's new name is written with the whole value, and what is written at once has a limit.
const COPY_MAX_BYTES: usize = 768 << 20;

/// RENAME key newkey
pub(crate) fn rename(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, from, to] = args else { return Err(CommandError::SYNTAX.into()) };
    if cx.find(from).is_none() {
        return Err(CommandError::NO_SUCH_KEY.into());
    }
    move_value(cx, from, to)?;
    cx.answer.ok();
    Ok(())
}

/// RENAMENX key newkey
pub(crate) fn renamenx(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, from, to] = args else { return Err(CommandError::SYNTAX.into()) };
    if cx.find(from).is_none() {
        return Err(CommandError::NO_SUCH_KEY.into());
    }
    let free = cx.find(to).is_none();
    if free {
        move_value(cx, from, to)?;
    }
    cx.answer.integer(free.into());
    Ok(())
}

/// COPY source destination [REPLACE]
pub(crate) fn copy(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, from, to, ref options @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let replace = match options {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"REPLACE") => true,
        [word, db] if word.eq_ignore_ascii_case(b"DB") && *db == b"0" => false,
        _ => return Err(CommandError::SYNTAX.into()),
    };
    if from == to {
        return Err(CommandError::new("source and destination objects are the same").into());
    }
    let possible = cx.find(from).is_some() && (replace || cx.find(to).is_none());
    if possible {
        cx.check_sizes(to, 0)?;
        copy_value(cx, from, to)?;
    }
    cx.answer.integer(possible.into());
    Ok(())
}

fn move_value(cx: &mut Execution<'_>, from: &[u8], to: &[u8]) -> Result<(), CommandError> {
    cx.check_sizes(to, 0)?;
    if from != to {
        copy_value(cx, from, to)?;
        cx.emit(&Effect::Delete { key: from });
    }
    Ok(())
}

fn copy_value(cx: &mut Execution<'_>, from: &[u8], to: &[u8]) -> Result<(), CommandError> {
    let Some(position) = cx.find(from) else { return Ok(()) };
    let state = cx.states.of(from);
    let Some(entry) = state.entry(position) else { return Ok(()) };
    if state.key_bytes(position) + cx.effects.bytes().len() > COPY_MAX_BYTES {
        return Err(CommandError::new("the value is too large to be written in one piece"));
    }
    let (kind, value) = (entry.kind(), entry.value().to_vec());
    let at_ms = state.expiry_ms(position);
    if cx.find(to).is_some() && kind != Kind::String {
        cx.emit(&Effect::Delete { key: to });
    }
    match kind {
        Kind::String => {
            let expiry = at_ms.map_or(PutExpiry::Never, PutExpiry::At);
            cx.emit(&Effect::Put { key: to, value: &value, expiry });
            return Ok(());
        }
        Kind::Hash => copy_hash(cx, from, position, to),
        Kind::Stream => copy_stream(cx, from, position, to),
    }
    if let Some(at_ms) = at_ms {
        cx.emit(&Effect::Expire { key: to, at_ms });
    }
    Ok(())
}

fn copy_hash(cx: &mut Execution<'_>, from: &[u8], position: u32, to: &[u8]) {
    let hash = cx.states.of(from).hashes.get(&position);
    let fields: Vec<(Vec<u8>, Vec<u8>)> = hash
        .into_iter()
        .flat_map(|hash| hash.iter())
        .map(|(field, value)| (field.to_vec(), value.to_vec()))
        .collect();
    for (field, value) in &fields {
        cx.emit(&Effect::HashPut { key: to, field, value });
    }
}

fn copy_stream(cx: &mut Execution<'_>, from: &[u8], position: u32, to: &[u8]) {
    let Some(stream) = cx.states.of(from).streams.get(&position) else { return };
    let records: Vec<(StreamId, Vec<u8>)> =
        stream.records.iter_from(StreamId::MIN).map(|(id, blob)| (id, blob.to_vec())).collect();
    let counters = (stream.last, stream.added, stream.max_deleted, stream.idempotency_limit);
    let groups: Vec<_> =
        stream.groups.iter().map(|(name, group)| (name.clone(), group.encode())).collect();
    cx.emit(&Effect::IdempotencyLimit { key: to, records: counters.3 });
    for (id, blob) in &records {
        let idempotency = idempotency_of(blob).unwrap_or_default();
        cx.emit(&Effect::StreamAppend { key: to, id: *id, idempotency, fields: fields_of(blob) });
    }
    let (last, added, max_deleted, _) = counters;
    cx.emit(&Effect::StreamCounters { key: to, last, added, max_deleted });
    for (name, encoded) in &groups {
        let Some(group) = crate::stream::Group::decode(encoded) else { continue };
        let (last_delivered, read) = (group.last_delivered, group.read);
        cx.emit(&Effect::GroupPut { key: to, group: name, last_delivered, read });
        for (consumer, about) in &group.consumers {
            let (seen_ms, active_ms) = (about.seen_ms, about.active_ms);
            cx.emit(&Effect::ConsumerPut { key: to, group: name, consumer, seen_ms, active_ms });
        }
        for (id, pending) in &group.pending {
            cx.emit(&Effect::PendingPut {
                key: to,
                group: name,
                id: *id,
                consumer: &pending.consumer,
                delivered_ms: pending.delivered_ms,
                deliveries: pending.deliveries,
            });
        }
    }
}
