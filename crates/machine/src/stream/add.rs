//! XADD, and the settings of a stream.

use super::trim::{Trim, trim_point};
use super::{StreamId, StreamObject, pack_fields};
use crate::effect::{Effect, put_bytes};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::parse_u64;

/// What XADD was asked to do.
#[derive(Default)]
struct Options<'a> {
    no_make: bool,
    idempotency: Vec<u8>,
    trim: Option<Trim>,
    id: &'a [u8],
}

/// XADD key [NOMKSTREAM] [IDMP producer-id idempotent-id] [MAXLEN|MINID ...] *|id field value
/// [field value ...]
pub(crate) fn xadd(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, ref rest @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let (options, fields) = parse(rest)?;
    if fields.is_empty() || fields.len() % 2 == 1 {
        return Err(CommandError::arity("xadd").into());
    }
    let value_bytes = fields.iter().map(|field| field.len()).sum();
    cx.check_sizes(key, value_bytes)?;
    let now_ms = cx.now_ms;
    let stream = cx.find_stream(key)?;
    if stream.is_none() && options.no_make {
        cx.answer.null();
        return Ok(());
    }
    if !options.idempotency.is_empty()
        && let Some(id) = stream.and_then(|stream| stream.find_idempotent(&options.idempotency))
    {
        // Done before: the same answer as then, and nothing else.
        cx.answer.bulk(&id.to_text());
        return Ok(());
    }
    let id = next_id(stream, options.id, now_ms)?;
    let packed = pack_fields(fields);
    cx.emit(&Effect::StreamAppend { key, id, idempotency: &options.idempotency, fields: &packed });
    if let Some(trim) = &options.trim
        && let Some(below) = cx.find_stream(key)?.and_then(|stream| trim_point(stream, trim))
    {
        cx.emit(&Effect::StreamTrim { key, below });
    }
    cx.answer.bulk(&id.to_text());
    Ok(())
}

/// A record as XADD gives it.
pub struct NewRecord<'a, 'b> {
    /// Names and values, in turn.
    pub fields: &'a [&'b [u8]],
    /// Producer and request, where a repetition is to be told apart; empty otherwise.
    pub idempotency: Vec<u8>,
}

/// The record that an XADD appends; nothing where it is not well formed.
pub fn new_record<'a, 'b>(args: &'a [&'b [u8]]) -> Option<NewRecord<'a, 'b>> {
    let (options, fields) = parse(args.get(2..)?).ok()?;
    let idempotency = options.idempotency;
    (!fields.is_empty() && fields.len() % 2 == 0).then_some(NewRecord { fields, idempotency })
}

