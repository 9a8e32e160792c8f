//! Numbers from the text of a field: eight digits at a time where it is nothing but digits and a
//! point.

/// The number that a field is, which begins and ends at these bytes: nothing in it if it is empty;
/// nothing at all if it is not written plainly or does not fit.
#[inline(always)]
pub(super) fn integer(bytes: &[u8], start: usize, end: usize) -> Option<Option<i64>> {
    match digits(bytes, start, end) {
        Some(value) => Some(Some(value as i64)),
        None => signed_or_long(bytes.get(start..end)?),
    }
}

#[cold]
#[inline(never)]
fn signed_or_long(text: &[u8]) -> Option<Option<i64>> {
    if text.is_empty() {
        return Some(None);
    }
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    if let Some(value) = digits(magnitude, 0, magnitude.len()) {
        let value = value as i64;
        return Some(Some(if magnitude.len() < text.len() { -value } else { value }));
    }
    if !magnitude.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(Some(std::str::from_utf8(text).ok()?.parse().ok()?))
}

/// As [`integer`], with a point in it or none.
#[inline(always)]
pub(super) fn float(bytes: &[u8], start: usize, end: usize) -> Option<Option<f64>> {
    match short_float(bytes, start, end) {
        Some(value) => Some(Some(value)),
        None => signed_or_long_float(bytes.get(start..end)?),
    }
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// A field of at most eight bytes.
#[inline(always)]
fn short_float(bytes: &[u8], start: usize, end: usize) -> Option<f64> {
    let value = last_bytes(bytes, end, end.wrapping_sub(start))?;
    let points = zeros(value ^ each(b'.' ^ b'0'));
    if points == 0 {
        return (!other_than_digits(value)).then(|| number(value) as f64);
    }
    let point_bit = points.trailing_zeros() & !7;
    let before = (1u64 << point_bit) - 1;
    let behind = !(before << 8 | 0xFF);
    let fraction = 7 - point_bit / 8;
    // The point goes to the front, where it is a zero.
    let value = (value & before) << 8 | (value & behind);
    if other_than_digits(value) || fraction == 0 {
        return None;
    }
    // Both are exact, so the quotient is rounded once, which is what parsing asks for.
    Some(number(value) as f64 / POWERS.get(fraction as usize)?)
}

#[cold]
#[inline(never)]
fn signed_or_long_float(text: &[u8]) -> Option<Option<f64>> {
    if text.is_empty() {
        return Some(None);
    }
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = magnitude.splitn(2, |&byte| byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next();
    let all_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    if !all_digits(whole) || !fraction.is_none_or(all_digits) {
        return None;
    }
    // A point alone, or nothing behind it, is left to the reader that knows what to make of it.
    if whole.is_empty() && fraction.is_none() || fraction.is_some_and(<[u8]>::is_empty) {
        return None;
    }
    let fraction = fraction.unwrap_or_default();
    if let Some(value) = exact(whole, fraction) {
        return Some(Some(if magnitude.len() < text.len() { -value } else { value }));
    }
    Some(Some(std::str::from_utf8(text).ok()?.parse().ok()?))
}

/// What a double is the quotient of, if it holds both sides of it.
fn exact(whole: &[u8], fraction: &[u8]) -> Option<f64> {
    let part = |text: &[u8]| match text.len() {
        0 => Some(0),
        length => digits(text, 0, length),
    };
    let raised = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let mantissa = part(whole)?.checked_mul(raised)?.checked_add(part(fraction)?)?;
    (mantissa < 1 << 53).then_some(mantissa as f64 / POWERS.get(fraction.len())?)
}

/// The number that one to sixteen digits are; nothing if there is anything else.
#[inline(always)]
fn digits(bytes: &[u8], start: usize, end: usize) -> Option<u64> {
    let length = end.wrapping_sub(start);
    if length <= 8 {
        let value = last_bytes(bytes, end, length)?;
        return (!other_than_digits(value)).then(|| number(value));
    }
    let low = last_bytes(bytes, end, 8)?;
    let high = last_bytes(bytes, end.checked_sub(8)?, length - 8)?;
    (!other_than_digits(low) && !other_than_digits(high))
        .then(|| number(high) * 100_000_000 + number(low))
}

/// The last one to eight bytes before an end as digits would be, the last one highest; in front of
/// them are zeros.
#[inline(always)]
fn last_bytes(bytes: &[u8], end: usize, length: usize) -> Option<u64> {
    if !(1..=8).contains(&length) {
        return None;
    }
    let word = match end.checked_sub(8) {
        Some(from) => u64::from_le_bytes(bytes.get(from..end)?.try_into().ok()?),
        None => at_the_beginning(bytes.get(..end)?),
    };
    let others = 64 - 8 * length as u32;
    Some((word ^ each(b'0')) >> others << others)
}

/// Less than eight bytes as the last ones of a word.
#[cold]
fn at_the_beginning(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, &byte| word >> 8 | u64::from(byte) << 56)
}

/// A byte eight times over.
#[inline(always)]
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of each byte that is zero; above the lowest of them, bits of others may be set,
/// too.
#[inline(always)]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & each(0x80)
}

