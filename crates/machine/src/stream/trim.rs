//! Taking records away: XDEL, XTRIM, and the trimming options of XADD.

use super::{StreamId, StreamObject};
use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::{parse_i64, parse_u64};

/// How far to trim. `~` allows to trim less; we always trim exactly, and `LIMIT` bounds one call's
/// work.
pub(crate) struct Trim {
    kind: TrimKind,
    limit: Option<u64>,
}

enum TrimKind {
    MaxLength(u64),
    MinId(StreamId),
}

impl Trim {
    /// Leaves so many of the newest records.
    pub(crate) fn to_length(records: u64) -> Self {
        Self { kind: TrimKind::MaxLength(records), limit: None }
    }

    pub(super) fn begins_with(word: &[u8]) -> bool {
        word.eq_ignore_ascii_case(b"MAXLEN") || word.eq_ignore_ascii_case(b"MINID")
    }

    pub(super) fn parse<'a, 'b>(
        args: &'a [&'b [u8]],
    ) -> Result<(Self, &'a [&'b [u8]]), CommandError> {
        let [what, rest @ ..] = args else { return Err(CommandError::SYNTAX) };
        let (approximate, rest) = match rest {
            [sign, after @ ..] if *sign == b"=" => (false, after),
            [sign, after @ ..] if *sign == b"~" => (true, after),
            _ => (false, rest),
        };
        let [threshold, rest @ ..] = rest else { return Err(CommandError::SYNTAX) };
        let kind = if what.eq_ignore_ascii_case(b"MAXLEN") {
            let length = parse_i64(threshold).ok_or(CommandError::NOT_AN_INTEGER)?;
            let length = u64::try_from(length)
                .map_err(|_| CommandError::new("The MAXLEN argument must be >= 0."))?;
            TrimKind::MaxLength(length)
        } else {
            TrimKind::MinId(StreamId::parse(threshold, 0).ok_or(StreamId::INVALID)?)
        };
        match rest {
            [word, limit, after @ ..] if word.eq_ignore_ascii_case(b"LIMIT") => {
                if !approximate {
                    return Err(CommandError::new(
                        "syntax error, LIMIT cannot be used without the special ~ option",
                    ));
                }
                let limit = parse_u64(limit).ok_or(CommandError::NOT_AN_INTEGER)?;
                Ok((Self { kind, limit: (limit > 0).then_some(limit) }, after))
            }
            _ => Ok((Self { kind, limit: None }, rest)),
        }
    }
}

/// The first ID to stay, if anything must go.
pub(crate) fn trim_point(stream: &StreamObject, trim: &Trim) -> Option<StreamId> {
    let length = stream.records.len() as u64;
    let mut excess = match trim.kind {
        TrimKind::MaxLength(keep) => length.saturating_sub(keep),
        TrimKind::MinId(id) => {
            if stream.records.first_id().is_none_or(|first| first >= id) {
                return None;
            }
            if trim.limit.is_none() {
                // Not above what will come next: a replay over a stream that already has later
                // records must not take those.
                return Some(id.min(stream.last.next().unwrap_or(StreamId::MAX)));
            }
            stream.records.iter_from(StreamId::MIN).take_while(|&(other, _)| other < id).count()
                as u64
        }
    };
    excess = excess.min(trim.limit.unwrap_or(u64::MAX));
    if excess == 0 {
        return None;
    }
    match stream.records.iter_from(StreamId::MIN).nth(excess as usize) {
        Some((id, _)) => Some(id),
        None => stream.last.next(),
    }
}

/// XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]
pub(crate) fn xtrim(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, ref rest @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    if !rest.first().is_some_and(|word| Trim::begins_with(word)) {
        return Err(CommandError::SYNTAX.into());
    }
    let (trim, rest) = Trim::parse(rest)?;
    if !rest.is_empty() {
        return Err(CommandError::SYNTAX.into());
    }
    let Some(stream) = cx.find_stream(key)? else {
        cx.answer.integer(0);
        return Ok(());
    };
    let before = stream.records.len();
    if let Some(below) = trim_point(stream, &trim) {
        cx.emit(&Effect::StreamTrim { key, below });
    }
    let after = cx.find_stream(key)?.map_or(0, |stream| stream.records.len());
    cx.answer.integer((before - after) as i64);
    Ok(())
}

/// XDEL key id [id ...]
pub(crate) fn xdel(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, ref ids @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let ids = parse_ids(ids)?;
    let mut deleted = 0;
    for id in ids {
        let there = cx.find_stream(key)?.is_some_and(|stream| stream.records.get(id).is_some());
        if there {
            cx.emit(&Effect::StreamDelete { key, id });
            deleted += 1;
        }
    }
    cx.answer.integer(deleted);
    Ok(())
}

pub(super) fn parse_ids(ids: &[&[u8]]) -> Result<Vec<StreamId>, CommandError> {
    ids.iter().map(|id| StreamId::parse(id, 0).ok_or(StreamId::INVALID)).collect()
}