fn parse<'a, 'b>(mut rest: &'a [&'b [u8]]) -> Result<(Options<'b>, &'a [&'b [u8]]), CommandError> {
    let mut options = Options::default();
    loop {
        match *rest {
            [word, ref after @ ..] if word.eq_ignore_ascii_case(b"NOMKSTREAM") => {
                options.no_make = true;
                rest = after;
            }
            [word, producer, request, ref after @ ..] if word.eq_ignore_ascii_case(b"IDMP") => {
                if producer.is_empty() || request.is_empty() {
                    return Err(CommandError::new("IDMP needs a producer ID and a request ID"));
                }
                put_bytes(&mut options.idempotency, producer);
                put_bytes(&mut options.idempotency, request);
                rest = after;
            }
            [word, ..] if Trim::begins_with(word) => {
                let (trim, after) = Trim::parse(rest)?;
                if options.trim.replace(trim).is_some() {
                    return Err(CommandError::new(
                        "syntax error, MAXLEN and MINID options at the same time are not \
                         compatible",
                    ));
                }
                rest = after;
            }
            [id, ref fields @ ..] => {
                options.id = id;
                return Ok((options, fields));
            }
            [] => return Err(CommandError::arity("xadd")),
        }
    }
}

/// The ID that the record gets.
pub(crate) fn next_id(
    stream: Option<&StreamObject>,
    asked: &[u8],
    now_ms: u64,
) -> Result<StreamId, CommandError> {
    const TOO_SMALL: CommandError = CommandError::new(
        "The ID specified in XADD is equal or smaller than the target stream top item",
    );
    const EXHAUSTED: CommandError = CommandError::new(
        "The stream has exhausted the last possible ID, unable to add more items",
    );
    let last = stream.map_or(StreamId::MIN, |stream| stream.last);
    if asked == b"*" {
        // A clock that went back must not take the IDs with it.
        let now = StreamId { ms: now_ms, sequence: 0 };
        return if now > last { Ok(now) } else { last.next().ok_or(EXHAUSTED) };
    }
    if let Some(ms) = asked.strip_suffix(b"-*") {
        let ms = StreamId::parse(ms, 0).ok_or(StreamId::INVALID)?.ms;
        let sequence = match ms.cmp(&last.ms) {
            std::cmp::Ordering::Less => return Err(TOO_SMALL),
            std::cmp::Ordering::Greater => 0,
            std::cmp::Ordering::Equal if last == StreamId::MAX => return Err(EXHAUSTED),
            std::cmp::Ordering::Equal => last.sequence.checked_add(1).ok_or(TOO_SMALL)?,
        };
        return Ok(StreamId { ms, sequence });
    }
    let id = StreamId::parse(asked, 0).ok_or(StreamId::INVALID)?;
    if id == StreamId::MIN {
        return Err(CommandError::new("The ID specified in XADD must be greater than 0-0"));
    }
    if last == StreamId::MAX {
        return Err(EXHAUSTED);
    }
    if id <= last { Err(TOO_SMALL) } else { Ok(id) }
}

/// XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]
pub(crate) fn xsetid(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, last, ref rest @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let last = StreamId::parse(last, 0).ok_or(StreamId::INVALID)?;
    let Some(stream) = cx.find_stream(key)? else { return Err(CommandError::NO_SUCH_KEY.into()) };
    let (mut added, mut max_deleted) = (stream.added, stream.max_deleted);
    let mut rest = rest;
    while let [word, value, after @ ..] = rest {
        if word.eq_ignore_ascii_case(b"ENTRIESADDED") {
            added = parse_u64(value).ok_or(CommandError::NOT_AN_INTEGER)?;
        } else if word.eq_ignore_ascii_case(b"MAXDELETEDID") {
            max_deleted = StreamId::parse(value, 0).ok_or(StreamId::INVALID)?;
        } else {
            return Err(CommandError::SYNTAX.into());
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(CommandError::SYNTAX.into());
    }
    // Redis lets the last ID go back to the top record. Ours never goes back: IDs are also how far
    // the store is.
    if last < stream.last {
        return Err(CommandError::new(
            "The ID specified in XSETID is smaller than the target stream top item",
        )
        .into());
    }
    if added < stream.records.len() as u64 {
        return Err(CommandError::new(
            "The entries_added specified in XSETID is smaller than the target stream length",
        )
        .into());
    }
    if last < max_deleted {
        return Err(CommandError::new(
            "The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        )
        .into());
    }
    cx.emit(&Effect::StreamCounters { key, last, added, max_deleted });
    cx.answer.ok();
    Ok(())
}

/// XCFGSET key IDMP-MAXSIZE records
pub(crate) fn xcfgset(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, what, records] = args else { return Err(CommandError::SYNTAX.into()) };
    if !what.eq_ignore_ascii_case(b"IDMP-MAXSIZE") {
        return Err(CommandError::SYNTAX.into());
    }
    let records = parse_u64(records).ok_or(CommandError::NOT_AN_INTEGER)?;
    cx.check_sizes(key, 0)?;
    cx.find_stream(key)?;
    cx.emit(&Effect::IdempotencyLimit { key, records });
    cx.answer.ok();
    Ok(())
}
