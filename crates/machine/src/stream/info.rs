//! XINFO: streams, groups and consumers described.

use super::range::{answer_optional, answer_records};
use super::{Group, StreamId, StreamObject};
use crate::answer::Answer;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::keys::unknown;
use crate::number::parse_u64;
use crate::table::Kind;

/// XINFO CONSUMERS key group | GROUPS key | STREAM key [FULL [COUNT count]]
pub(crate) fn xinfo(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, what, key, ref rest @ ..] = args else {
        if args.get(1).is_some_and(|what| what.eq_ignore_ascii_case(b"HELP")) {
            cx.answer.array(1);
            cx.answer.bulk(b"XINFO CONSUMERS <key> <group> | GROUPS <key> | STREAM <key> [FULL]");
            return Ok(());
        }
        return Err(unknown("XINFO", args).into());
    };
    let now_ms = cx.now_ms;
    let position = cx.find_kind(key, Kind::Stream)?;
    let stream = position.map(|position| cx.states.of(key).stream_at(position));
    let Some(stream) = stream else { return Err(CommandError::NO_SUCH_KEY.into()) };
    let is = |name: &[u8]| what.eq_ignore_ascii_case(name);
    match *rest {
        [] if is(b"STREAM") => about_stream(cx.answer, stream),
        [full, ref options @ ..] if is(b"STREAM") && full.eq_ignore_ascii_case(b"FULL") => {
            let count = match *options {
                [] => 10,
                [word, count] if word.eq_ignore_ascii_case(b"COUNT") => {
                    parse_u64(count).ok_or(CommandError::NOT_AN_INTEGER)?
                }
                _ => return Err(CommandError::SYNTAX.into()),
            };
            let count = if count == 0 { usize::MAX } else { count as usize };
            about_stream_full(cx.answer, stream, count);
        }
        [] if is(b"GROUPS") => {
            cx.answer.array(stream.groups.len());
            for (name, group) in &stream.groups {
                about_group(cx.answer, stream, name, group);
            }
        }
        [group] if is(b"CONSUMERS") => {
            let Some(found) = stream.groups.get(group) else {
                let (group, key) = (String::from_utf8_lossy(group), String::from_utf8_lossy(key));
                return Err(CommandError {
                    code: "NOGROUP",
                    message: format!("No such consumer group '{group}' for key name '{key}'")
                        .into(),
                }
                .into());
            };
            about_consumers(cx.answer, found, now_ms);
        }
        _ => return Err(unknown("XINFO", args).into()),
    }
    Ok(())
}

fn integer(answer: &mut dyn Answer, name: &str, value: u64) {
    answer.bulk(name.as_bytes());
    answer.integer(value as i64);
}

fn id(answer: &mut dyn Answer, name: &str, id: StreamId) {
    answer.bulk(name.as_bytes());
    answer.bulk(&id.to_text());
}

fn counters(answer: &mut dyn Answer, stream: &StreamObject) {
    integer(answer, "length", stream.records.len() as u64);
    // Redis keeps streams in a radix tree; clients expect the figures to be there.
    integer(answer, "radix-tree-keys", 1);
    integer(answer, "radix-tree-nodes", 2);
    id(answer, "last-generated-id", stream.last);
    id(answer, "max-deleted-entry-id", stream.max_deleted);
    integer(answer, "entries-added", stream.added);
    id(answer, "recorded-first-entry-id", stream.records.first_id().unwrap_or(StreamId::MIN));
    integer(answer, "idmp-maxsize", stream.idempotency_limit);
    integer(answer, "iids-tracked", stream.idempotency.len() as u64);
}

fn about_stream(answer: &mut dyn Answer, stream: &StreamObject) {
    answer.map(12);
    counters(answer, stream);
    integer(answer, "groups", stream.groups.len() as u64);
    answer.bulk(b"first-entry");
    answer_optional(answer, stream, stream.records.first_id());
    answer.bulk(b"last-entry");
    answer_optional(answer, stream, stream.records.last_id());
}

