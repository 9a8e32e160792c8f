//! Strings that are numbers.

use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::{f64_text, i64_text, parse_f64, parse_i64};
use crate::table::Kind;

/// INCR key
pub(crate) fn incr(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    add(cx, args, Some(1))
}

/// DECR key
pub(crate) fn decr(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    add(cx, args, Some(-1))
}

/// INCRBY key increment
pub(crate) fn incrby(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let by = args.get(2).and_then(|by| parse_i64(by)).ok_or(CommandError::NOT_AN_INTEGER)?;
    add(cx, args, Some(by))
}

/// DECRBY key decrement
pub(crate) fn decrby(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let by = args.get(2).and_then(|by| parse_i64(by)).ok_or(CommandError::NOT_AN_INTEGER)?;
    let by = by.checked_neg().ok_or(CommandError::new("decrement would overflow"))?;
    add(cx, args, Some(by))
}

fn add(cx: &mut Execution<'_>, args: &[&[u8]], by: Option<i64>) -> Verdict {
    let (Some(&key), Some(by)) = (args.get(1), by) else { return Err(CommandError::SYNTAX.into()) };
    cx.check_sizes(key, 0)?;
    let position = cx.find_kind(key, Kind::String)?;
    let value = match position.and_then(|position| cx.states.of(key).entry(position)) {
        Some(entry) => parse_i64(entry.value()).ok_or(CommandError::NOT_AN_INTEGER)?,
        None => 0,
    };
    let sum =
        value.checked_add(by).ok_or(CommandError::new("increment or decrement would overflow"))?;
    put_keeping_expiry(cx, key, position, &i64_text(sum));
    cx.answer.integer(sum);
    Ok(())
}

/// INCRBYFLOAT key increment
pub(crate) fn incrbyfloat(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, by] = args else { return Err(CommandError::SYNTAX.into()) };
    cx.check_sizes(key, 0)?;
    let by = parse_f64(by).ok_or(CommandError::NOT_A_FLOAT)?;
    let position = cx.find_kind(key, Kind::String)?;
    let value = match position.and_then(|position| cx.states.of(key).entry(position)) {
        Some(entry) => parse_f64(entry.value()).ok_or(CommandError::NOT_A_FLOAT)?,
        None => 0.0,
    };
    let sum = value + by;
    if !sum.is_finite() {
        return Err(CommandError::new("increment would produce NaN or Infinity").into());
    }
    let text = f64_text(sum);
    put_keeping_expiry(cx, key, position, text.as_bytes());
    cx.answer.bulk(text.as_bytes());
    Ok(())
}

fn put_keeping_expiry(cx: &mut Execution<'_>, key: &[u8], position: Option<u32>, value: &[u8]) {
    let at_ms = position.and_then(|position| cx.states.of(key).expiry_ms(position));
    let expiry = at_ms.map_or(PutExpiry::Never, PutExpiry::At);
    cx.emit(&Effect::Put { key, value, expiry });
}
