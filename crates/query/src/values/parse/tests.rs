//! Tests of `parse.rs`.

use super::*;

fn read(text: &str, kind: DataType) -> Result<String, &'static str> {
    let field = Field::new("x", kind, true);
    scalar_of_text(text, &field, &Moment::default())
        .map(|value| {
            let array = value.to_array().expect("an array");
            crate::values::encode::text_of(&array, 0).unwrap_or_default()
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
