//! XPENDING: what is delivered and not acknowledged.

use super::groups::require_group;
use super::range::parse_bound;
use super::{Group, StreamId};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::{i64_text, parse_i64, parse_u64};
use crate::table::Kind;
use std::collections::BTreeMap;

/// XPENDING key group [[IDLE min-idle-time] start end count [consumer]]
pub(crate) fn xpending(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, group, ref rest @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    require_group(cx, key, group)?;
    if rest.is_empty() {
        return summary(cx, key, group);
    }
    let (min_idle_ms, rest) = match rest {
        [word, idle, after @ ..] if word.eq_ignore_ascii_case(b"IDLE") => {
            (parse_u64(idle).ok_or(CommandError::NOT_AN_INTEGER)?, after)
        }
        _ => (0, rest),
    };
    let (start, end, count, consumer) = match *rest {
        [start, end, count] => (start, end, count, None),
        [start, end, count, consumer] => (start, end, count, Some(consumer)),
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let (start, end) = (parse_bound(start, true)?, parse_bound(end, false)?);
    let count = parse_i64(count).ok_or(CommandError::NOT_AN_INTEGER)?;
    let count = usize::try_from(count).unwrap_or(0);
    let now_ms = cx.now_ms;
    let position = cx.find_kind(key, Kind::Stream)?;
    let stream = position.map(|position| cx.states.of(key).stream_at(position));
    let found: Vec<_> = stream
        .and_then(|stream| stream.groups.get(group))
        .filter(|_| start <= end)
        .into_iter()
        .flat_map(|group| group.pending.range(start..=end))
        .filter(|(_, pending)| consumer.is_none_or(|consumer| *pending.consumer == *consumer))
        .filter(|(_, pending)| now_ms.saturating_sub(pending.delivered_ms) >= min_idle_ms)
        .take(count)
        .collect();
    cx.answer.array(found.len());
    for (id, pending) in found {
        cx.answer.array(4);
        cx.answer.bulk(&id.to_text());
        cx.answer.bulk(&pending.consumer);
        cx.answer.integer(now_ms.saturating_sub(pending.delivered_ms) as i64);
        cx.answer.integer(pending.deliveries as i64);
    }
    Ok(())
}

fn summary(cx: &mut Execution<'_>, key: &[u8], group: &[u8]) -> Verdict {
    let position = cx.find_kind(key, Kind::Stream)?;
    let stream = position.map(|position| cx.states.of(key).stream_at(position));
    let pending =
        stream.and_then(|stream| stream.groups.get(group)).map(|group: &Group| &group.pending);
    let bounds: Option<(StreamId, StreamId)> = pending
        .and_then(|pending| Some((*pending.first_key_value()?.0, *pending.last_key_value()?.0)));
    let mut consumers: BTreeMap<&[u8], i64> = BTreeMap::new();
    for pending in pending.into_iter().flat_map(BTreeMap::values) {
        *consumers.entry(&pending.consumer).or_default() += 1;
    }
    cx.answer.array(4);
    cx.answer.integer(pending.map_or(0, BTreeMap::len) as i64);
    let Some((first, last)) = bounds else {
        cx.answer.null();
        cx.answer.null();
        cx.answer.null_array();
        return Ok(());
    };
    cx.answer.bulk(&first.to_text());
    cx.answer.bulk(&last.to_text());
    cx.answer.array(consumers.len());
    for (consumer, count) in consumers {
        cx.answer.array(2);
        cx.answer.bulk(consumer);
        cx.answer.bulk(&i64_text(count));
    }
    Ok(())
}
