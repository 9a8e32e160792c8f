//! Decimal numbers of INCRBYFLOAT: twenty significant digits, at most seventeen of them after the
//! point.
//!
//! Redis computes in long doubles of about nineteen digits and writes seventeen after the point.
//! Decimals of twenty digits give the same texts, and `0.1 + 0.2` is exactly `0.3`.

/// The digits that count.
const DIGITS: u32 = 20;
/// The digits after the point.
const SCALE: i32 = 17;
/// How far the exponent of ten of a number may go: as far as that of a long double.
const EXPONENT_MAX: i32 = 4932;
/// Exponents beyond this count as this: far out of the range, or nothing.
const EXPONENT_LIMIT: i32 = 20_000;
/// The longest text that is read.
const TEXT_MAX: usize = 5 * 1024;

/// `coefficient` times ten to the power of `exponent`; the coefficient of all but zero has
/// [`DIGITS`] digits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Decimal {
    negative: bool,
    coefficient: u128,
    exponent: i32,
}

fn power(exponent: u32) -> u128 {
    10u128.checked_pow(exponent).unwrap_or(u128::MAX)
}

/// Divides by a power of ten and rounds half away from zero.
fn shifted_down(coefficient: u128, digits: u32) -> u128 {
    if digits > 38 {
        return 0;
    }
    let divisor = power(digits);
    let rest = coefficient % divisor;
    coefficient / divisor + u128::from(rest >= divisor - rest && rest > 0)
}

impl Decimal {
    fn new(negative: bool, coefficient: u128, exponent: i32) -> Self {
        if coefficient == 0 {
            return Self::default();
        }
        let digits = coefficient.ilog10() + 1;
        let (mut coefficient, mut exponent) = if digits > DIGITS {
            let extra = digits - DIGITS;
            (shifted_down(coefficient, extra), exponent + extra as i32)
        } else {
            let missing = DIGITS - digits;
            (coefficient * power(missing), exponent - missing as i32)
        };
        if coefficient == power(DIGITS) {
            (coefficient, exponent) = (coefficient / 10, exponent + 1);
        }
        Self { negative, coefficient, exponent }
    }

    /// Reads a number with or without a point and an exponent.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > TEXT_MAX {
            return None;
        }
        let (negative, rest) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, bytes),
        };
        let end = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (mantissa, suffix) = rest.split_at(end.unwrap_or(rest.len()));
        let mut exponent = match suffix {
            [] => 0,
            [_, digits @ ..] => std::str::from_utf8(digits)
                .ok()?
                .parse::<i32>()
                .ok()?
                .clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT),
        };
        let (mut coefficient, mut seen, mut after_point) = (0u128, false, false);
        for &byte in mantissa {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    seen = true;
                    // Digits beyond those that a u128 holds only count as places.
                    let has_room = coefficient < power(37);
                    if has_room {
                        coefficient = coefficient * 10 + u128::from(byte - b'0');
                    }
                    let places = i32::from(!has_room) - i32::from(after_point);
                    exponent = exponent.checked_add(places)?;
                }
                _ => return None,
            }
        }
        let value = Self::new(negative, coefficient, exponent);
        (seen && value.is_in_range()).then_some(value)
    }

    /// Whether a text is no number here, but what C reads as an infinite one.
    pub(crate) fn is_infinite(bytes: &[u8]) -> bool {
        let word = bytes.strip_prefix(b"-").or(bytes.strip_prefix(b"+")).unwrap_or(bytes);
        word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity")
    }

    fn is_in_range(&self) -> bool {
        self.exponent + DIGITS as i32 <= EXPONENT_MAX + 1
    }

    /// The sum; `None` beyond the range.
    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        if self.coefficient == 0 || other.coefficient == 0 {
            return Some(if self.coefficient == 0 { other } else { self });
        }
        let (great, small) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // Two numbers of twenty digits, the greater one seventeen places up: below 2^127.
        let apart = (great.exponent - small.exponent) as u32;
        let up = apart.min(SCALE as u32);
        let signed = |negative: bool, value: u128| match negative {
            true => -(value as i128),
            false => value as i128,
        };
        let sum = signed(great.negative, great.coefficient * power(up))
            + signed(small.negative, shifted_down(small.coefficient, apart - up));
        let sum = Self::new(sum < 0, sum.unsigned_abs(), great.exponent - up as i32);
        sum.is_in_range().then_some(sum)
    }

    /// The number without exponent and without zeros at its end.
    pub(crate) fn text(self) -> String {
        let (mut coefficient, mut exponent) = (self.coefficient, self.exponent);
        if exponent < -SCALE {
            coefficient = shifted_down(coefficient, exponent.abs_diff(-SCALE));
            exponent = -SCALE;
        }
        if coefficient == 0 {
            return "0".to_owned();
        }
        while exponent < 0 && coefficient.is_multiple_of(10) {
            (coefficient, exponent) = (coefficient / 10, exponent + 1);
        }
        let sign = if self.negative { "-" } else { "" };
        if exponent >= 0 {
            return format!("{sign}{coefficient}{}", "0".repeat(exponent as usize));
        }
        let divisor = power(exponent.unsigned_abs());
        let width = exponent.unsigned_abs() as usize;
        format!("{sign}{}.{:0width$}", coefficient / divisor, coefficient % divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (Decimal::parse(a.as_bytes())?, Decimal::parse(b.as_bytes())?);
        a.checked_add(b).map(Decimal::text)
    }

    #[test]
    fn sums_are_those_of_the_digits() {
        for (a, b, wanted) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1.1", "-0.1"),
            ("3", "-3", "0"),
            ("-0", "0", "0"),
            ("1e18", "1", "1000000000000000001"),
            ("9007199254740993", "1", "9007199254740994"),
            ("3.3333333333333333", "0", "3.3333333333333333"),
            ("0.0000001", "0", "0.0000001"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            ("9.9999999999999999999", "0.0000000000000000001", "10"),
            ("1.", ".5", "1.5"),
            ("+2", "1E+2", "102"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(wanted), "{a} + {b}");
            assert_eq!(sum(b, a).as_deref(), Some(wanted), "{b} + {a}");
        }
        let great = format!("1{}", "0".repeat(256));
        assert_eq!(sum("1e256", "1"), Some(great));
        let long = "1234567890".repeat(8);
        assert_eq!(sum(&long, "0").map(|text| text.len()), Some(80));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", " 1", "1 ", "abc", "nan", "inf", "-", ".", "1e", "e5", "1.2.3", "1e99999", "--1",
            "1_0",
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(sum("9e4932", "9e4932"), None, "beyond the range");
    }

    /// Decimals with few digits against the same sums in 64-bit integers.
    #[test]
    fn sums_agree_with_integers() {
        let mut seed = 7u64;
        let mut next = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 20) as i64 % 1_000_000_000_000
        };
        for _ in 0..2_000 {
            let (a, b) = (next(), next());
            let text = |value: i64| {
                let sign = if value < 0 { "-" } else { "" };
                let value = value.unsigned_abs();
                format!("{sign}{}.{:06}", value / 1_000_000, value % 1_000_000)
            };
            let wanted = Decimal::parse(text(a + b).as_bytes()).map(Decimal::text);
            assert_eq!(sum(&text(a), &text(b)), wanted, "{a} {b}");
        }
    }
}
