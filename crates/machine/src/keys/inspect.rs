//! Looking at keys.

use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::parse_i64;
use crate::table::{Entry, Kind};

/// EXISTS key [key ...]
pub(crate) fn exists(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let count = args.iter().skip(1).filter(|key| cx.find(key).is_some()).count();
    cx.answer.integer(count as i64);
    Ok(())
}

/// TOUCH key [key ...]
pub(crate) fn touch(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let count = args.iter().skip(1).filter(|key| cx.find_used(key).is_some()).count();
    cx.answer.integer(count as i64);
    Ok(())
}

/// TYPE key
pub(crate) fn type_of(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key] = args else { return Err(CommandError::SYNTAX.into()) };
    let position = cx.find(key);
    let entry = position.map(|position| cx.states.of(key).entry(position));
    cx.answer.simple(entry.map_or("none", |entry| entry.kind().name()));
    Ok(())
}

/// OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key
pub(crate) fn object(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, what, key] = args else {
        return match args {
            [_, help] if help.eq_ignore_ascii_case(b"HELP") => {
                cx.answer.array(1);
                cx.answer.bulk(b"OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT <key>");
                Ok(())
            }
            _ => Err(unknown("OBJECT", args).into()),
        };
    };
    let known: [&[u8]; 4] = [b"ENCODING", b"FREQ", b"IDLETIME", b"REFCOUNT"];
    if !known.iter().any(|name| what.eq_ignore_ascii_case(name)) {
        return Err(unknown("OBJECT", args).into());
    }
    let position = cx.find(key);
    let Some(entry) = position.map(|position| cx.states.of(key).entry(position)) else {
        cx.answer.null();
        return Ok(());
    };
    if what.eq_ignore_ascii_case(b"ENCODING") {
        cx.answer.bulk(encoding(entry).as_bytes());
    } else if what.eq_ignore_ascii_case(b"FREQ") {
        cx.answer.integer(entry.frequency().into());
    } else {
        // Values are never shared; when a key was last used is not kept.
        cx.answer.integer(i64::from(what.eq_ignore_ascii_case(b"REFCOUNT")));
    }
    Ok(())
}

/// The encoding in Redis's words, for clients that look at it.
fn encoding(entry: &Entry) -> &'static str {
    match entry.kind() {
        Kind::String if parse_i64(entry.value()).is_some() => "int",
        Kind::String if entry.value().len() <= 44 => "embstr",
        Kind::String => "raw",
        Kind::Hash => "hashtable",
        Kind::Stream => "stream",
    }
}

/// MEMORY USAGE key [SAMPLES count] | DOCTOR | STATS
pub(crate) fn memory(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    match args {
        [_, what, key] | [_, what, key, _, _] if what.eq_ignore_ascii_case(b"USAGE") => {
            match cx.find(key) {
                Some(position) => {
                    let bytes = cx.states.of(key).key_bytes(position);
                    cx.answer.integer(bytes as i64);
                }
                None => cx.answer.null(),
            }
            Ok(())
        }
        [_, what] if what.eq_ignore_ascii_case(b"DOCTOR") => {
            cx.answer.verbatim("Memory is counted per key; see INFO memory.");
            Ok(())
        }
        _ => Err(unknown("MEMORY", args).into()),
    }
}

/// A subcommand that is not there, or with the wrong number of arguments.
pub(crate) fn unknown(command: &str, args: &[&[u8]]) -> CommandError {
    let what = String::from_utf8_lossy(args.get(1).copied().unwrap_or_default()).into_owned();
    CommandError::text(format!(
        "unknown subcommand or wrong number of arguments for '{what}'. Try {command} HELP."
    ))
}
