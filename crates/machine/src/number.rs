//! Numbers as Redis reads and writes them.

/// Reads a signed 64-bit integer in its one canonical form: no sign `+`, no leading zeros, no
/// spaces.
pub fn parse_i64(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    let magnitude = parse_u64(digits)?;
    match (negative, magnitude) {
        (true, 0) => None,
        (true, _) if magnitude <= 1 << 63 => Some((magnitude as i64).wrapping_neg()),
        (false, _) => i64::try_from(magnitude).ok(),
        _ => None,
    }
}

/// Reads an unsigned 64-bit integer in its one canonical form.
pub fn parse_u64(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [] => None,
        [b'0', _, ..] => None,
        _ if bytes.len() > 20 => None,
        _ => bytes.iter().try_fold(0u64, |value, &byte| {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value.checked_mul(10)?.checked_add(u64::from(digit))
        }),
    }
}

/// Appends an integer in decimal.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Appends an unsigned integer in decimal.
pub(crate) fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// An integer in decimal.
pub(crate) fn i64_text(value: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    push_i64(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("01", None),
            ("-0", None),
            ("+1", None),
            (" 1", None),
            ("", None),
            ("-", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
        }
        for value in [0, 7, -7, i64::MAX, i64::MIN] {
            assert_eq!(i64_text(value), value.to_string().into_bytes());
        }
    }
}
