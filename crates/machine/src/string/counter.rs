//! Strings that are numbers.

use crate::decimal::Decimal;
use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::{i64_text, parse_i64};
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
    let value = match position.map(|position| cx.states.of(key).entry(position)) {
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
    let by = match Decimal::parse(by) {
        Some(by) => by,
        None if Decimal::is_infinite(by) => return Err(CommandError::INFINITE_SUM.into()),
        None => return Err(CommandError::NOT_A_FLOAT.into()),
    };
    let position = cx.find_kind(key, Kind::String)?;
    let value = match position.map(|position| cx.states.of(key).entry(position)) {
        Some(entry) => Decimal::parse(entry.value()).ok_or(CommandError::NOT_A_FLOAT)?,
        None => Decimal::default(),
    };
    let sum = value.checked_add(by).ok_or(CommandError::INFINITE_SUM)?;
    let text = sum.text();
    put_keeping_expiry(cx, key, position, text.as_bytes());
    cx.answer.bulk(text.as_bytes());
    Ok(())
}

fn put_keeping_expiry(cx: &mut Execution<'_>, key: &[u8], position: Option<u32>, value: &[u8]) {
    let at_ms = position.and_then(|position| cx.states.of(key).expiry_ms(position));
    let expiry = at_ms.map_or(PutExpiry::Never, PutExpiry::At);
    cx.emit(&Effect::Put { key, value, expiry });
}
