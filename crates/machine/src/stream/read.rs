//! XREAD and XREADGROUP: what comes after an ID, now or when it comes.

use super::range::{answer_record, answer_records};
use super::{Group, StreamId, StreamObject};
use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Stop, Verdict};
use crate::number::parse_i64;
use crate::table::Kind;

/// What both commands have in common.
struct Request<'a, 'b> {
    count: usize,
    block_ms: Option<u64>,
    no_ack: bool,
    group: Option<(&'b [u8], &'b [u8])>,
    keys: &'a [&'b [u8]],
    ids: &'a [&'b [u8]],
}

impl<'a, 'b> Request<'a, 'b> {
    fn parse(args: &'a [&'b [u8]]) -> Result<Self, CommandError> {
        let mut request = Request {
            count: usize::MAX,
            block_ms: None,
            no_ack: false,
            group: None,
            keys: &[],
            ids: &[],
        };
        let mut rest = args.get(1..).unwrap_or_default();
        loop {
            match *rest {
                [word, ref after @ ..] if word.eq_ignore_ascii_case(b"STREAMS") => {
                    return request.streams(after, args);
                }
                [word, value, ref after @ ..] if word.eq_ignore_ascii_case(b"COUNT") => {
                    let count = parse_i64(value).ok_or(CommandError::NOT_AN_INTEGER)?;
                    request.count =
                        usize::try_from(count).ok().filter(|&c| c > 0).unwrap_or(usize::MAX);
                    rest = after;
                }
                [word, value, ref after @ ..] if word.eq_ignore_ascii_case(b"BLOCK") => {
                    let timeout = parse_i64(value)
                        .ok_or(CommandError::new("timeout is not an integer or out of range"))?;
                    let timeout = u64::try_from(timeout)
                        .map_err(|_| CommandError::new("timeout is negative"))?;
                    request.block_ms = Some(timeout);
                    rest = after;
                }
                [word, group, consumer, ref after @ ..] if word.eq_ignore_ascii_case(b"GROUP") => {
                    request.group = Some((group, consumer));
                    rest = after;
                }
                [word, ref after @ ..] if word.eq_ignore_ascii_case(b"NOACK") => {
                    request.no_ack = true;
                    rest = after;
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
    }

    fn streams(mut self, rest: &'a [&'b [u8]], args: &[&[u8]]) -> Result<Self, CommandError> {
        let name =
            String::from_utf8_lossy(args.first().copied().unwrap_or_default()).to_lowercase();
        if rest.is_empty() || rest.len() % 2 == 1 {
            return Err(CommandError::text(format!(
                "Unbalanced '{name}' list of streams: for each stream key an ID, '+', '>', or '$' \
                 must be specified."
            )));
        }
        let (keys, ids) = rest.split_at(rest.len() / 2);
        (self.keys, self.ids) = (keys, ids);
        Ok(self)
    }

    /// The same command with definite IDs, to be run again when a key changes.
    fn blocks(&self, args: &[&[u8]], ids: Vec<Vec<u8>>) -> Stop {
        let fixed = args.len() - self.ids.len();
        let fixed = args.get(..fixed).unwrap_or_default();
        Stop::Blocks {
            keys: self.keys.iter().map(|key| key.to_vec()).collect(),
            timeout_ms: self.block_ms.unwrap_or(0),
            args: fixed.iter().map(|arg| arg.to_vec()).chain(ids).collect(),
        }
    }
}

/// Behind which records XREAD begins, by key.
fn starts_of(cx: &mut Execution<'_>, request: &Request<'_, '_>) -> Result<Vec<StreamId>, Stop> {
    if request.group.is_some() {
        return Err(CommandError::new(
            "The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
        )
        .into());
    }
    if request.no_ack {
        return Err(CommandError::new(
            "The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
        )
        .into());
    }
    let mut starts = Vec::with_capacity(request.keys.len());
    for (key, id) in request.keys.iter().zip(request.ids) {
        let stream = cx.find_stream(key)?;
        let after = match *id {
            b"$" => stream.map_or(StreamId::MIN, |stream| stream.last),
            b"+" => stream
                .and_then(|stream| stream.records.last_id()?.previous())
                .unwrap_or(StreamId::MIN),
            b">" => {
                return Err(CommandError::new(
                    "The > ID can be specified only when calling XREADGROUP using the GROUP \
                     <group> <consumer> option.",
                )
                .into());
            }
            id => StreamId::parse(id, 0).ok_or(StreamId::INVALID)?,
        };
        starts.push(after);
    }
    Ok(starts)
}

/// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]
pub(crate) fn xread(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let request = Request::parse(args)?;
    let starts = starts_of(cx, &request)?;
    let mut ready = Vec::new();
    for (key, after) in request.keys.iter().zip(&starts) {
        let stream = cx.find_stream(key)?;
        if stream.is_some_and(|stream| first_after(stream, *after).is_some()) {
            ready.push((*key, *after));
        }
    }
    if ready.is_empty() {
        if request.block_ms.is_some() {
            let ids = starts.into_iter().map(StreamId::to_text).collect();
            return Err(request.blocks(args, ids));
        }
        cx.answer.null_array();
        return Ok(());
    }
    cx.answer.pairs(ready.len());
    for (key, after) in ready {
        let position = cx.find_kind(key, Kind::Stream)?;
        let stream = position.map(|position| cx.states.of(key).stream_at(position));
        let from = after.next();
        let records: Vec<_> = stream
            .zip(from)
            .into_iter()
            .flat_map(|(stream, from)| stream.records.iter_from(from))
            .take(request.count)
            .collect();
        cx.answer.pair();
        cx.answer.bulk(key);
        answer_records(cx.answer, &records);
    }
    Ok(())
}

fn first_after(stream: &StreamObject, after: StreamId) -> Option<StreamId> {
    stream.records.iter_from(after.next()?).next().map(|(id, _)| id)
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...]
/// id [id ...]
pub(crate) fn xreadgroup(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let request = Request::parse(args)?;
    let Some((group, consumer)) = request.group else {
        return Err(CommandError::new("Missing GROUP option for XREADGROUP").into());
    };
    let mut ready = Vec::new();
    for (key, id) in request.keys.iter().zip(request.ids) {
        let stream = cx.find_stream(key)?;
        let Some((stream, found)) =
            stream.and_then(|stream| Some((stream, stream.groups.get(group)?)))
        else {
            return Err(no_group(key, group, "XREADGROUP with GROUP option").into());
        };
        if *id == b">" {
            if first_after(stream, found.last_delivered).is_some() {
                ready.push((*key, None));
            }
        } else if *id == b"$" {
            return Err(CommandError::new(
                "The $ ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new \
                 messages. The $ ID would just return an empty result set.",
            )
            .into());
        } else {
            let after = StreamId::parse(id, 0).ok_or(StreamId::INVALID)?;
            ready.push((*key, Some(after)));
        }
    }
    for key in request.keys {
        see_consumer(cx, key, group, consumer, false)?;
    }
    if ready.is_empty() {
        if request.block_ms.is_some() {
            let ids = request.ids.iter().map(|id| id.to_vec()).collect();
            return Err(request.blocks(args, ids));
        }
        cx.answer.null_array();
        return Ok(());
    }
    cx.answer.pairs(ready.len());
    for (key, history) in ready {
        cx.answer.pair();
        cx.answer.bulk(key);
        match history {
            Some(after) => answer_history(cx, key, group, consumer, after, request.count)?,
            None => deliver(cx, key, group, consumer, request.count, request.no_ack)?,
        }
    }
    Ok(())
}

pub(super) fn no_group(key: &[u8], group: &[u8], context: &str) -> CommandError {
    let key = String::from_utf8_lossy(key);
    let group = String::from_utf8_lossy(group);
    CommandError {
        code: "NOGROUP",
        message: format!("No such key '{key}' or consumer group '{group}' in {context}").into(),
    }
}

/// Notes that a consumer asked, and makes it if it is new. Seen times are kept to the second: a
/// reader that polls must not write a record to the log each time.
pub(super) fn see_consumer(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    active: bool,
) -> Result<(), CommandError> {
    let now_ms = cx.now_ms;
    let known = cx
        .find_stream(key)?
        .and_then(|stream| stream.groups.get(group)?.consumers.get(consumer).copied());
    let fresh = known.is_some_and(|known| now_ms < known.seen_ms.saturating_add(1_000));
    if fresh
        && (!active || known.is_some_and(|known| now_ms < known.active_ms.saturating_add(1_000)))
    {
        return Ok(());
    }
    let active_ms = if active { now_ms } else { known.map_or(0, |known| known.active_ms) };
    cx.emit(&Effect::ConsumerPut { key, group, consumer, seen_ms: now_ms, active_ms });
    Ok(())
}

/// Answers with what was delivered to the consumer before and is not acknowledged.
fn answer_history(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    after: StreamId,
    count: usize,
) -> Result<(), CommandError> {
    let position = cx.find_kind(key, Kind::Stream)?;
    let stream = position.map(|position| cx.states.of(key).stream_at(position));
    let found = stream.and_then(|stream| Some((stream, stream.groups.get(group)?)));
    let ids: Vec<StreamId> = found
        .zip(after.next())
        .into_iter()
        .flat_map(|((_, group), from)| group.pending.range(from..))
        .filter(|(_, pending)| *pending.consumer == *consumer)
        .map(|(&id, _)| id)
        .take(count)
        .collect();
    cx.answer.array(ids.len());
    for id in ids {
        match found.and_then(|(stream, _)| stream.records.get(id)) {
            Some(blob) => answer_record(cx.answer, id, blob),
            None => {
                // Deleted from the stream since it was delivered.
                cx.answer.array(2);
                cx.answer.bulk(&id.to_text());
                cx.answer.null_array();
            }
        }
    }
    Ok(())
}

/// Answers with records that the group has not read, and makes them pending.
fn deliver(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    count: usize,
    no_ack: bool,
) -> Result<(), CommandError> {
    let position = cx.find_kind(key, Kind::Stream)?;
    let stream = position.map(|position| cx.states.of(key).stream_at(position));
    let Some((stream, found)) = stream.and_then(|stream| Some((stream, stream.groups.get(group)?)))
    else {
        cx.answer.array(0);
        return Ok(());
    };
    let from = found.last_delivered.next();
    let records: Vec<_> =
        from.into_iter().flat_map(|from| stream.records.iter_from(from)).take(count).collect();
    answer_records(cx.answer, &records);
    let ids: Vec<StreamId> = records.iter().map(|&(id, _)| id).collect();
    let Some(&last_delivered) = ids.last() else { return Ok(()) };
    let read = read_after(stream, found, &ids, last_delivered);
    cx.emit(&Effect::GroupPut { key, group, last_delivered, read });
    see_consumer(cx, key, group, consumer, true)?;
    if !no_ack {
        let delivered_ms = cx.now_ms;
        for id in ids {
            cx.emit(&Effect::PendingPut { key, group, id, consumer, delivered_ms, deliveries: 1 });
        }
    }
    Ok(())
}

/// How many records the group has read after these.
fn read_after(
    stream: &StreamObject,
    group: &Group,
    ids: &[StreamId],
    last: StreamId,
) -> Option<u64> {
    let whole = stream.max_deleted == StreamId::MIN || stream.max_deleted <= group.last_delivered;
    match group.read {
        Some(read) if whole => Some(read + ids.len() as u64),
        _ => stream.read_estimate(last),
    }
}
