//! Writes JSON.

use super::Json;
use crate::error::SqlError;
use crate::functions::check_value;
use crate::sql::stop;
use std::fmt::Write;

/// A text in quotes, with what must be escaped.
pub(crate) fn put_quoted(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            letter if u32::from(letter) < 0x20 => {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

/// What it costs to write a value, beside a byte.
const VALUE_WORK: usize = 32;
/// How many blanks a level of a pretty text is moved in by.
const INDENT: usize = 4;

/// A text that grows. Its size is looked at with each value: a document of a few megabytes that is
/// deep has a pretty text of gigabytes.
struct Writer {
    out: String,
    is_pretty: bool,
    depth: usize,
}

/// The text of a value.
pub(super) fn text(value: &Json, is_pretty: bool) -> Result<String, SqlError> {
    let mut writer = Writer { out: String::new(), is_pretty, depth: 0 };
    writer.put(value)?;
    Ok(writer.out)
}

impl Writer {
    fn put(&mut self, value: &Json) -> Result<(), SqlError> {
        let before = self.out.len();
        match value {
            Json::Null => self.out.push_str("null"),
            Json::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Json::Number(digits) => self.out.push_str(digits),
            Json::Text(text) => put_quoted(&mut self.out, text),
            Json::Array(values) => {
                self.open('[');
                for (index, value) in values.iter().enumerate() {
                    self.before_part(index)?;
                    self.put(value)?;
                }
                self.close(']');
                return Ok(());
            }
            Json::Object(fields) => {
                self.open('{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    self.before_part(index)?;
                    put_quoted(&mut self.out, key);
                    self.out.push_str(": ");
                    self.put(value)?;
                }
                self.close('}');
                return Ok(());
            }
        }
        stop::work(VALUE_WORK + self.out.len() - before)
    }

    /// What stands between a part and the one before it.
    fn before_part(&mut self, index: usize) -> Result<(), SqlError> {
        if index > 0 {
            self.out.push_str(if self.is_pretty { "," } else { ", " });
        }
        if self.is_pretty {
            self.line();
            stop::work(self.depth)?;
        }
        check_value(self.out.len())
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
    }

    /// The end of a value that has parts. Pretty texts have a line of its own for it, without parts
    /// too.
    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        if self.is_pretty {
            self.line();
        }
        self.out.push(bracket);
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', self.depth * INDENT));
    }
}