fn about_stream_full(answer: &mut dyn Answer, stream: &StreamObject, count: usize) {
    answer.map(12);
    counters(answer, stream);
    // Looked for among all of them: only whoever asks for everything pays for it.
    answer.bulk(b"iids-oldest-id");
    match stream.idempotency.values().min() {
        Some(oldest) => answer.bulk(&oldest.to_text()),
        None => answer.null(),
    }
    let records: Vec<_> = stream.records.iter_from(StreamId::MIN).take(count).collect();
    answer.bulk(b"entries");
    answer_records(answer, &records);
    answer.bulk(b"groups");
    answer.array(stream.groups.len());
    for (name, group) in &stream.groups {
        about_group_full(answer, stream, name, group, count);
    }
}

fn read_and_lag(answer: &mut dyn Answer, stream: &StreamObject, group: &Group) {
    answer.bulk(b"entries-read");
    optional(answer, group.read);
    answer.bulk(b"lag");
    optional(answer, stream.lag(group));
}

fn optional(answer: &mut dyn Answer, value: Option<u64>) {
    match value {
        Some(value) => answer.integer(value as i64),
        None => answer.null(),
    }
}

fn about_group(answer: &mut dyn Answer, stream: &StreamObject, name: &[u8], group: &Group) {
    answer.map(6);
    answer.bulk(b"name");
    answer.bulk(name);
    integer(answer, "consumers", group.consumers.len() as u64);
    integer(answer, "pending", group.pending.len() as u64);
    id(answer, "last-delivered-id", group.last_delivered);
    read_and_lag(answer, stream, group);
}

fn about_group_full(
    answer: &mut dyn Answer,
    stream: &StreamObject,
    name: &[u8],
    group: &Group,
    count: usize,
) {
    answer.map(7);
    answer.bulk(b"name");
    answer.bulk(name);
    id(answer, "last-delivered-id", group.last_delivered);
    read_and_lag(answer, stream, group);
    integer(answer, "pel-count", group.pending.len() as u64);
    answer.bulk(b"pel");
    answer.array(group.pending.len().min(count));
    for (id, pending) in group.pending.iter().take(count) {
        answer.array(4);
        answer.bulk(&id.to_text());
        answer.bulk(&pending.consumer);
        answer.integer(pending.delivered_ms as i64);
        answer.integer(pending.deliveries as i64);
    }
    answer.bulk(b"consumers");
    answer.array(group.consumers.len());
    for (name, consumer) in &group.consumers {
        answer.map(5);
        answer.bulk(b"name");
        answer.bulk(name);
        integer(answer, "seen-time", consumer.seen_ms);
        answer.bulk(b"active-time");
        answer.integer(if consumer.active_ms == 0 { -1 } else { consumer.active_ms as i64 });
        integer(answer, "pel-count", consumer.pending);
        let pending = || group.pending.iter().filter(|(_, pending)| pending.consumer == *name);
        answer.bulk(b"pel");
        answer.array(pending().take(count).count());
        for (id, pending) in pending().take(count) {
            answer.array(3);
            answer.bulk(&id.to_text());
            answer.integer(pending.delivered_ms as i64);
            answer.integer(pending.deliveries as i64);
        }
    }
}

fn about_consumers(answer: &mut dyn Answer, group: &Group, now_ms: u64) {
    answer.array(group.consumers.len());
    for (name, consumer) in &group.consumers {
        answer.map(4);
        answer.bulk(b"name");
        answer.bulk(name);
        integer(answer, "pending", consumer.pending);
        integer(answer, "idle", now_ms.saturating_sub(consumer.seen_ms));
        answer.bulk(b"inactive");
        let inactive = now_ms.saturating_sub(consumer.active_ms) as i64;
        answer.integer(if consumer.active_ms == 0 { -1 } else { inactive });
    }
}