/// Whether a byte is above 9.
#[inline(always)]
const fn other_than_digits(word: u64) -> bool {
    (word.wrapping_add(each(0x76)) | word) & each(0x80) != 0
}

/// The number that eight digits are, the last one highest.
#[inline(always)]
const fn number(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    const PAIRS: u64 = 0x0000_00FF_0000_00FF;
    let high = (pairs & PAIRS).wrapping_mul(0x000F_4240_0000_0064);
    let low = ((pairs >> 16) & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a field is by the standard library's parsers, if it is written plainly.
    fn plainly<T: std::str::FromStr>(text: &str, others: &[char]) -> Option<Option<T>> {
        if text.is_empty() {
            return Some(None);
        }
        let magnitude = text.strip_prefix('-').unwrap_or(text);
        let plain = magnitude.chars().all(|char| char.is_ascii_digit() || others.contains(&char));
        let complete = !magnitude.ends_with('.') && !magnitude.is_empty();
        (plain && complete).then(|| text.parse().ok()).flatten().map(Some)
    }

    /// A field in the midst of others, and at the very beginning.
    fn both_ways<T: PartialEq + std::fmt::Debug>(
        text: &str,
        read: fn(&[u8], usize, usize) -> Option<T>,
    ) -> Option<T> {
        let around = format!("2026.0-9,{text},9.99999999");
        let within = read(around.as_bytes(), 9, 9 + text.len());
        assert_eq!(read(text.as_bytes(), 0, text.len()), within, "{text:?}");
        within
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None,
            ..ProptestConfig::default() })]

        #[test]
        fn integers_are_what_the_standard_library_says(text in r"-?[0-9]{0,20}|[-+.,0-9aÿ]{0,12}") {
            prop_assert_eq!(both_ways(&text, integer), plainly::<i64>(&text, &[]), "{}", text);
        }

        #[test]
        fn doubles_are_what_the_standard_library_says(
            text in r"-?[0-9]{0,18}(\.[0-9]{0,18})?|[-+.,0-9aeÿ]{0,12}",
        ) {
            let expected = plainly::<f64>(&text, &['.']);
            prop_assert_eq!(both_ways(&text, float), expected, "{}", text);
        }
    }

    #[test]
    fn every_byte_that_is_no_digit_is_seen() {
        for length in 1..=16 {
            for place in 0..length {
                for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
                    let mut text = [b'1'; 24];
                    text[8 + place] = byte;
                    let (start, end) = (8, 8 + length);
                    let expected = (byte == b'-' && place == 0 && length > 1)
                        .then(|| Some(-("1".repeat(length - 1).parse::<i64>().expect("a number"))));
                    assert_eq!(integer(&text, start, end), expected, "{length} {place} {byte}");
                }
            }
        }
    }
}
