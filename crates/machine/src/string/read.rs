//! Reading strings: GET and those that change something on the way.

use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::keys::{Unit, expiry_at};
use crate::number::parse_i64;
use crate::table::Kind;

/// GET key
pub(crate) fn get(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let Some(position) = cx.find_kind(key, Kind::String)? else {
        cx.answer.null();
        return Ok(());
    };
    cx.answer.bulk(cx.states.of(key).entry(position).value());
    Ok(())
}

/// Writes a string that was copied before a change, or nothing.
fn answer_copy(cx: &mut Execution<'_>, value: Option<Vec<u8>>) {
    match value {
        Some(value) => cx.answer.bulk(&value),
        None => cx.answer.null(),
    }
}

/// GETSET key value
pub(crate) fn getset(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, value] = args else { return Err(CommandError::SYNTAX.into()) };
    cx.check_sizes(key, value.len())?;
    let previous = cx.find_string(key)?.map(|entry| entry.value().to_vec());
    cx.emit(&Effect::Put { key, value, expiry: PutExpiry::Never });
    answer_copy(cx, previous);
    Ok(())
}

/// GETDEL key
pub(crate) fn getdel(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let previous = cx.find_string(key)?.map(|entry| entry.value().to_vec());
    if previous.is_some() {
        cx.emit(&Effect::Delete { key });
    }
    answer_copy(cx, previous);
    Ok(())
}

/// GETEX key [EX|PX|EXAT|PXAT time | PERSIST]
pub(crate) fn getex(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, ref options @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let at_ms = match *options {
        [] => None,
        [word] if word.eq_ignore_ascii_case(b"PERSIST") => Some(0),
        [word, time] => {
            let unit = Unit::parse(word).ok_or(CommandError::SYNTAX)?;
            Some(expiry_at(time, unit, cx.now_ms, "getex")?)
        }
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let value = cx.find_string(key)?.map(|entry| entry.value().to_vec());
    if value.is_some()
        && let Some(at_ms) = at_ms
    {
        if at_ms > 0 && at_ms <= cx.now_ms {
            cx.emit(&Effect::Delete { key });
        } else {
            cx.emit(&Effect::Expire { key, at_ms });
        }
    }
    answer_copy(cx, value);
    Ok(())
}

/// STRLEN key
pub(crate) fn strlen(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let length = cx.find_string(key)?.map_or(0, |entry| entry.value().len());
    cx.answer.integer(length as i64);
    Ok(())
}

/// GETRANGE key start end
pub(crate) fn getrange(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, start, end] = args else { return Err(CommandError::SYNTAX.into()) };
    let start = parse_i64(start).ok_or(CommandError::NOT_AN_INTEGER)?;
    let end = parse_i64(end).ok_or(CommandError::NOT_AN_INTEGER)?;
    let Some(position) = cx.find_kind(key, Kind::String)? else {
        cx.answer.bulk(b"");
        return Ok(());
    };
    let value = cx.states.of(key).entry(position).value();
    cx.answer.bulk(range_of(value, start, end));
    Ok(())
}

/// The part of a value between two inclusive indexes, negative ones counting from the end.
fn range_of(value: &[u8], start: i64, end: i64) -> &[u8] {
    let length = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let resolve =
        |index: i64| if index < 0 { (length.saturating_add(index)).max(0) } else { index };
    let (start, end) = (resolve(start), resolve(end).min(length - 1));
    if start > end || length == 0 {
        return b"";
    }
    value.get(start as usize..=end as usize).unwrap_or_default()
}
