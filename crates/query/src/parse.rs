//! Values from text, as Postgres reads them: casts, parameters, COPY, and defaults all come here. Each reader says
//! whether a text is none of its type (22P02) or one that does not fit (22003).

mod numeric;

pub(crate) use numeric::decimal_digits;
pub(crate) use numeric::decimal_scalar;

mod array;

use crate::error::{SqlError, SqlState};
use crate::moment::{self, Moment};
use crate::pg_type::{self, of_field};
use array::array_elements;
pub(crate) use array::text_elements;
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanBuilder, ListArray, PrimitiveBuilder, StringViewArray,
    StringViewBuilder,
};
use datafusion::arrow::datatypes::*;
use datafusion::common::ScalarValue;
use numeric::{declared_digits, numeric_overflow, numeric_to, plain_numeric};
use std::sync::Arc;

fn invalid(kind: &str, text: &str) -> SqlError {
    let shown: String = text.chars().take(200).collect();
    SqlError::new(
        SqlState::InvalidText,
        format!("invalid input syntax for type {kind}: \"{shown}\""),
    )
}

fn out_of_range(kind: &str, text: &str) -> SqlError {
    let shown: String = text.chars().take(200).collect();
    SqlError::new(
        SqlState::NumericOutOfRange,
        format!("value \"{shown}\" is out of range for type {kind}"),
    )
}

/// `true`, `yes`, `on`, `1`, their beginnings, and their opposites.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let lower = text.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    if begins("true", 1) || begins("yes", 1) || lower == "on" || lower == "1" {
        return Some(true);
    }
    (begins("false", 1) || begins("no", 1) || begins("off", 2) || lower == "0").then_some(false)
}

/// A whole number between bounds.
fn integer(text: &str, kind: &str, low: i64, high: i64) -> Result<i64, SqlError> {
    let trimmed = text.trim();
    let digits = trimmed.trim_start_matches(['+', '-']);
    let signs = trimmed.len() - digits.len();
    if digits.is_empty() || signs > 1 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(kind, text));
    }
    let value = trimmed.parse::<i64>().ok().filter(|value| (low..=high).contains(value));
    value.ok_or_else(|| out_of_range(kind, text))
}

fn double(text: &str, kind: &str) -> Result<f64, SqlError> {
    let trimmed = text.trim();
    let lower = trimmed.to_ascii_lowercase();
    let (sign, word) = match lower.strip_prefix('-') {
        Some(word) => (-1.0, word),
        None => (1.0, lower.strip_prefix('+').unwrap_or(&lower)),
    };
    match word {
        "nan" => return Ok(f64::NAN),
        "inf" | "infinity" => return Ok(sign * f64::INFINITY),
        _ => {}
    }
    if !word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-'))
    {
        return Err(invalid(kind, text));
    }
    let value: f64 = trimmed.parse().map_err(|_| invalid(kind, text))?;
    let has_digit = word
        .split('e')
        .next()
        .is_some_and(|digits| digits.bytes().any(|byte| matches!(byte, b'1'..=b'9')));
    if value.is_infinite() || (value == 0.0 && has_digit) {
        return Err(SqlError::new(
            SqlState::NumericOutOfRange,
            format!("\"{trimmed}\" is out of range for type {kind}"),
        ));
    }
    Ok(value)
}

fn real(text: &str) -> Result<f32, SqlError> {
    let wide = double(text, "real")?;
    let value = text.trim().parse().unwrap_or(wide as f32);
    if (value.is_infinite() && wide.is_finite()) || (value == 0.0 && wide != 0.0) {
        return Err(SqlError::new(
            SqlState::NumericOutOfRange,
            format!("\"{}\" is out of range for type real", text.trim()),
        ));
    }
    Ok(value)
}

/// `\x` and hexadecimal digits, or text with `\\` and `\ooo`.
pub(crate) fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u32> = digits
            .chars()
            .filter(|letter| !letter.is_ascii_whitespace())
            .map(|letter| letter.to_digit(16))
            .collect::<Option<_>>()?;
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some((high * 16 + low) as u8),
            _ => None,
        });
        return pairs.collect();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        if let Some(tail) = rest.strip_prefix(b"\\") {
            out.push(b'\\');
            rest = tail;
            continue;
        }
        let (octal, tail) = rest.split_at_checked(3)?;
        let value = u16::from_str_radix(std::str::from_utf8(octal).ok()?, 8).ok()?;
        out.push(u8::try_from(value).ok()?);
        rest = tail;
    }
    Some(out)
}

/// A UUID in any of the forms that Postgres takes, as it prints it.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let digits: String = inner.chars().filter(|&letter| letter != '-').collect();
    let aligned = inner.split('-').all(|part| part.len() % 4 == 0);
    if digits.len() != 32 || !aligned || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let part = |from: usize, to: usize| lower.get(from..to).unwrap_or_default();
    Some(format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    ))
}

