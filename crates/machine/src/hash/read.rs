//! Reading hashes.

use super::HashObject;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::parse_i64;
use crate::table::Kind;

/// HGET key field
pub(crate) fn hget(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, field] = args else { return Err(CommandError::SYNTAX.into()) };
    let position = cx.find_kind(key, Kind::Hash)?;
    let hash = position.map(|position| cx.states.of(key).hash_at(position));
    match hash.and_then(|hash| hash.get(field)) {
        Some(value) => cx.answer.bulk(value),
        None => cx.answer.null(),
    }
    Ok(())
}

/// HMGET key field [field ...]
pub(crate) fn hmget(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, ref fields @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let position = cx.find_kind(key, Kind::Hash)?;
    let hash = position.map(|position| cx.states.of(key).hash_at(position));
    cx.answer.array(fields.len());
    for field in fields {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => cx.answer.bulk(value),
            None => cx.answer.null(),
        }
    }
    Ok(())
}

/// HEXISTS key field
pub(crate) fn hexists(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, field] = args else { return Err(CommandError::SYNTAX.into()) };
    let there = cx.find_hash(key)?.is_some_and(|hash| hash.get(field).is_some());
    cx.answer.integer(there.into());
    Ok(())
}

/// HLEN key
pub(crate) fn hlen(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let count = cx.find_hash(key)?.map_or(0, HashObject::len);
    cx.answer.integer(count as i64);
    Ok(())
}

/// HSTRLEN key field
pub(crate) fn hstrlen(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, field] = args else { return Err(CommandError::SYNTAX.into()) };
    let length = cx.find_hash(key)?.and_then(|hash| hash.get(field)).map_or(0, <[u8]>::len);
    cx.answer.integer(length as i64);
    Ok(())
}

/// HGETALL key
pub(crate) fn hgetall(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let position = cx.find_kind(key, Kind::Hash)?;
    let hash = position.map(|position| cx.states.of(key).hash_at(position));
    cx.answer.map(hash.map_or(0, HashObject::len));
    for (field, value) in hash.into_iter().flat_map(HashObject::iter) {
        cx.answer.bulk(field);
        cx.answer.bulk(value);
    }
    Ok(())
}

/// HKEYS key
pub(crate) fn hkeys(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    list(cx, args, |(field, _)| field)
}

/// HVALS key
pub(crate) fn hvals(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    list(cx, args, |(_, value)| value)
}

fn list<'h>(
    cx: &'h mut Execution<'_>,
    args: &[&[u8]],
    pick: impl for<'a> Fn((&'a [u8], &'a [u8])) -> &'a [u8],
) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let position = cx.find_kind(key, Kind::Hash)?;
    let hash = position.map(|position| cx.states.of(key).hash_at(position));
    cx.answer.array(hash.map_or(0, HashObject::len));
    for pair in hash.into_iter().flat_map(HashObject::iter) {
        cx.answer.bulk(pick(pair));
    }
    Ok(())
}

/// HRANDFIELD key [count [WITHVALUES]]
pub(crate) fn hrandfield(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, ref options @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let (count, with_values) = match *options {
        [] => (None, false),
        [count] => (Some(count), false),
        [count, word] if word.eq_ignore_ascii_case(b"WITHVALUES") => (Some(count), true),
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let count = match count {
        Some(count) => Some(parse_i64(count).ok_or(CommandError::NOT_AN_INTEGER)?),
        None => None,
    };
    // Negative counts may repeat fields, so they are not bounded by the hash: bound them here.
    if count.is_some_and(|count| count < -1_000_000) {
        return Err(CommandError::new("value is out of range").into());
    }
    let random = cx.random;
    let position = cx.find_kind(key, Kind::Hash)?;
    let hash = position.map(|position| cx.states.of(key).hash_at(position));
    let fields: Vec<(&[u8], &[u8])> = hash.into_iter().flat_map(HashObject::iter).collect();
    let Some(count) = count else {
        match fields.get((random % fields.len().max(1) as u64) as usize) {
            Some((field, _)) => cx.answer.bulk(field),
            None => cx.answer.null(),
        }
        return Ok(());
    };
    let chosen = choose(fields.len(), count, random);
    if !with_values {
        cx.answer.array(chosen.len());
        for (field, _) in chosen.into_iter().filter_map(|index| fields.get(index)) {
            cx.answer.bulk(field);
        }
        return Ok(());
    }
    cx.answer.tuples(chosen.len());
    for (field, value) in chosen.into_iter().filter_map(|index| fields.get(index)) {
        cx.answer.tuple();
        cx.answer.bulk(field);
        cx.answer.bulk(value);
    }
    Ok(())
}

/// Indexes below `length`: a positive count without repetition, a negative one with.
fn choose(length: usize, count: i64, mut random: u64) -> Vec<usize> {
    let mut next = move |below: usize| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((random >> 33) % below.max(1) as u64) as usize
    };
    if length == 0 {
        return Vec::new();
    }
    if count < 0 {
        return (0..count.unsigned_abs()).map(|_| next(length)).collect();
    }
    let mut indexes: Vec<usize> = (0..length).collect();
    let take = (count as usize).min(length);
    for index in 0..take {
        let other = index + next(length - index);
        indexes.swap(index, other);
    }
    indexes.truncate(take);
    indexes
}
