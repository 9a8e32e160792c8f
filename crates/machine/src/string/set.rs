//! SET and its older relatives.

use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::keys::{Unit, expiry_at};
use crate::table::Kind;

/// The options of SET, as given.
#[derive(Default)]
struct Options {
    only_if_absent: bool,
    only_if_present: bool,
    get: bool,
    keep_expiry: bool,
    expires_at_ms: Option<u64>,
}

/// SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT time | KEEPTTL]
pub(crate) fn set(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, value, ref rest @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    cx.check_sizes(key, value.len())?;
    if rest.is_empty() {
        // No question about what was there, so no look at it either.
        cx.emit(&Effect::Put { key, value, expiry: PutExpiry::Never });
        cx.answer.ok();
        return Ok(());
    }
    let options = parse_options(rest, cx.now_ms)?;
    let position = cx.find(key);
    if options.get
        && let Some(position) = position
        && !cx.states.of(key).entry(position).is(Kind::String)
    {
        return Err(CommandError::WRONG_TYPE.into());
    }
    let previous = position.map(|position| cx.states.of(key).entry(position));
    let previous = previous.filter(|_| options.get).map(|entry| entry.value().to_vec());
    let refused = (options.only_if_absent && position.is_some())
        || (options.only_if_present && position.is_none());
    if !refused {
        let kept = position.filter(|_| options.keep_expiry);
        let expiry = match (kept, options.expires_at_ms) {
            (Some(position), _) => cx.states.of(key).expiry_ms(position),
            (None, at_ms) => at_ms,
        };
        put_or_delete(cx, key, value, expiry);
    }
    match (options.get, previous, refused) {
        (true, Some(previous), _) => cx.answer.bulk(&previous),
        (true, None, _) | (false, _, true) => cx.answer.null(),
        (false, _, false) => cx.answer.ok(),
    }
    Ok(())
}

/// A put whose expiry has already passed is a deletion.
fn put_or_delete(cx: &mut Execution<'_>, key: &[u8], value: &[u8], expiry: Option<u64>) {
    match expiry {
        Some(at_ms) if at_ms <= cx.now_ms => cx.emit(&Effect::Delete { key }),
        Some(at_ms) => cx.emit(&Effect::Put { key, value, expiry: PutExpiry::At(at_ms) }),
        None => cx.emit(&Effect::Put { key, value, expiry: PutExpiry::Never }),
    }
}

fn parse_options(mut rest: &[&[u8]], now_ms: u64) -> Result<Options, CommandError> {
    let mut options = Options::default();
    while let [word, after @ ..] = rest {
        rest = after;
        if word.eq_ignore_ascii_case(b"NX") {
            options.only_if_absent = true;
        } else if word.eq_ignore_ascii_case(b"XX") {
            options.only_if_present = true;
        } else if word.eq_ignore_ascii_case(b"GET") {
            options.get = true;
        } else if word.eq_ignore_ascii_case(b"KEEPTTL") {
            options.keep_expiry = true;
        } else {
            let unit = Unit::parse(word).ok_or(CommandError::SYNTAX)?;
            let [time, after @ ..] = rest else { return Err(CommandError::SYNTAX) };
            rest = after;
            if options.expires_at_ms.is_some() {
                return Err(CommandError::SYNTAX);
            }
            options.expires_at_ms = Some(expiry_at(time, unit, now_ms, "set")?);
        }
    }
    let conflict = (options.only_if_absent && options.only_if_present)
        || (options.keep_expiry && options.expires_at_ms.is_some());
    if conflict { Err(CommandError::SYNTAX) } else { Ok(options) }
}

/// SETNX key value
pub(crate) fn setnx(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, value] = args else { return Err(CommandError::SYNTAX.into()) };
    cx.check_sizes(key, value.len())?;
    let absent = cx.find(key).is_none();
    if absent {
        cx.emit(&Effect::Put { key, value, expiry: PutExpiry::Never });
    }
    cx.answer.integer(absent.into());
    Ok(())
}

/// SETEX key seconds value
pub(crate) fn setex(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    set_with_expiry(cx, args, Unit::SecondsFromNow, "setex")
}

/// PSETEX key milliseconds value
pub(crate) fn psetex(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    set_with_expiry(cx, args, Unit::MillisecondsFromNow, "psetex")
}

fn set_with_expiry(cx: &mut Execution<'_>, args: &[&[u8]], unit: Unit, name: &str) -> Verdict {
    let &[_, key, time, value] = args else { return Err(CommandError::SYNTAX.into()) };
    cx.check_sizes(key, value.len())?;
    let at_ms = expiry_at(time, unit, cx.now_ms, name)?;
    put_or_delete(cx, key, value, Some(at_ms));
    cx.answer.ok();
    Ok(())
}
