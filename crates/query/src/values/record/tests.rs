//! Tests of `values.rs`.

use super::*;

const KINDS: &[(ColumnType, &[&str], &[&str])] = &[
    (ColumnType::Boolean, &["true", "false"], &["maybe", ""]),
    (ColumnType::Smallint, &["-32768", "7"], &["32768", "x"]),
    (ColumnType::Integer, &["2147483647"], &["2147483648", "1.5"]),
    (ColumnType::Bigint, &["-9223372036854775808"], &["9223372036854775808", "1 2"]),
    (ColumnType::Double, &["0.1", "-12.75", "1e300", "NaN"], &["one", "", ".", "-"]),
    (ColumnType::Decimal(6, 2), &["1234.56", "-0.01"], &["12345.67", "", "1.2.3"]),
    (ColumnType::Text, &["", "grün"], &[]),
    (ColumnType::Json, &["{\"a\":[1,2]}"], &["{a:1}", ""]),
    (ColumnType::Bytea, &["\u{1}bytes"], &[]),
    (ColumnType::Date, &["2026-01-15"], &["yesterday"]),
    (ColumnType::Timestamp, &["2026-01-15T10:00:00.500"], &["soon"]),
];

#[test]
fn values_are_trimmed_and_rounded_as_postgres_does() {
    for (kind, text, wanted) in [
        (ColumnType::Bigint, " 1", "1"),
        (ColumnType::Decimal(6, 2), "0.001", "0.00"),
        (ColumnType::Decimal(6, 2), "-1.005", "-1.01"),
        (ColumnType::NumericTo(50, 2), "1.239", "1.24"),
    ] {
        assert!(fits(kind, text.as_bytes()), "{kind:?} {text}");
        let mut builder = ColumnBuilder::new(kind, 1);
        assert!(builder.append_text(text.as_bytes()), "{kind:?} {text}");
        let mut shown = Vec::new();
        put_text(&mut shown, &builder.finish(), 0).expect("text");
        assert_eq!(String::from_utf8_lossy(&shown), wanted);
    }
}

#[test]
fn text_and_stored_bytes_give_the_same_column() {
    for &(kind, good, bad) in KINDS {
        let mut from_text = ColumnBuilder::new(kind, 4);
        for text in good {
            assert!(from_text.append_text(text.as_bytes()), "{kind:?} {text}");
            assert!(fits(kind, text.as_bytes()), "{kind:?} {text}");
        }
        for text in bad {
            assert!(!fits(kind, text.as_bytes()), "{kind:?} took {text}");
            assert!(!from_text.append_text(text.as_bytes()), "{kind:?} took {text}");
        }
        from_text.append_null();
        let column = from_text.finish();
        assert_eq!(column.len(), good.len() + 1);
        let mut from_stored = ColumnBuilder::new(kind, 4);
        for (row, text) in good.iter().enumerate() {
            let mut stored = Vec::new();
            assert!(put_stored(&mut stored, &column, row));
            let mut rest = stored.as_slice();
            from_stored.append_stored(&mut rest).expect("its own bytes");
            assert!(rest.is_empty());
            let mut rest = stored.as_slice();
            skip_stored(kind, &mut rest).expect("its own bytes");
            assert!(rest.is_empty());
            let mut again = Vec::new();
            put_text(&mut again, &column, row).expect("text");
            if !matches!(kind, ColumnType::Double) {
                assert_eq!(String::from_utf8_lossy(&again), *text);
            }
            for cut in 0..stored.len() {
                let mut short = stored.get(..cut).expect("shorter");
                assert!(ColumnBuilder::new(kind, 1).append_stored(&mut short).is_none());
                assert!(skip_stored(kind, &mut &stored[..cut]).is_none());
            }
        }
        from_stored.append_null();
        assert_eq!(&from_stored.finish(), &column, "{kind:?}");
    }
}

#[test]
fn fast_doubles_are_the_nearest_doubles() {
    let mut random = 9u64;
    for _ in 0..100_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let text = format!("{}.{}", random >> 44, random >> 20 & 0xFFFF);
        assert_eq!(parse_f64(text.as_bytes()), text.parse().ok(), "{text}");
    }
}
