//! Which arguments of a command are keys.

use crate::number::parse_u64;

/// Which arguments are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// None.
    None,
    /// From the first index to the last (negative: from the end), in steps.
    Range(i16, i16, i16),
    /// The first half of what follows `STREAMS`.
    Streams,
    /// The argument at one index says how many keys follow it (`numkeys`, as in EVAL and ZUNION).
    /// Before it, one more key may stand: where the result goes (as in ZUNIONSTORE).
    Counted {
        /// The index of the number.
        number_at: u8,
        /// The index of the key before it.
        target_at: Option<u8>,
    },
}

impl KeySpec {
    /// Calls `visit` with every key.
    ///
    /// Where a number of keys is none, or higher than what follows, there are no keys: the command
    /// has to refuse such a number before it looks at any key.
    pub fn for_each<'a>(self, args: &[&'a [u8]], mut visit: impl FnMut(&'a [u8])) {
        match self {
            Self::None => {}
            // Most commands: one key, in the first place.
            Self::Range(first, last, step) => {
                let count = args.len() as i64;
                let last = if last < 0 { count + i64::from(last) } else { i64::from(last) };
                let mut index = i64::from(first);
                while index <= last {
                    if let Some(key) = args.get(index as usize) {
                        visit(key);
                    }
                    index += i64::from(step.max(1));
                }
            }
            Self::Streams => {
                let rest = after_streams(args).unwrap_or_default();
                for key in rest.iter().take(rest.len() / 2) {
                    visit(key);
                }
            }
            Self::Counted { number_at, target_at } => {
                let Some(keys) = counted_keys(args, number_at.into()) else { return };
                if let Some(target) = target_at.and_then(|at| args.get(usize::from(at))) {
                    visit(target);
                }
                for key in keys {
                    visit(key);
                }
            }
        }
    }

    /// First index, last index and step, as COMMAND INFO says them: of the keys that always stand
    /// in the same places.
    pub fn positions(self) -> (i64, i64, i64) {
        match self {
            Self::Range(first, last, step) => (first.into(), last.into(), step.into()),
            Self::Counted { target_at: Some(at), .. } => (at.into(), at.into(), 1),
            Self::None | Self::Streams | Self::Counted { target_at: None, .. } => (0, 0, 0),
        }
    }

    /// Whether only the arguments themselves tell where the keys are.
    pub fn is_movable(self) -> bool {
        match self {
            Self::None | Self::Range(..) => false,
            Self::Streams | Self::Counted { .. } => true,
        }
    }
}

/// The keys that the number at this index counts; `None` where it is no such number.
pub(crate) fn counted_keys<'a, 'b>(
    args: &'a [&'b [u8]],
    number_at: usize,
) -> Option<&'a [&'b [u8]]> {
    let count = usize::try_from(parse_u64(args.get(number_at)?)?).ok()?;
    args.get(number_at + 1..)?.get(..count)
}

/// What follows the word STREAMS of XREAD and XREADGROUP. A group, a consumer or a number before it
/// may be written STREAMS, too, so the options are stepped over one by one.
fn after_streams<'a, 'b>(args: &'a [&'b [u8]]) -> Option<&'a [&'b [u8]]> {
    let mut rest = args.get(1..)?;
    loop {
        let (word, after) = rest.split_first()?;
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        rest = match () {
            () if is(b"STREAMS") => return Some(after),
            () if is(b"NOACK") => after,
            () if is(b"COUNT") || is(b"BLOCK") => after.get(1..)?,
            () if is(b"GROUP") => after.get(2..)?,
            () => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(spec: KeySpec, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut found = Vec::new();
        spec.for_each(&args, |key| found.push(std::str::from_utf8(key).expect("text")));
        found.join(" ")
    }

    #[test]
    fn keys_are_found() {
        let counted = |number_at, target_at| KeySpec::Counted { number_at, target_at };
        for (spec, line, wanted) in [
            (KeySpec::None, "PING a", ""),
            (KeySpec::Range(1, 1, 1), "GET a", "a"),
            (KeySpec::Range(1, -1, 1), "DEL a b c", "a b c"),
            (KeySpec::Range(1, -1, 2), "MSET a 1 b 2", "a b"),
            (KeySpec::Range(2, 2, 1), "OBJECT HELP", ""),
            (counted(1, None), "ZUNION 2 a b WEIGHTS 1 2", "a b"),
            (counted(1, None), "LMPOP 1 a LEFT", "a"),
            (counted(2, None), "EVAL script 2 a b argument", "a b"),
            (counted(2, None), "EVAL script 0 argument", ""),
            (counted(2, None), "BLMPOP 0 1 a LEFT", "a"),
            (counted(2, Some(1)), "ZUNIONSTORE t 2 a b AGGREGATE MAX", "t a b"),
            (counted(2, Some(1)), "ZUNIONSTORE t 3 a b", ""),
            (counted(1, None), "ZUNION 3 a b", ""),
            (counted(1, None), "ZUNION -1 a b", ""),
            (counted(1, None), "ZUNION two a b", ""),
            (counted(1, None), "ZUNION 18446744073709551615 a b", ""),
            (counted(1, None), "ZUNION", ""),
            (KeySpec::Streams, "XREAD STREAMS a b 0 0", "a b"),
            (KeySpec::Streams, "XREAD COUNT 2 BLOCK 10 streams a 0", "a"),
            (KeySpec::Streams, "XREAD STREAMS streams 0", "streams"),
            (KeySpec::Streams, "XREADGROUP GROUP streams streams NOACK STREAMS a >", "a"),
            (KeySpec::Streams, "XREADGROUP COUNT 1 GROUP g streams STREAMS a b > >", "a b"),
            (KeySpec::Streams, "XREAD COUNT 1", ""),
            (KeySpec::Streams, "XREAD unknown STREAMS a 0", ""),
        ] {
            assert_eq!(keys(spec, line), wanted, "{line}");
        }
    }

    #[test]
    fn positions_are_those_that_never_move() {
        let zunionstore = KeySpec::Counted { number_at: 2, target_at: Some(1) };
        let eval = KeySpec::Counted { number_at: 2, target_at: None };
        for (spec, positions, movable) in [
            (KeySpec::None, (0, 0, 0), false),
            (KeySpec::Range(1, -1, 2), (1, -1, 2), false),
            (KeySpec::Streams, (0, 0, 0), true),
            (eval, (0, 0, 0), true),
            (zunionstore, (1, 1, 1), true),
        ] {
            assert_eq!((spec.positions(), spec.is_movable()), (positions, movable), "{spec:?}");
        }
    }
}