/// A text as long as its declaration allows: of `varchar(n)` what is too long is cut where `cut`, and refused
/// otherwise, but for blanks; `char(n)` has no blanks at its end.
pub(crate) fn sized(text: &str, declared: &str, cut: bool) -> Result<String, SqlError> {
    let (name, length) = match declared.split_once('(') {
        Some((name, rest)) => (name, rest.trim_end_matches(')').parse::<usize>().ok()),
        None => (declared, None),
    };
    let mut text = text.to_owned();
    if let Some(length) = length
        && let Some((at, _)) = text.char_indices().nth(length)
    {
        let rest_is_blank =
            text.get(at..).is_some_and(|rest| rest.bytes().all(|byte| byte == b' '));
        if !cut && !rest_is_blank {
            let sql = pg_type::of_name(name).map_or(name, |kind| kind.sql);
            return Err(SqlError::new(
                SqlState::StringTooLong,
                format!("value too long for type {sql}({length})"),
            ));
        }
        text.truncate(at);
    }
    if name == "bpchar" {
        text.truncate(text.trim_end_matches(' ').len());
    }
    Ok(text)
}

/// Rounds microseconds to so many digits of a second.
pub(crate) fn to_digits(us: i64, digits: i32) -> i64 {
    if !(0..6).contains(&digits) || us == i64::MAX || us == i64::MIN {
        return us;
    }
    let unit = 10i64.pow(6 - digits as u32);
    let half = unit / 2;
    us.checked_add(half).map_or(us, |moved| moved - moved.rem_euclid(unit))
}

/// A value of a column's type, from its text.
pub(crate) fn scalar_of_text(
    text: &str,
    field: &Field,
    moment: &Moment,
) -> Result<ScalarValue, SqlError> {
    let typed = of_field(field);
    let time = |kind: &'static str| move |wrong: moment::Wrong| wrong.error(kind, text);
    Ok(match field.data_type() {
        DataType::Boolean => {
            ScalarValue::Boolean(Some(boolean(text).ok_or_else(|| invalid("boolean", text))?))
        }
        DataType::Int8 => ScalarValue::Int8(Some(integer(text, "smallint", -128, 127)? as i8)),
        DataType::Int16 => {
            ScalarValue::Int16(Some(
                integer(text, "smallint", i16::MIN.into(), i16::MAX.into())? as i16
            ))
        }
        DataType::Int32 => {
            ScalarValue::Int32(Some(
                integer(text, "integer", i32::MIN.into(), i32::MAX.into())? as i32
            ))
        }
        DataType::Int64 => ScalarValue::Int64(Some(integer(text, "bigint", i64::MIN, i64::MAX)?)),
        DataType::UInt32 => {
            ScalarValue::UInt32(Some(integer(text, "oid", 0, u32::MAX.into())? as u32))
        }
        DataType::UInt64 => {
            ScalarValue::UInt64(Some(text.trim().parse().map_err(|_| invalid("numeric", text))?))
        }
        DataType::Float32 => ScalarValue::Float32(Some(real(text)?)),
        DataType::Float64 => ScalarValue::Float64(Some(double(text, "double precision")?)),
        kind if kind.is_decimal() => decimal_scalar(text, kind)?,
        DataType::Date32 => {
            ScalarValue::Date32(Some(moment::date(text, moment).map_err(time("date"))?))
        }
        DataType::Time64(_) => ScalarValue::Time64Microsecond(Some(to_digits(
            moment::time_of_day(text, moment).map_err(time("time"))?,
            typed.modifier,
        ))),
        DataType::Timestamp(TimeUnit::Microsecond, None) => ScalarValue::TimestampMicrosecond(
            Some(to_digits(
                moment::timestamp(text, moment).map_err(time("timestamp"))?,
                typed.modifier,
            )),
            None,
        ),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => ScalarValue::TimestampMicrosecond(
            Some(to_digits(
                moment::timestamptz(text, moment).map_err(time("timestamp with time zone"))?,
                typed.modifier,
            )),
            zone.clone(),
        ),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let interval = moment::interval(text).map_err(time("interval"))?;
            interval_scalar(interval)?
        }
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            let bytes = bytea(text).ok_or_else(|| invalid("bytea", text))?;
            ScalarValue::try_new_null(field.data_type())
                .ok()
                .map(|null| match null {
                    ScalarValue::Binary(_) => ScalarValue::Binary(Some(bytes.clone())),
                    ScalarValue::LargeBinary(_) => ScalarValue::LargeBinary(Some(bytes.clone())),
                    _ => ScalarValue::BinaryView(Some(bytes.clone())),
                })
                .ok_or_else(|| invalid("bytea", text))?
        }
        DataType::List(element) => {
            let values = array_elements(text, element, moment)?;
            list_of(&values, element)?
        }
        DataType::Null => ScalarValue::Utf8View(Some(text.to_owned())),
        kind if kind.is_string() => {
            let text = checked_text(text, field)?;
            match kind {
                DataType::Utf8 => ScalarValue::Utf8(Some(text)),
                DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(text)),
                _ => ScalarValue::Utf8View(Some(text)),
            }
        }
        other => {
            return Err(SqlError::unsupported(format!("a value of type {other} from a text")));
        }
    })
}

