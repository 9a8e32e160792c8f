//! Reading a stream by ID.

use super::{StreamId, StreamObject, fields_of, unpack_fields};
use crate::answer::Answer;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::parse_i64;

/// XLEN key
pub(crate) fn xlen(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let length = cx.find_stream(key)?.map_or(0, |stream| stream.records.len());
    cx.answer.integer(length as i64);
    Ok(())
}

/// XRANGE key start end [COUNT count]
pub(crate) fn xrange(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, start, end, ref options @ ..] = args else {
        return Err(CommandError::SYNTAX.into());
    };
    range(cx, key, start, end, options, false)
}

/// XREVRANGE key end start [COUNT count]
pub(crate) fn xrevrange(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, end, start, ref options @ ..] = args else {
        return Err(CommandError::SYNTAX.into());
    };
    range(cx, key, start, end, options, true)
}

fn range(
    cx: &mut Execution<'_>,
    key: &[u8],
    start: &[u8],
    end: &[u8],
    options: &[&[u8]],
    reverse: bool,
) -> Verdict {
    let start = parse_bound(start, true)?;
    let end = parse_bound(end, false)?;
    let count = match options {
        [] => usize::MAX,
        [word, count] if word.eq_ignore_ascii_case(b"COUNT") => {
            let count = parse_i64(count).ok_or(CommandError::NOT_AN_INTEGER)?;
            usize::try_from(count).unwrap_or(0)
        }
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let position = cx.find_kind(key, crate::table::Kind::Stream)?;
    let stream = position.map(|position| cx.states.of(key).stream_at(position));
    if count == 0 && stream.is_some() {
        cx.answer.null_array();
        return Ok(());
    }
    let Some(stream) = stream.filter(|_| start <= end) else {
        cx.answer.array(0);
        return Ok(());
    };
    let found: Vec<(StreamId, &[u8])> = if reverse {
        stream.records.iter_back_from(end).take_while(|&(id, _)| id >= start).take(count).collect()
    } else {
        stream.records.iter_from(start).take_while(|&(id, _)| id <= end).take(count).collect()
    };
    answer_records(cx.answer, &found);
    Ok(())
}

/// Reads a bound: `-`, `+`, an ID, or `(` and an ID that is left out.
pub(super) fn parse_bound(text: &[u8], is_start: bool) -> Result<StreamId, CommandError> {
    let missing_sequence = if is_start { 0 } else { u64::MAX };
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        [b'(', id @ ..] => {
            let id = StreamId::parse(id, missing_sequence).ok_or(StreamId::INVALID)?;
            if is_start {
                id.next().ok_or(CommandError::new("invalid start ID for the interval"))
            } else {
                id.previous().ok_or(CommandError::new("invalid end ID for the interval"))
            }
        }
        id => StreamId::parse(id, missing_sequence).ok_or(StreamId::INVALID),
    }
}

pub(super) fn answer_records(answer: &mut dyn Answer, records: &[(StreamId, &[u8])]) {
    answer.array(records.len());
    for (id, blob) in records {
        answer_record(answer, *id, blob);
    }
}

pub(super) fn answer_record(answer: &mut dyn Answer, id: StreamId, blob: &[u8]) {
    answer.array(2);
    answer.bulk(&id.to_text());
    let packed = fields_of(blob);
    answer.array(unpack_fields(packed).count());
    for field in unpack_fields(packed) {
        answer.bulk(field);
    }
}

/// Answers with a record, or nothing.
pub(super) fn answer_optional(
    answer: &mut dyn Answer,
    stream: &StreamObject,
    id: Option<StreamId>,
) {
    match id.and_then(|id| Some((id, stream.records.get(id)?))) {
        Some((id, blob)) => answer_record(answer, id, blob),
        None => answer.null(),
    }
}
