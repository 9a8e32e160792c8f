//! Taking over what another consumer left pending.

use super::groups::require_group;
use super::range::{answer_record, parse_bound};
use super::read::see_consumer;
use super::{Pending, StreamId};
use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::{parse_i64, parse_u64};

struct Options {
    delivered_ms: u64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last: Option<StreamId>,
}

/// XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME ms] [RETRYCOUNT count]
/// [FORCE] [JUSTID] [LASTID id]
pub(crate) fn xclaim(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, group, consumer, min_idle, ref rest @ ..] = args else {
        return Err(CommandError::SYNTAX.into());
    };
    let min_idle_ms = parse_i64(min_idle)
        .ok_or(CommandError::new("Invalid min-idle-time argument for XCLAIM"))?
        .max(0) as u64;
    let is_id = |arg: &&&[u8]| arg.first().is_some_and(u8::is_ascii_digit);
    let id_count = rest.iter().take_while(is_id).count();
    let (ids, options) = rest.split_at(id_count);
    let ids = super::trim::parse_ids(ids)?;
    let options = parse_options(options, cx.now_ms)?;
    require_group(cx, key, group)?;
    let mut claimed = Vec::new();
    for id in ids {
        if claim(cx, key, group, consumer, id, min_idle_ms, &options)? == Claim::Taken {
            claimed.push(id);
        }
    }
    if let Some(last) = options.last {
        raise_last_delivered(cx, key, group, last)?;
    }
    see_consumer(cx, key, group, consumer, !claimed.is_empty())?;
    answer_claimed(cx, key, &claimed, options.just_id)
}

fn parse_options(mut rest: &[&[u8]], now_ms: u64) -> Result<Options, CommandError> {
    let mut options = Options {
        delivered_ms: now_ms,
        deliveries: None,
        force: false,
        just_id: false,
        last: None,
    };
    loop {
        match rest {
            [] => return Ok(options),
            [word, after @ ..] if word.eq_ignore_ascii_case(b"FORCE") => {
                options.force = true;
                rest = after;
            }
            [word, after @ ..] if word.eq_ignore_ascii_case(b"JUSTID") => {
                options.just_id = true;
                rest = after;
            }
            [word, value, after @ ..] if is_option_with_value(word) => {
                let number = || parse_u64(value).ok_or(CommandError::NOT_AN_INTEGER);
                if word.eq_ignore_ascii_case(b"IDLE") {
                    options.delivered_ms = now_ms.saturating_sub(number()?);
                } else if word.eq_ignore_ascii_case(b"TIME") {
                    options.delivered_ms = number()?.min(now_ms);
                } else if word.eq_ignore_ascii_case(b"RETRYCOUNT") {
                    options.deliveries = Some(number()?);
                } else {
                    options.last = Some(StreamId::parse(value, 0).ok_or(StreamId::INVALID)?);
                }
                rest = after;
            }
            [word, ..] => {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::text(format!("Unrecognized XCLAIM option '{word}'")));
            }
        }
    }
}