/// A list whose elements are what a field says, with what it says beside their Arrow type.
pub(crate) fn list_of(values: &[ScalarValue], element: &FieldRef) -> Result<ScalarValue, SqlError> {
    let list = ScalarValue::new_list_nullable(values, element.data_type());
    let (_, offsets, values, nulls) = list.as_ref().clone().into_parts();
    let list = ListArray::try_new(element.clone(), offsets, values, nulls);
    Ok(ScalarValue::List(Arc::new(list.map_err(datafusion::common::DataFusionError::from)?)))
}

/// An interval as a scalar; nanoseconds are what Arrow counts in.
pub(crate) fn interval_scalar(interval: moment::Interval) -> Result<ScalarValue, SqlError> {
    let ns = interval
        .us
        .checked_mul(1_000)
        .ok_or_else(|| SqlError::new(SqlState::IntervalOverflow, "interval out of range"))?;
    let value = IntervalMonthDayNano::new(interval.months, interval.days, ns);
    Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
}

/// A text that must be JSON, a UUID, or no longer than its type.
fn checked_text(text: &str, field: &Field) -> Result<String, SqlError> {
    let Some(declared) = field.metadata().get(pg_type::TYPE_KEY) else {
        return Ok(text.to_owned());
    };
    match declared.split('(').next().unwrap_or_default() {
        "json" => {
            crate::json::check(text)?;
            Ok(text.to_owned())
        }
        "jsonb" => crate::json::parse(text)?.to_text(),
        "uuid" => uuid(text).ok_or_else(|| invalid("uuid", text)),
        "name" => Ok(text.chars().take(63).collect()),
        "numeric" => {
            let lower = text.trim().to_ascii_lowercase();
            match lower.as_str() {
                "nan" => return Ok("NaN".to_owned()),
                "inf" | "infinity" | "+infinity" | "+inf" => return Ok("Infinity".to_owned()),
                "-inf" | "-infinity" => return Ok("-Infinity".to_owned()),
                _ => {}
            }
            let (negative, digits, scale) =
                decimal_digits(text).ok_or_else(|| invalid("numeric", text))?;
            match declared_digits(declared) {
                Some(declared) => numeric_to(negative, &digits, scale, declared)
                    .ok_or_else(|| numeric_overflow(text, declared)),
                None => plain_numeric(negative, &digits, scale)
                    .ok_or_else(|| out_of_range("numeric", text)),
            }
        }
        _ => sized(text, declared, true),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringViewArray,
    kind: &DataType,
    parse: impl Fn(&str) -> Result<T::Native, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let mut values = PrimitiveBuilder::<T>::with_capacity(texts.len()).with_data_type(kind.clone());
    for text in texts {
        match text {
            Some(text) => values.append_value(parse(text)?),
            None => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// A column of values from a column of their texts.
pub(crate) fn array_of_texts(
    texts: &StringViewArray,
    field: &Field,
    moment: &Moment,
) -> Result<ArrayRef, SqlError> {
    let kind = field.data_type();
    match kind {
        DataType::Boolean => {
            let mut values = BooleanBuilder::with_capacity(texts.len());
            for text in texts {
                let value = text.map(|text| boolean(text).ok_or_else(|| invalid("boolean", text)));
                values.append_option(value.transpose()?);
            }
            Ok(Arc::new(values.finish()))
        }
        DataType::Int32 => primitive::<Int32Type>(texts, kind, |text| {
            Ok(integer(text, "integer", i32::MIN.into(), i32::MAX.into())? as i32)
        }),
        DataType::Int64 => {
            primitive::<Int64Type>(texts, kind, |text| integer(text, "bigint", i64::MIN, i64::MAX))
        }
        DataType::Float64 => {
            primitive::<Float64Type>(texts, kind, |text| double(text, "double precision"))
        }
        DataType::Date32 => primitive::<Date32Type>(texts, kind, |text| {
            moment::date(text, moment).map_err(|wrong| wrong.error("date", text))
        }),
        DataType::Utf8View => {
            let mut values = StringViewBuilder::with_capacity(texts.len());
            for text in texts {
                values.append_option(text.map(|text| checked_text(text, field)).transpose()?);
            }
            Ok(Arc::new(values.finish()))
        }
        _ => {
            if texts.is_empty() {
                return Ok(datafusion::arrow::array::new_empty_array(kind));
            }
            let null = ScalarValue::try_from(kind)?;
            let scalars = texts.iter().map(|text| match text {
                Some(text) => scalar_of_text(text, field, moment),
                None => Ok(null.clone()),
            });
            let scalars = scalars.collect::<Result<Vec<_>, _>>()?;
            Ok(ScalarValue::iter_to_array(scalars)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, kind: DataType) -> Result<String, &'static str> {
        let field = Field::new("x", kind, true);
        scalar_of_text(text, &field, &Moment::default())
            .map(|value| {
                let array = value.to_array().expect("an array");
                crate::encode::text_of(&array, 0).unwrap_or_default()
            })
            .map_err(|error| error.state.code())
    }

    #[test]
    fn numbers_are_read_whole_or_refused() {
        use DataType::{Decimal128, Decimal256, Float32, Float64, Int16, Int32, Int64};
        for (text, kind, expected) in [
            (" 12 ", Int32, Ok("12")),
            ("1.9", Int32, Err("22P02")),
            ("2147483648", Int32, Err("22003")),
            ("-32768", Int16, Ok("-32768")),
            ("- 1", Int64, Err("22P02")),
            ("", Int64, Err("22P02")),
            ("Infinity", Float64, Ok("Infinity")),
            ("-inf", Float64, Ok("-Infinity")),
            ("nan", Float64, Ok("NaN")),
            ("1e400", Float64, Err("22003")),
            ("1e-400", Float64, Err("22003")),
            ("1e40", Float32, Err("22003")),
            ("x", Float64, Err("22P02")),
            ("1.005", Decimal128(20, 2), Ok("1.01")),
            ("-0.005", Decimal128(5, 2), Ok("-0.01")),
            ("0.004", Decimal128(5, 2), Ok("0.00")),
            ("9.995", Decimal128(5, 2), Ok("10.00")),
            ("999.995", Decimal128(5, 2), Err("22003")),
            ("1e-3", Decimal128(5, 3), Ok("0.001")),
            ("1e3", Decimal128(5, 0), Ok("1000")),
            ("1e1000000", Decimal128(38, 0), Err("22003")),
            ("1.5", Decimal128(38, 37), Ok("1.5000000000000000000000000000000000000")),
            (
                "1e70",
                Decimal256(76, 0),
                Ok("10000000000000000000000000000000000000000000000000000000000000000000000"),
            ),
        ] {
            assert_eq!(read(text, kind.clone()), expected.map(str::to_owned), "{text} as {kind}");
        }
    }

    #[test]
    fn arrays_are_read_with_their_quotes() {
        let texts = DataType::new_list(DataType::Utf8View, true);
        for (text, expected) in [
            ("{}", Ok("{}")),
            ("{a,\"b,c\",NULL,\"NULL\",\"\"}", Ok("{a,\"b,c\",NULL,\"NULL\",\"\"}")),
            ("{ a , \"q\\\"\" }", Ok("{a,\"q\\\"\"}")),
            ("{a,,b}", Err("22P02")),
            ("{a", Err("22P02")),
            ("a", Err("22P02")),
        ] {
            assert_eq!(read(text, texts.clone()), expected.map(str::to_owned), "{text}");
        }
        let numbers = DataType::new_list(DataType::new_list(DataType::Int32, true), true);
        assert_eq!(read("{{1,2},{3,NULL}}", numbers), Ok("{{1,2},{3,NULL}}".to_owned()));
    }

    #[test]
    fn booleans_bytes_and_uuids() {
        for (text, expected) in
            [("t", Some(true)), (" YES ", Some(true)), ("of", Some(false)), ("o", None), ("", None)]
        {
            assert_eq!(boolean(text), expected, "{text}");
        }
        assert_eq!(bytea("\\x00fF"), Some(vec![0, 255]));
        assert_eq!(bytea("a\\\\b\\001"), Some(b"a\\b\x01".to_vec()));
        assert_eq!(bytea("\\x0"), None);
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}"] {
            assert_eq!(uuid(text).as_deref(), Some(canonical));
        }
        assert_eq!(uuid("a0ee"), None);
    }

    #[test]
    fn texts_keep_to_their_length() {
        assert_eq!(sized("abcdef", "varchar(3)", true).expect("cut"), "abc");
        assert_eq!(sized("abc   ", "varchar(3)", false).expect("blanks"), "abc");
        assert_eq!(sized("abcdef", "varchar(3)", false).expect_err("long").state.code(), "22001");
        assert_eq!(sized("x ", "bpchar(3)", true).expect("fits"), "x");
    }
}
