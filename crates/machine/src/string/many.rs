//! Several strings at once.

use crate::effect::{Effect, PutExpiry};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::table::Kind;

/// MGET key [key ...]
pub(crate) fn mget(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let keys = args.get(1..).unwrap_or_default();
    cx.answer.array(keys.len());
    for key in keys {
        let position = cx.find_used(key);
        let entry = position.map(|position| cx.states.of(key).entry(position));
        match entry.filter(|entry| entry.is(Kind::String)) {
            Some(entry) => cx.answer.bulk(entry.value()),
            None => cx.answer.null(),
        }
    }
    Ok(())
}

/// MSET key value [key value ...]
pub(crate) fn mset(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let pairs = pairs(cx, args, "mset")?;
    put_all(cx, pairs);
    cx.answer.ok();
    Ok(())
}

/// MSETNX key value [key value ...]
pub(crate) fn msetnx(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let pairs = pairs(cx, args, "msetnx")?;
    let any = pairs.iter().fold(false, |any, [key, _]| cx.find(key).is_some() || any);
    if !any {
        put_all(cx, pairs);
    }
    cx.answer.integer((!any).into());
    Ok(())
}

/// The pairs of arguments, all of them checked before the first is used.
fn pairs<'a, 'b>(
    cx: &mut Execution<'_>,
    args: &'a [&'b [u8]],
    name: &str,
) -> Result<&'a [[&'b [u8]; 2]], CommandError> {
    let (pairs, rest) = args.get(1..).unwrap_or_default().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(CommandError::arity(name));
    }
    for [key, value] in pairs {
        cx.check_sizes(key, value.len())?;
    }
    Ok(pairs)
}

fn put_all(cx: &mut Execution<'_>, pairs: &[[&[u8]; 2]]) {
    for [key, value] in pairs {
        cx.emit(&Effect::Put { key, value, expiry: PutExpiry::Never });
    }
}
