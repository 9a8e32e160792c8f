//! Deleting keys.

use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};

/// DEL key [key ...]
pub(crate) fn del(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let mut deleted = 0;
    for key in args.iter().skip(1) {
        if cx.find(key).is_some() {
            cx.emit(&Effect::Delete { key });
            deleted += 1;
        }
    }
    cx.answer.integer(deleted);
    Ok(())
}

/// FLUSHALL [ASYNC|SYNC]
pub(crate) fn flushall(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    match args.get(1..).unwrap_or_default() {
        [] => {}
        [mode] if mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC") => {}
        _ => return Err(CommandError::SYNTAX.into()),
    }
    cx.emit(&Effect::Clear);
    cx.answer.ok();
    Ok(())
}
