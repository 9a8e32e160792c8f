//! Hashes and streams: how they go into the checkpoint store and come out of it.

use super::*;

pub(super) fn suffix(tag: u8, name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 1);
    out.push(tag);
    out.extend_from_slice(name);
    out
}

pub(super) fn collect_hash(hash: &HashObject, elements: &mut Vec<ElementChange>) {
    for field in hash.removed.keys() {
        elements.push(ElementChange { suffix: suffix(b'f', field), value: None });
    }
    for (_, field) in hash.fields.iter().filter(|(_, field)| field.is_dirty()) {
        let value = Some(field.value().to_vec());
        elements.push(ElementChange { suffix: suffix(b'f', field.key()), value });
    }
}

pub(super) fn hash_stored(hash: &mut HashObject, change: &KeyChange) {
    hash.fresh = false;
    for element in &change.elements {
        let Some(field) = element.suffix.strip_prefix(b"f") else { continue };
        let position = hash.fields.find(field);
        match (&element.value, position.and_then(|position| hash.fields.entry_mut(position))) {
            (Some(_), Some(entry)) => {
                entry.set_stored(true);
                if entry.lsn <= change.lsn {
                    entry.set_dirty(false);
                }
            }
            // Deleted since it was collected: now there is something to delete in the store.
            (Some(_), None) => {
                hash.removed.insert(field.into(), change.lsn);
            }
            // There again since, but no longer in the store.
            (None, Some(entry)) => entry.set_stored(false),
            (None, None) => {
                hash.removed.remove(field);
            }
        }
    }
}

pub(super) fn install_hash(
    hash: &mut HashObject,
    lsn: Lsn,
    elements: &[(Vec<u8>, Vec<u8>)],
) -> Option<()> {
    hash.fresh = false;
    for (suffix, value) in elements {
        let field = suffix.strip_prefix(b"f")?;
        let position = hash.fields.insert(field, value, Kind::String, lsn);
        let entry = hash.fields.entry_mut(position)?;
        entry.set_dirty(false);
        entry.set_stored(true);
    }
    Some(())
}

pub(super) fn collect_stream(stream: &StreamObject, elements: &mut Vec<ElementChange>) {
    let record = |id: StreamId| suffix(b'r', &id.to_sortable());
    for &id in &stream.removed {
        elements.push(ElementChange { suffix: record(id), value: None });
    }
    let from = if stream.fresh { Some(StreamId::MIN) } else { stream.stored_to.next() };
    for (id, blob) in from.into_iter().flat_map(|from| stream.records.iter_from(from)) {
        elements.push(ElementChange { suffix: record(id), value: Some(blob.to_vec()) });
    }
    for (name, group) in &stream.groups {
        if group.lsn > group.stored_lsn {
            let value = Some(group.encode());
            elements.push(ElementChange { suffix: suffix(b'g', name), value });
        }
    }
    for name in stream.removed_groups.keys() {
        elements.push(ElementChange { suffix: suffix(b'g', name), value: None });
    }
}

/// Marks as stored what the change carried.
pub(super) fn stream_stored(stream: &mut StreamObject, change: &KeyChange) {
    stream.fresh = false;
    for element in &change.elements {
        let Some((tag, name)) = element.suffix.split_first() else { continue };
        match (tag, &element.value) {
            (b'r', Some(_)) => {
                let Some(id) = StreamId::from_sortable(name) else { continue };
                stream.stored_to = stream.stored_to.max(id);
                if stream.records.get(id).is_none() {
                    stream.removed.push(id);
                }
            }
            (b'g', Some(_)) => match stream.groups.get_mut(name) {
                Some(group) => group.stored_lsn = group.stored_lsn.max(change.lsn),
                None => {
                    stream.removed_groups.insert(name.into(), change.lsn);
                }
            },
            (b'g', None) => {
                stream.removed_groups.retain(|group, lsn| **group != *name || *lsn > change.lsn);
            }
            _ => {}
        }
    }
    let deleted: foldhash::HashSet<StreamId> = change
        .elements
        .iter()
        .filter(|element| element.value.is_none())
        .filter_map(|element| StreamId::from_sortable(element.suffix.strip_prefix(b"r")?))
        .collect();
    stream.removed.retain(|id| !deleted.contains(id));
}

pub(super) fn install_stream(
    stream: &mut StreamObject,
    head: &mut &[u8],
    elements: &[(Vec<u8>, Vec<u8>)],
) -> Option<()> {
    stream.fresh = false;
    for (suffix, value) in elements {
        let (tag, name) = suffix.split_first()?;
        match tag {
            b'r' => {
                let id = StreamId::from_sortable(name)?;
                stream.records.push(id, value);
                if let Some(key) = idempotency_of(value) {
                    stream.idempotency.insert(idempotency_hash(key), id);
                }
            }
            b'g' => {
                let mut group = Group::decode(value)?;
                group.stored_lsn = 1;
                stream.recount_group(0, group.bytes());
                stream.groups.insert(name.into(), group);
            }
            _ => return None,
        }
    }
    stream.last = take_id(head)?;
    stream.added = take_varint(head)?;
    stream.max_deleted = take_id(head)?;
    stream.idempotency_limit = take_varint(head)?;
    stream.bound_idempotency();
    stream.stored_to = stream.last;
    Some(())
}
