//! Managing consumer groups, and acknowledging.

use super::read::no_group;
use super::trim::parse_ids;
use super::{StreamId, StreamObject};
use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::keys::unknown;
use crate::number::parse_i64;

/// XACK key group id [id ...]
pub(crate) fn xack(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, group, ref ids @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let ids = parse_ids(ids)?;
    let mut acknowledged = 0;
    for id in ids {
        let pending = cx
            .find_stream(key)?
            .and_then(|stream| stream.groups.get(group))
            .is_some_and(|group| group.pending.contains_key(&id));
        if pending {
            cx.emit(&Effect::PendingDelete { key, group, id });
            acknowledged += 1;
        }
    }
    cx.answer.integer(acknowledged);
    Ok(())
}

/// XGROUP CREATE|CREATECONSUMER|DELCONSUMER|DESTROY|SETID key group ...
pub(crate) fn xgroup(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, what, key, group, ref rest @ ..] = args else {
        if args.get(1).is_some_and(|what| what.eq_ignore_ascii_case(b"HELP")) {
            cx.answer.array(1);
            cx.answer
                .bulk(b"XGROUP CREATE|CREATECONSUMER|DELCONSUMER|DESTROY|SETID <key> <group> ...");
            return Ok(());
        }
        return Err(unknown("XGROUP", args).into());
    };
    let is = |name: &[u8]| what.eq_ignore_ascii_case(name);
    match rest {
        [id, options @ ..] if is(b"CREATE") => create(cx, key, group, id, options),
        [id, options @ ..] if is(b"SETID") => {
            require(cx, key, group)?;
            let (_, read) = parse_options(options)?;
            let last_delivered = group_start(cx, key, id)?;
            cx.emit(&Effect::GroupPut { key, group, last_delivered, read });
            cx.answer.ok();
            Ok(())
        }
        [] if is(b"DESTROY") => {
            let there = cx.find_stream(key)?.ok_or(MISSING_KEY)?.groups.contains_key(group);
            if there {
                cx.emit(&Effect::GroupDelete { key, group });
            }
            cx.answer.integer(there.into());
            Ok(())
        }
        [consumer] if is(b"CREATECONSUMER") => {
            let new = !require(cx, key, group)?.contains_consumer(group, consumer);
            if new {
                let seen_ms = cx.now_ms;
                cx.emit(&Effect::ConsumerPut { key, group, consumer, seen_ms, active_ms: 0 });
            }
            cx.answer.integer(new.into());
            Ok(())
        }
        [consumer] if is(b"DELCONSUMER") => {
            let stream = require(cx, key, group)?;
            let known = stream.groups.get(group).and_then(|group| group.consumers.get(*consumer));
            let pending = known.map(|consumer| consumer.pending);
            if pending.is_some() {
                cx.emit(&Effect::ConsumerDelete { key, group, consumer });
            }
            cx.answer.integer(pending.unwrap_or(0) as i64);
            Ok(())
        }
        _ => Err(unknown("XGROUP", args).into()),
    }
}

const MISSING_KEY: CommandError = CommandError::new(
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);

impl StreamObject {
    fn contains_consumer(&self, group: &[u8], consumer: &[u8]) -> bool {
        self.groups.get(group).is_some_and(|group| group.consumers.contains_key(consumer))
    }
}

fn require<'a>(
    cx: &'a mut Execution<'_>,
    key: &[u8],
    group: &[u8],
) -> Result<&'a StreamObject, CommandError> {
    let stream = cx.find_stream(key)?.ok_or(MISSING_KEY)?;
    if stream.groups.contains_key(group) {
        return Ok(stream);
    }
    let (group, key) = (String::from_utf8_lossy(group), String::from_utf8_lossy(key));
    Err(CommandError {
        code: "NOGROUP",
        message: format!("No such consumer group '{group}' for key name '{key}'").into(),
    })
}

fn create(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
    id: &[u8],
    options: &[&[u8]],
) -> Verdict {
    let (make, read) = parse_options(options)?;
    cx.check_sizes(key, 0)?;
    if group.len() > cx.states.of(key).limits.field_max_bytes {
        return Err(CommandError::new("the name of the consumer group is too long").into());
    }
    match cx.find_stream(key)? {
        None if !make => return Err(MISSING_KEY.into()),
        Some(stream) if stream.groups.contains_key(group) => {
            return Err(
                CommandError::coded("BUSYGROUP", "Consumer Group name already exists").into()
            );
        }
        Some(_) | None => {}
    }
    let last_delivered = group_start(cx, key, id)?;
    if cx.find_stream(key)?.is_none() {
        let zero = StreamId::MIN;
        cx.emit(&Effect::StreamCounters { key, last: zero, added: 0, max_deleted: zero });
    }
    cx.emit(&Effect::GroupPut { key, group, last_delivered, read });
    cx.answer.ok();
    Ok(())
}

/// The ID after which a group begins to read.
fn group_start(cx: &mut Execution<'_>, key: &[u8], id: &[u8]) -> Result<StreamId, CommandError> {
    if id == b"$" {
        return Ok(cx.find_stream(key)?.map_or(StreamId::MIN, |stream| stream.last));
    }
    StreamId::parse(id, 0).ok_or(StreamId::INVALID)
}

fn parse_options(mut options: &[&[u8]]) -> Result<(bool, Option<u64>), CommandError> {
    let (mut make, mut read) = (false, None);
    loop {
        match options {
            [] => return Ok((make, read)),
            [word, rest @ ..] if word.eq_ignore_ascii_case(b"MKSTREAM") => {
                make = true;
                options = rest;
            }
            [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"ENTRIESREAD") => {
                let count = parse_i64(count).ok_or(CommandError::NOT_AN_INTEGER)?;
                if count < -1 {
                    return Err(CommandError::new("value for ENTRIESREAD must be positive or -1"));
                }
                read = u64::try_from(count).ok();
                options = rest;
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
}

/// A group that must be there, for commands about its pending records.
pub(super) fn require_group(
    cx: &mut Execution<'_>,
    key: &[u8],
    group: &[u8],
) -> Result<(), CommandError> {
    let there = cx.find_stream(key)?.is_some_and(|stream| stream.groups.contains_key(group));
    if there {
        return Ok(());
    }
    let mut error = no_group(key, group, "");
    let text = error.message.trim_end_matches(" in ").to_owned();
    error.message = text.into();
    Err(error)
}
