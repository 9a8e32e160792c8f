//! Patterns as in Redis: `*`, `?`, `[a-c]`, `[^x]`, `\` to escape.
//!
//! Iterative, with one point to go back to, so no pattern costs more than pattern length times text
//! length and none can exhaust the stack.

/// Whether the text matches the pattern.
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let byte = text.get(t).copied().unwrap_or_default();
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(_) => {
                let (matched, next) = match_one(pattern, p, byte);
                if matched {
                    p = next;
                    t += 1;
                    continue;
                }
            }
            None => {}
        }
        // Let the last star take one byte more.
        let Some((after_star, from)) = star else { return false };
        p = after_star;
        t = from + 1;
        star = Some((after_star, from + 1));
    }
    pattern.get(p..).unwrap_or_default().iter().all(|&byte| byte == b'*')
}

/// Whether the element at `p` takes the byte, and where the next element begins.
fn match_one(pattern: &[u8], p: usize, byte: u8) -> (bool, usize) {
    match pattern.get(p).copied() {
        Some(b'?') => (true, p + 1),
        Some(b'\\') => match pattern.get(p + 1) {
            Some(&escaped) => (escaped == byte, p + 2),
            None => (byte == b'\\', p + 1),
        },
        Some(b'[') => match_class(pattern, p + 1, byte),
        Some(literal) => (literal == byte, p + 1),
        None => (false, p),
    }
}

fn match_class(pattern: &[u8], start: usize, byte: u8) -> (bool, usize) {
    let mut at = start;
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    loop {
        match pattern.get(at).copied() {
            None => return (found != negated, at),
            Some(b']') => return (found != negated, at + 1),
            Some(b'\\') if pattern.get(at + 1).is_some() => {
                found |= pattern.get(at + 1) == Some(&byte);
                at += 2;
            }
            Some(low) if pattern.get(at + 1) == Some(&b'-') && pattern.get(at + 2).is_some() => {
                let high = pattern.get(at + 2).copied().unwrap_or(low);
                let (low, high) = if low <= high { (low, high) } else { (high, low) };
                found |= (low..=high).contains(&byte);
                at += 3;
            }
            Some(literal) => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_redis_does() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("a*b*c", "axxbxxbxxc", true),
            ("a*b*c", "axxbxxbxx", false),
            ("[", "", false),
            ("foo*", "fo", false),
        ] {
            assert_eq!(
                glob_matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = "a*".repeat(5_000) + "b";
        let text = "a".repeat(20_000);
        assert!(!glob_matches(pattern.as_bytes(), text.as_bytes()));
    }
}