fn is_option_with_value(word: &[u8]) -> bool {
    let known: [&[u8]; 4] = [b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID"];
    known.iter().any(|name| word.eq_ignore_ascii_case(name))
}

#[derive(PartialEq, Eq)]
enum Claim {
    Taken,
    /// Not pending, or not idle for long enough.
    Left,
    /// The record is no longer in the stream; its pending entry was removed.
    Gone,
}

fn claim(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    id: StreamId,
    min_idle_ms: u64,
    options: &Options,
) -> Result<Claim, CommandError> {
    let now_ms = cx.now_ms;
    let Some(stream) = cx.find_stream(key)? else { return Ok(Claim::Left) };
    let exists = stream.records.get(id).is_some();
    let pending: Option<Pending> =
        stream.groups.get(group).and_then(|group| group.pending.get(&id)).cloned();
    if !exists {
        if pending.is_none() {
            return Ok(Claim::Left);
        }
        cx.emit(&Effect::PendingDelete { key, group, id });
        return Ok(Claim::Gone);
    }
    let deliveries = match &pending {
        Some(pending) if now_ms.saturating_sub(pending.delivered_ms) < min_idle_ms => {
            return Ok(Claim::Left);
        }
        Some(pending) => pending.deliveries,
        None if options.force => 0,
        None => return Ok(Claim::Left),
    };
    let deliveries = match options.deliveries {
        Some(deliveries) => deliveries,
        None if options.just_id => deliveries,
        None => deliveries + 1,
    };
    let delivered_ms = options.delivered_ms;
    cx.emit(&Effect::PendingPut { key, group, id, consumer, delivered_ms, deliveries });
    Ok(Claim::Taken)
}

fn raise_last_delivered(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
    last: StreamId,
) -> Result<(), CommandError> {
    let known = cx.find_stream(key)?.and_then(|stream| stream.groups.get(group));
    let Some(read) = known.filter(|known| last > known.last_delivered).map(|known| known.read)
    else {
        return Ok(());
    };
    cx.emit(&Effect::GroupPut { key, group, last_delivered: last, read });
    Ok(())
}

fn answer_claimed(
    cx: &mut Execution<'_>,
    key: &[u8],
    claimed: &[StreamId],
    just_id: bool,
) -> Verdict {
    cx.answer.array(claimed.len());
    let position = cx.find(key);
    let stream = position.map(|position| cx.states.of(key).stream_at(position));
    for &id in claimed {
        match stream.and_then(|stream| stream.records.get(id)) {
            Some(blob) if !just_id => answer_record(cx.answer, id, blob),
            _ => cx.answer.bulk(&id.to_text()),
        }
    }
    Ok(())
}

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
pub(crate) fn xautoclaim(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, group, consumer, min_idle, start, ref rest @ ..] = args else {
        return Err(CommandError::SYNTAX.into());
    };
    let min_idle_ms = parse_i64(min_idle)
        .ok_or(CommandError::new("Invalid min-idle-time argument for XAUTOCLAIM"))?
        .max(0) as u64;
    let start = parse_bound(start, true)?;
    let (count, just_id) = parse_count_options(rest)?;
    require_group(cx, key, group)?;
    let options =
        Options { delivered_ms: cx.now_ms, deliveries: None, force: false, just_id, last: None };
    // Ten candidates are looked at for each record wanted, as in Redis: one call's work has a
    // bound.
    let looks_max = count.saturating_mul(10);
    let candidates = pending_from(cx, key, group, start, looks_max.saturating_add(1))?;
    let (mut claimed, mut gone) = (Vec::new(), Vec::new());
    let mut next = StreamId::MIN;
    for (index, &id) in candidates.iter().enumerate() {
        if claimed.len() >= count || index >= looks_max {
            next = id;
            break;
        }
        match claim(cx, key, group, consumer, id, min_idle_ms, &options)? {
            Claim::Taken => claimed.push(id),
            Claim::Gone => gone.push(id),
            Claim::Left => {}
        }
    }
    see_consumer(cx, key, group, consumer, !claimed.is_empty())?;
    cx.answer.array(3);
    cx.answer.bulk(&next.to_text());
    answer_claimed(cx, key, &claimed, just_id)?;
    cx.answer.array(gone.len());
    for id in gone {
        cx.answer.bulk(&id.to_text());
    }
    Ok(())
}

/// How many records XAUTOCLAIM takes over, and whether it gives their IDs only.
fn parse_count_options(mut rest: &[&[u8]]) -> Result<(usize, bool), CommandError> {
    let (mut count, mut just_id) = (100usize, false);
    loop {
        match rest {
            [] => return Ok((count, just_id)),
            [word, after @ ..] if word.eq_ignore_ascii_case(b"JUSTID") => {
                just_id = true;
                rest = after;
            }
            [word, value, after @ ..] if word.eq_ignore_ascii_case(b"COUNT") => {
                let value = parse_u64(value).filter(|&value| value > 0 && value <= 1 << 30);
                count = value.ok_or(CommandError::new("COUNT must be > 0"))? as usize;
                rest = after;
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
}

/// The IDs that are pending in a group, from `start` on, at most so many.
fn pending_from(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
    start: StreamId,
    most: usize,
) -> Result<Vec<StreamId>, CommandError> {
    let group = cx.find_stream(key)?.and_then(|stream| stream.groups.get(group));
    let pending = group.into_iter().flat_map(|group| group.pending.range(start..));
    Ok(pending.map(|(&id, _)| id).take(most).collect())
}
