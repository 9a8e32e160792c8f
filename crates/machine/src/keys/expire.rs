//! When keys expire.

use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::parse_i64;

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    SecondsFromNow,
    MillisecondsFromNow,
    UnixSeconds,
    UnixMilliseconds,
}

impl Unit {
    /// The unit that an option of SET and GETEX names.
    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        Some(match () {
            () if is(b"EX") => Self::SecondsFromNow,
            () if is(b"PX") => Self::MillisecondsFromNow,
            () if is(b"EXAT") => Self::UnixSeconds,
            () if is(b"PXAT") => Self::UnixMilliseconds,
            () => return None,
        })
    }

    /// A time in milliseconds since 1970; `None` where it does not fit.
    fn to_ms(self, time: i64, now_ms: u64) -> Option<i64> {
        let now_ms = i64::try_from(now_ms).ok()?;
        match self {
            Self::SecondsFromNow => time.checked_mul(1_000)?.checked_add(now_ms),
            Self::MillisecondsFromNow => time.checked_add(now_ms),
            Self::UnixSeconds => time.checked_mul(1_000),
            Self::UnixMilliseconds => Some(time),
        }
    }
}

/// Reads an expiry that must be positive, in milliseconds since 1970.
pub(crate) fn expiry_at(
    time: &[u8],
    unit: Unit,
    now_ms: u64,
    name: &str,
) -> Result<u64, CommandError> {
    let time = parse_i64(time).ok_or(CommandError::NOT_AN_INTEGER)?;
    if time <= 0 {
        return Err(CommandError::expiry(name));
    }
    let at_ms = unit.to_ms(time, now_ms).ok_or_else(|| CommandError::expiry(name))?;
    u64::try_from(at_ms).map_err(|_| CommandError::expiry(name))
}

/// EXPIRE key seconds [NX|XX|GT|LT]
pub(crate) fn expire(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    set_expiry(cx, args, Unit::SecondsFromNow, "expire")
}

/// PEXPIRE key milliseconds [NX|XX|GT|LT]
pub(crate) fn pexpire(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    set_expiry(cx, args, Unit::MillisecondsFromNow, "pexpire")
}

/// EXPIREAT key unix-time-seconds [NX|XX|GT|LT]
pub(crate) fn expireat(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    set_expiry(cx, args, Unit::UnixSeconds, "expireat")
}

/// PEXPIREAT key unix-time-milliseconds [NX|XX|GT|LT]
pub(crate) fn pexpireat(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    set_expiry(cx, args, Unit::UnixMilliseconds, "pexpireat")
}

fn set_expiry(cx: &mut Execution<'_>, args: &[&[u8]], unit: Unit, name: &str) -> Verdict {
    let &[_, key, time, ref options @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let time = parse_i64(time).ok_or(CommandError::NOT_AN_INTEGER)?;
    let condition = Condition::parse(options)?;
    let at_ms = unit.to_ms(time, cx.now_ms).ok_or_else(|| CommandError::expiry(name))?;
    let Some(position) = cx.find(key) else {
        cx.answer.integer(0);
        return Ok(());
    };
    let current = cx.states.of(key).expiry_ms(position);
    if !condition.allows(current, at_ms) {
        cx.answer.integer(0);
        return Ok(());
    }
    match u64::try_from(at_ms) {
        Ok(at_ms) if at_ms > cx.now_ms => cx.emit(&Effect::Expire { key, at_ms }),
        _ => cx.emit(&Effect::Delete { key }),
    }
    cx.answer.integer(1);
    Ok(())
}

/// The condition under which an expiry is set.
#[derive(Default)]
struct Condition {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_sooner: bool,
}

impl Condition {
    fn parse(options: &[&[u8]]) -> Result<Self, CommandError> {
        let mut condition = Self::default();
        for option in options {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            match () {
                () if is(b"NX") => condition.if_none = true,
                () if is(b"XX") => condition.if_some = true,
                () if is(b"GT") => condition.if_later = true,
                () if is(b"LT") => condition.if_sooner = true,
                () => {
                    let option = String::from_utf8_lossy(option);
                    return Err(CommandError::text(format!("Unsupported option {option}")));
                }
            }
        }
        if condition.if_none && (condition.if_some || condition.if_later || condition.if_sooner) {
            return Err(CommandError::new(
                "NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if condition.if_later && condition.if_sooner {
            return Err(CommandError::new("GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    fn allows(&self, current: Option<u64>, at_ms: i64) -> bool {
        // A key without expiry counts as one that expires at the end of time.
        let later = current.is_some_and(|current| at_ms > current as i64);
        let sooner = current.is_none_or(|current| at_ms < current as i64);
        !(self.if_none && current.is_some()
            || self.if_some && current.is_none()
            || self.if_later && !later
            || self.if_sooner && !sooner)
    }
}

/// TTL key
pub(crate) fn ttl(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    // Rounded, as Redis does it, so that a key just set to 10 s says 10.
    answer_expiry(cx, args, |at_ms, now_ms| (at_ms - now_ms + 500) / 1_000)
}

/// PTTL key
pub(crate) fn pttl(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    answer_expiry(cx, args, |at_ms, now_ms| at_ms - now_ms)
}

/// EXPIRETIME key
pub(crate) fn expiretime(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    answer_expiry(cx, args, |at_ms, _| (at_ms + 500) / 1_000)
}

/// PEXPIRETIME key
pub(crate) fn pexpiretime(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    answer_expiry(cx, args, |at_ms, _| at_ms)
}

fn answer_expiry(cx: &mut Execution<'_>, args: &[&[u8]], say: impl Fn(i64, i64) -> i64) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let reply = match cx.find(key) {
        None => -2,
        Some(position) => match cx.states.of(key).expiry_ms(position) {
            None => -1,
            Some(at_ms) => say(at_ms as i64, cx.now_ms as i64),
        },
    };
    cx.answer.integer(reply);
    Ok(())
}

/// PERSIST key
pub(crate) fn persist(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let position = cx.find(key);
    let expires = position.and_then(|position| cx.states.of(key).expiry_ms(position)).is_some();
    if expires {
        cx.emit(&Effect::Expire { key, at_ms: 0 });
    }
    cx.answer.integer(expires.into());
    Ok(())
}
