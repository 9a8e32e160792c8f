//! HSCAN. The cursor is a position in the slab, so a field that is there during the whole walk is
//! seen.

use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::glob::glob_matches;
use crate::number::{i64_text, parse_u64};
use crate::table::Kind;

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
pub(crate) fn hscan(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, cursor, ref options @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let cursor = parse_u64(cursor).ok_or(CommandError::new("invalid cursor"))?;
    let mut pattern: Option<&[u8]> = None;
    let (mut count, mut with_values) = (10u64, true);
    let mut rest = options;
    loop {
        match *rest {
            [] => break,
            [word, ref after @ ..] if word.eq_ignore_ascii_case(b"NOVALUES") => {
                with_values = false;
                rest = after;
            }
            [word, value, ref after @ ..] if word.eq_ignore_ascii_case(b"MATCH") => {
                pattern = Some(value);
                rest = after;
            }
            [word, value, ref after @ ..] if word.eq_ignore_ascii_case(b"COUNT") => {
                count = parse_u64(value).ok_or(CommandError::NOT_AN_INTEGER)?;
                if count == 0 {
                    return Err(CommandError::SYNTAX.into());
                }
                rest = after;
            }
            _ => return Err(CommandError::SYNTAX.into()),
        }
    }
    let position = cx.find_kind(key, Kind::Hash)?;
    let hash = position.map(|position| cx.states.of(key).hash_at(position));
    let slab_end = u64::from(hash.map_or(0, |hash| hash.fields.end()));
    let end = cursor.saturating_add(count).min(slab_end);
    let found: Vec<_> = hash
        .into_iter()
        .flat_map(|hash| hash.fields.iter_from(cursor.min(slab_end) as u32))
        .take_while(|(position, _)| u64::from(*position) < end)
        .filter(|(_, entry)| pattern.is_none_or(|pattern| glob_matches(pattern, entry.key())))
        .collect();
    let next = if end < slab_end { end } else { 0 };
    cx.answer.array(2);
    cx.answer.bulk(&i64_text(next as i64));
    cx.answer.array(found.len() * if with_values { 2 } else { 1 });
    for (_, entry) in found {
        cx.answer.bulk(entry.key());
        if with_values {
            cx.answer.bulk(entry.value());
        }
    }
    Ok(())
}
