//! COPY FROM: lines of text and of CSV.

use super::bad_format;
use crate::error::{SqlError, SqlState};
use crate::sql::statement::{CopyFormat, CopyOptions};

/// A field's value: nothing where it is what stands for that.
pub(super) fn value_of(options: &CopyOptions, column: &str, field: Field) -> Option<String> {
    let listed = |names: &[String]| names.iter().any(|name| name == column || name == "*");
    let is_null = match options.format {
        CopyFormat::Text => field.raw_is_null,
        _ if field.quoted => listed(&options.force_null) && field.text == options.null,
        _ => field.text == options.null && !listed(&options.force_not_null),
    };
    (!is_null).then_some(field.text)
}

/// A field of a line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Field {
    pub(super) text: String,
    pub(super) quoted: bool,
    /// Whether it is, as it was written, what stands for no value.
    pub(super) raw_is_null: bool,
}

/// The lines of COPY's data, cut into fields.
pub(super) struct Lines<'a> {
    pub(super) rest: &'a str,
    pub(super) options: &'a CopyOptions,
}

impl Lines<'_> {
    pub(super) fn next_line(&mut self) -> Result<Option<Vec<Field>>, SqlError> {
        if self.rest.is_empty()
            || matches!(self.rest, "\\.")
            || self.rest.starts_with("\\.\n")
            || self.rest.starts_with("\\.\r\n")
        {
            return Ok(None);
        }
        match self.options.format {
            CopyFormat::Csv => self.csv_line().map(Some),
            _ => self.text_line().map(Some),
        }
    }

    fn text_line(&mut self) -> Result<Vec<Field>, SqlError> {
        let bytes = self.rest.as_bytes();
        // A newline behind a backslash belongs to the value.
        let mut end = 0;
        while let Some(&byte) = bytes.get(end) {
            match byte {
                b'\n' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let end = end.min(bytes.len());
        let line = self.rest.get(..end).unwrap_or_default();
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut fields = Vec::new();
        let mut start = 0;
        let mut at = 0;
        let bytes = line.as_bytes();
        loop {
            match bytes.get(at) {
                Some(b'\\') => at += 2,
                Some(&byte) if byte != self.options.delimiter => at += 1,
                other => {
                    let raw = line.get(start..at.min(line.len())).unwrap_or_default();
                    let raw_is_null = raw == self.options.null;
                    fields.push(Field { text: unescape(raw)?, quoted: false, raw_is_null });
                    if other.is_none() {
                        return Ok(fields);
                    }
                    at += 1;
                    start = at;
                }
            }
        }
    }

    fn csv_line(&mut self) -> Result<Vec<Field>, SqlError> {
        let (quote, escape, delimiter) =
            (self.options.quote, self.options.escape, self.options.delimiter);
        let bytes = self.rest.as_bytes();
        let mut fields = Vec::new();
        let mut field = Vec::new();
        let (mut inside, mut quoted, mut at) = (false, false, 0);
        let mut finish = |field: &mut Vec<u8>, quoted: &mut bool| -> Result<(), SqlError> {
            let text = String::from_utf8(std::mem::take(field))
                .map_err(|_| bad_format("a quote cuts a character"))?;
            fields.push(Field { text, quoted: std::mem::take(quoted), raw_is_null: false });
            Ok(())
        };
        loop {
            let Some(&byte) = bytes.get(at) else {
                if inside {
                    return Err(bad_format("unterminated CSV quoted field"));
                }
                break;
            };
            at += 1;
            if inside {
                let next = bytes.get(at).copied();
                if byte == escape
                    && next.is_some_and(|next| next == quote || next == escape)
                    && (byte != quote || next == Some(quote))
                {
                    field.extend(next);
                    at += 1;
                } else if byte == quote {
                    inside = false;
                } else {
                    field.push(byte);
                }
            } else if byte == quote {
                inside = true;
                quoted = true;
            } else if byte == delimiter {
                finish(&mut field, &mut quoted)?;
            } else if byte == b'\n' {
                break;
            } else if byte == b'\r' && bytes.get(at) == Some(&b'\n') {
                at += 1;
                break;
            } else {
                field.push(byte);
            }
        }
        finish(&mut field, &mut quoted)?;
        self.rest = self.rest.get(at..).unwrap_or_default();
        Ok(fields)
    }
}

fn unescape(field: &str) -> Result<String, SqlError> {
    if !field.contains('\\') {
        return Ok(field.to_owned());
    }
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.bytes().peekable();
    let digit = |byte: u8, base: u32| char::from(byte).to_digit(base).map(|digit| digit as u8);
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(next) = bytes.next() else {
            out.push(b'\\');
            break;
        };
        out.push(match next {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'x' if bytes.peek().is_some_and(|&byte| digit(byte, 16).is_some()) => {
                let mut value = 0;
                for _ in 0..2 {
                    if let Some(next) = bytes.peek().and_then(|&byte| digit(byte, 16)) {
                        value = value * 16 + next;
                        bytes.next();
                    }
                }
                value
            }
            b'0'..=b'7' => {
                let mut value = u16::from(next - b'0');
                for _ in 0..2 {
                    if let Some(next) = bytes.peek().and_then(|&byte| digit(byte, 8)) {
                        value = value * 8 + u16::from(next);
                        bytes.next();
                    }
                }
                (value & 0xFF) as u8
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| {
        SqlError::new(SqlState::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\"")
    })
}
