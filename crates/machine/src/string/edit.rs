//! Changing part of a string.

use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::parse_i64;

/// APPEND key value
pub(crate) fn append(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, value] = args else { return Err(CommandError::SYNTAX.into()) };
    let length = cx.find_string(key)?.map_or(0, |entry| entry.value().len());
    cx.check_sizes(key, length + value.len())?;
    // At a definite offset, so that the effect can be applied twice.
    cx.emit(&Effect::Splice { key, offset: length as u64, bytes: value });
    cx.answer.integer((length + value.len()) as i64);
    Ok(())
}

/// SETRANGE key offset value
pub(crate) fn setrange(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, offset, value] = args else { return Err(CommandError::SYNTAX.into()) };
    let offset = parse_i64(offset).ok_or(CommandError::NOT_AN_INTEGER)?;
    let offset =
        usize::try_from(offset).map_err(|_| CommandError::new("offset is out of range"))?;
    let length = cx.find_string(key)?.map_or(0, |entry| entry.value().len());
    if value.is_empty() {
        cx.answer.integer(length as i64);
        return Ok(());
    }
    let end = offset.checked_add(value.len()).ok_or(CommandError::STRING_TOO_LONG)?;
    cx.check_sizes(key, end)?;
    cx.emit(&Effect::Splice { key, offset: offset as u64, bytes: value });
    cx.answer.integer(length.max(end) as i64);
    Ok(())
}
