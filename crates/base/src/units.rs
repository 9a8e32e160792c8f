//! Sizes and durations as people write them: `64MiB`, `2gb`, `500ms`, `1h`.

/// A number with a unit that could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("cannot read '{text}' as a {what}: write a number and a unit, such as {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// Reads a size in bytes. `k`, `m`, `g` are powers of 1000 and `kb`/`KiB`, `mb`/`MiB`, `gb`/`GiB`
/// powers of 1024, as in redis.conf.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let scale = |unit: &str| {
        Some(match unit {
            "" | "b" => 1,
            "k" => 1_000,
            "m" => 1_000_000,
            "g" => 1_000_000_000,
            "kb" | "kib" => 1 << 10,
            "mb" | "mib" => 1 << 20,
            "gb" | "gib" => 1 << 30,
            "tb" | "tib" => 1 << 40,
            _ => return None,
        })
    };
    parse(text, scale).ok_or_else(|| error(text, "size", "512MiB"))
}

/// Reads a duration in milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<u64, UnitError> {
    let scale = |unit: &str| {
        Some(match unit {
            "ms" | "" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        })
    };
    parse(text, scale).ok_or_else(|| error(text, "duration", "500ms"))
}

/// Writes a size the way `parse_bytes` reads it, with at most one decimal.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 { format!("{bytes} {name}") } else { format!("{value:.1} {name}") }
}

/// Writes a size so that `parse_bytes` reads the same number: in the largest unit that divides it.
pub fn exact_bytes(bytes: u64) -> String {
    exact(bytes, &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")], "")
}

/// Writes a duration so that `parse_duration_ms` reads the same number: in the largest unit that
/// divides it.
pub fn exact_duration_ms(ms: u64) -> String {
    exact(ms, &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")], "ms")
}

fn exact(number: u64, units: &[(u64, &str)], smallest: &str) -> String {
    if number == 0 {
        return "0".to_owned();
    }
    match units.iter().find(|(scale, _)| number.is_multiple_of(*scale)) {
        Some((scale, unit)) => format!("{}{unit}", number / scale),
        None => format!("{number}{smallest}"),
    }
}

fn parse(text: &str, scale: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    number.parse::<u64>().ok()?.checked_mul(scale(&unit.trim().to_ascii_lowercase())?)
}

fn error(text: &str, what: &'static str, example: &'static str) -> UnitError {
    UnitError { text: text.to_owned(), what, example }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse_bytes("2GiB"), Ok(2 << 30));
        assert_eq!(parse_bytes("100mb"), Ok(100 << 20));
        assert_eq!(parse_bytes("7"), Ok(7));
        assert_eq!(parse_duration_ms("5s"), Ok(5_000));
        assert!(parse_bytes("GiB").is_err());
        assert!(parse_bytes("-1").is_err());
        assert!(parse_bytes("99999999999999999999g").is_err());
        assert!(parse_duration_ms("5 parsecs").is_err());
        assert_eq!(format_bytes(1536), "1.5 KiB");
    }

    #[test]
    fn what_is_written_exactly_is_read_as_it_was() {
        assert_eq!(exact_bytes(64 << 20), "64MiB");
        assert_eq!(exact_bytes(1_500), "1500");
        assert_eq!(exact_duration_ms(90_000), "90s");
        assert_eq!(exact_duration_ms(86_400_000), "1d");
        for number in [0, 1, 999, 1_000, 1_024, 60_000, 1 << 30, 7 << 40, u64::MAX] {
            assert_eq!(parse_bytes(&exact_bytes(number)), Ok(number));
            assert_eq!(parse_duration_ms(&exact_duration_ms(number)), Ok(number));
        }
    }
}
