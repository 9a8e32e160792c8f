//! RENAME and COPY. The effect is what the target holds afterwards, so that it can be applied
//! twice.

use crate::effect::{Effect, EffectBuffer, Effects, PutExpiry};
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};

/// A value's new name is written with the whole value, and what is written at once has a limit.
const COPY_MAX_BYTES: usize = 768 << 20;

/// RENAME key newkey
pub(crate) fn rename(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, from, to] = args else { return Err(CommandError::SYNTAX.into()) };
    if cx.find(from).is_none() {
        return Err(CommandError::NO_SUCH_KEY.into());
    }
    move_value(cx, from, to)?;
    cx.answer.ok();
    Ok(())
}

/// RENAMENX key newkey
pub(crate) fn renamenx(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, from, to] = args else { return Err(CommandError::SYNTAX.into()) };
    if cx.find(from).is_none() {
        return Err(CommandError::NO_SUCH_KEY.into());
    }
    let free = cx.find(to).is_none();
    if free {
        move_value(cx, from, to)?;
    }
    cx.answer.integer(free.into());
    Ok(())
}

/// COPY source destination [REPLACE]
pub(crate) fn copy(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, from, to, ref options @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let replace = match options {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"REPLACE") => true,
        [word, db] if word.eq_ignore_ascii_case(b"DB") && *db == b"0" => false,
        _ => return Err(CommandError::SYNTAX.into()),
    };
    if from == to {
        return Err(CommandError::new("source and destination objects are the same").into());
    }
    let possible = cx.find(from).is_some() && (replace || cx.find(to).is_none());
    if possible {
        cx.check_sizes(to, 0)?;
        copy_value(cx, from, to)?;
    }
    cx.answer.integer(possible.into());
    Ok(())
}

fn move_value(cx: &mut Execution<'_>, from: &[u8], to: &[u8]) -> Result<(), CommandError> {
    cx.check_sizes(to, 0)?;
    if from != to {
        copy_value(cx, from, to)?;
        cx.emit(&Effect::Delete { key: from });
    }
    Ok(())
}

fn copy_value(cx: &mut Execution<'_>, from: &[u8], to: &[u8]) -> Result<(), CommandError> {
    let Some(position) = cx.find(from) else { return Ok(()) };
    let state = cx.states.of(from);
    if state.key_bytes(position) + cx.effects.bytes().len() > COPY_MAX_BYTES {
        return Err(CommandError::new("the value is too large to be written in one piece"));
    }
    let at_ms = state.expiry_ms(position);
    let Some(collection) = state.collection(position) else {
        let value = state.entry(position).value().to_vec();
        let expiry = at_ms.map_or(PutExpiry::Never, PutExpiry::At);
        cx.emit(&Effect::Put { key: to, value: &value, expiry });
        return Ok(());
    };
    // Written down first: emitting needs the state that the collection is in.
    let mut copy = EffectBuffer::default();
    collection.elements().describe(to, &mut |effect| copy.push(0, effect));
    if cx.find(to).is_some() {
        cx.emit(&Effect::Delete { key: to });
    }
    for effect in Effects::new(copy.bytes()) {
        let (_, effect) = effect.map_err(CommandError::new)?;
        cx.emit(&effect);
    }
    if let Some(at_ms) = at_ms {
        cx.emit(&Effect::Expire { key: to, at_ms });
    }
    Ok(())
}
