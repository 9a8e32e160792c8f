//! Numbers as text and in Postgres' binary form of `numeric`.

use datafusion::arrow::datatypes::i256;
use std::fmt::{LowerExp, Write};

pub(crate) fn put_double(out: &mut Vec<u8>, value: f64) {
    put_number(out, value, value.is_nan(), value.is_infinite(), value.is_sign_negative(), 15);
}

pub(crate) fn put_real(out: &mut Vec<u8>, value: f32) {
    put_number(out, value, value.is_nan(), value.is_infinite(), value.is_sign_negative(), 6);
}

/// The shortest digits that give the number back; with an exponent from `digits_max` digits before
/// the point on.
fn put_number(
    out: &mut Vec<u8>,
    value: impl LowerExp,
    is_nan: bool,
    is_infinite: bool,
    is_negative: bool,
    digits_max: i32,
) {
    use std::io::Write;
    if is_nan {
        out.extend_from_slice(b"NaN");
        return;
    }
    if is_negative {
        out.push(b'-');
    }
    if is_infinite {
        out.extend_from_slice(b"Infinity");
        return;
    }
    let text = format!("{value:e}");
    let text = text.trim_start_matches('-');
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|&digit| digit != '.').collect();
    // Writing to memory cannot fail.
    let _infallible = if exponent < -4 || exponent >= digits_max {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs())
    } else if exponent < 0 {
        let zeros = exponent.unsigned_abs() as usize - 1;
        write!(out, "0.{:0<zeros$}{digits}", "")
    } else {
        let whole = exponent as usize + 1;
        match digits.split_at_checked(whole) {
            None | Some((_, "")) => write!(out, "{digits:0<whole$}"),
            Some((whole, fraction)) => write!(out, "{whole}.{fraction}"),
        }
    };
}

/// A decimal of so many digits after the point, from its digits.
pub(crate) fn decimal_text(digits: &str, scale: i8) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { scale.unsigned_abs() as usize };
        return format!("{sign}{digits}{:0<zeros$}", "");
    }
    let scale = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// Digits that computations with numbers of any digits have, and so many of them after the point.
/// Nobody declares so many.
pub(super) const COMPUTED_PRECISION: u8 = 76;
pub(super) const COMPUTED_SCALE: i8 = 30;

/// The digits of a decimal held in 128 bits.
pub(super) fn put_decimal_128(out: &mut Vec<u8>, value: i128, scale: i8) {
    let mut text = String::with_capacity(40);
    // Writing to a string cannot fail.
    let _infallible = write!(text, "{value}");
    out.extend_from_slice(decimal_text(&text, scale).as_bytes());
}

/// The digits of a decimal held in 256 bits; of one that is computed without zeros at the end.
pub(super) fn put_decimal_256(out: &mut Vec<u8>, value: i256, scale: i8, is_computed: bool) {
    let text = decimal_text(&value.to_string(), scale);
    let text = match is_computed {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    out.extend_from_slice(text.as_bytes());
}

/// The binary form of a number that is written as text: groups of four digits, the weight of the
/// first, sign, scale.
pub(super) fn put_numeric(out: &mut Vec<u8>, text: &str) {
    const NAN: u16 = 0xC000;
    const INFINITY: u16 = 0xD000;
    const NEGATIVE_INFINITY: u16 = 0xF000;
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    let mut put = |groups: &[u16], weight: i16, sign: u16, scale: u16| {
        out.extend((groups.len() as u16).to_be_bytes());
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(scale.to_be_bytes());
        groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
    };
    if let Some(sign) = special {
        return put(&[], 0, sign, 0);
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (0x4000, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let lead = whole.len().div_ceil(4) * 4;
    let trail = fraction.len().div_ceil(4) * 4;
    let aligned = format!("{whole:0>lead$}{fraction:0<trail$}");
    let mut groups: Vec<u16> = aligned
        .as_bytes()
        .chunks(4)
        .map(|group| group.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
        .collect();
    let mut weight = (lead / 4) as i16 - 1;
    let zeros = groups.iter().take_while(|&&group| group == 0).count();
    groups.drain(..zeros);
    weight -= zeros as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let (weight, sign) = if groups.is_empty() { (0, 0) } else { (weight, sign) };
    put(&groups, weight, sign, fraction.len() as u16);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_postgres() {
        let cases = [
            (9.0, "9"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (-12.75, "-12.75"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123456.789, "123456.789"),
            (100_000_000_000_000.0, "100000000000000"),
            (1e15, "1e+15"),
            (1.2345678901234568e17, "1.2345678901234568e+17"),
            (1e300, "1e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            put_double(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let mut out = Vec::new();
        put_real(&mut out, 1e6);
        assert_eq!(out, b"1e+06");
    }

    #[test]
    fn decimals_keep_their_digits() {
        for (digits, scale, expected) in [
            ("0", 0, "0"),
            ("0", 2, "0.00"),
            ("-5", 2, "-0.05"),
            ("12345", 2, "123.45"),
            ("5", -2, "500"),
            ("15", 37, "0.0000000000000000000000000000000000015"),
        ] {
            assert_eq!(decimal_text(digits, scale), expected);
        }
    }

    #[test]
    fn numeric_groups_are_those_of_postgres() {
        let groups = |text: &str| {
            let mut out = Vec::new();
            put_numeric(&mut out, text);
            out.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect::<Vec<_>>()
        };
        assert_eq!(groups("0"), [0, 0, 0, 0]);
        assert_eq!(groups("0.00"), [0, 0, 0, 2]);
        assert_eq!(groups("1"), [1, 0, 0, 0, 1]);
        assert_eq!(groups("-12345.678"), [3, 1, 0x4000, 3, 1, 2345, 6780]);
        assert_eq!(groups("0.0001"), [1, 0xFFFF, 0, 4, 1]);
        assert_eq!(groups("10000"), [1, 1, 0, 0, 1]);
        assert_eq!(groups("0.00001"), [1, 0xFFFE, 0, 5, 1000]);
        assert_eq!(groups("NaN"), [0, 0, 0xC000, 0]);
    }
}
