//! Statements that ask for one row by its key, with the key written out: drivers that put values
//! into the text send a new text for each row. They are planned once for all values.

use super::{Prepared, Session};
use crate::values::parse::scalar_of_text;
use datafusion::common::ScalarValue;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// Longer texts are not looked at.
const TEXT_MAX_BYTES: usize = 4096;
/// Texts that are remembered. Beyond this all are forgotten, which costs each of them one planning.
const KNOWN_MAX: usize = 1024;
/// The number of Postgres' type of an integer that needs four bytes, or eight.
const INT4: u32 = 23;
const INT8: u32 = 20;

/// What is known of statements, by their text with parameters for values.
#[derive(Default)]
pub(crate) struct Points {
    known: Mutex<HashMap<Shape, Known>>,
}

/// A text without its values, and the numbers of their types: what is planned for a text is not for
/// a number.
type Shape = (String, Vec<u32>);

#[derive(Clone)]
enum Known {
    /// It came once. A statement that never comes again is not worth a second planning.
    Seen,
    /// It asks for a row by its key.
    Point(Arc<Prepared>),
    /// It asks for something else, as of this version of the catalog.
    Other(u64),
}

impl Points {
    fn get(&self, shape: &Shape) -> Option<Known> {
        self.known.lock().get(shape).cloned()
    }

    fn set(&self, shape: Shape, known: Known) {
        let mut all = self.known.lock();
        if all.len() >= KNOWN_MAX && !all.contains_key(&shape) {
            all.clear();
        }
        all.insert(shape, known);
    }
}

impl Session {
    /// The plan of a text that asks for one row by its key, and the values that stand in the text.
    /// Nothing where the text asks for something else, or is not known yet.
    pub(crate) async fn point(&self, text: &str) -> Option<(Arc<Prepared>, Vec<ScalarValue>)> {
        // What this transaction or this session has made is known to it alone.
        if self.transaction.is_some() || self.overlay().is_some() {
            return None;
        }
        let Written { text, values } = written(text)?;
        let types = values.iter().map(Value::type_oid).collect();
        let prepared = self.known_point((text, types)).await?;
        let moment = self.moment();
        let fields = prepared.parameters.iter();
        let values = fields.zip(&values).map(|(field, value)| {
            // A value that does not fit is refused by the way that all other statements go.
            scalar_of_text(value.text(), field, &moment).ok()
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        Some((prepared, values))
    }

    async fn known_point(&self, shape: Shape) -> Option<Arc<Prepared>> {
        let points = &self.inner.points;
        let version = self.inner.catalog.version();
        match points.get(&shape) {
            None => {
                points.set(shape, Known::Seen);
                return None;
            }
            Some(Known::Point(prepared)) if prepared.version == version => return Some(prepared),
            Some(Known::Other(as_of)) if as_of == version => return None,
            Some(_) => {}
        }
        match self.prepared_point(&shape).await {
            Some(prepared) => {
                let prepared = Arc::new(prepared);
                points.set(shape, Known::Point(prepared.clone()));
                Some(prepared)
            }
            None => {
                points.set(shape, Known::Other(version));
                None
            }
        }
    }

    async fn prepared_point(&self, (text, types): &Shape) -> Option<Prepared> {
        let mut prepared = self.parse_all(text).ok()?.pop()?;
        // What cannot be planned is refused by the way that all other statements go.
        self.prepare(&mut prepared, types).await.ok()?;
        let lookup = prepared.lookup.as_ref()?;
        // So is a number that is compared with something else.
        let is_fit = lookup.keys().all(|(column, number)| {
            let kind = number.checked_sub(1).and_then(|index| types.get(index));
            kind.is_some_and(|kind| *kind == 0 || column.kind.arrow().is_numeric())
        });
        (is_fit && prepared.parameters.len() == types.len()).then_some(prepared)
    }
}

/// A statement whose values have been taken out.
struct Written {
    /// Its text, with `$1`, `$2`, … in their places.
    text: String,
    values: Vec<Value>,
}

/// A value as it stands in a text.
#[derive(Debug, PartialEq)]
enum Value {
    Integer(String),
    Text(String),
}

impl Value {
    fn text(&self) -> &str {
        let (Self::Integer(text) | Self::Text(text)) = self;
        text
    }

    /// What Postgres takes it for; 0 for a text, whose type follows from where it stands.
    fn type_oid(&self) -> u32 {
        match self {
            Self::Integer(text) if text.parse::<i32>().is_ok() => INT4,
            Self::Integer(_) => INT8,
            Self::Text(_) => 0,
        }
    }
}

/// Takes the values out of `SELECT … FROM … WHERE column = value AND … [LIMIT n]`. Nothing where
/// something else stands in the text: brackets, comments, other operators, more statements.
fn written(text: &str) -> Option<Written> {
    let text = text.trim_end_matches([';', ' ', '\n', '\r', '\t']);
    let starts = text.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("select "));
    if !starts || text.len() > TEXT_MAX_BYTES {
        return None;
    }
    let mut out = Written { text: String::with_capacity(text.len() + 8), values: Vec::new() };
    let mut rest = text;
    // The last thing that was not a blank.
    let mut last = "";
    while let Some(first) = rest.bytes().next() {
        let (token, after) = rest.split_at(token_bytes(rest, first)?);
        rest = after;
        match first {
            b'\'' | b'0'..=b'9' if last == "=" => {
                out.values.push(value(token)?);
                write!(out.text, "${}", out.values.len()).ok()?;
            }
            // At most one row has the key: a limit changes nothing.
            b'0'..=b'9' if last.eq_ignore_ascii_case("limit") => {
                let ends = rest.is_empty() && token.parse::<i64>().is_ok_and(|rows| rows > 0);
                let end = out.text.len().checked_sub(last.len() + 1).filter(|_| ends)?;
                out.text.truncate(end);
            }
            b'\'' | b'0'..=b'9' => return None,
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.text.push(' ');
                continue;
            }
            _ => out.text.push_str(token),
        }
        last = token;
    }
    (!out.values.is_empty()).then_some(out)
}

/// How many bytes the first token has.
fn token_bytes(rest: &str, first: u8) -> Option<usize> {
    let while_bytes = |is: &dyn Fn(u8) -> bool| rest.bytes().take_while(|&byte| is(byte)).count();
    Some(match first {
        b' ' | b'\n' | b'\r' | b'\t' => {
            while_bytes(&|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
        }
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
            let bytes = while_bytes(&|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            // E'…', B'…' and the like are not plain texts.
            let more = rest.as_bytes().get(bytes);
            if more.is_some_and(|byte| matches!(byte, b'\'' | b'"' | b'$' | 0x80..)) {
                return None;
            }
            bytes
        }
        b'0'..=b'9' => {
            let bytes = while_bytes(&|byte| byte.is_ascii_digit());
            let more = rest.as_bytes().get(bytes);
            if more.is_some_and(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
                return None;
            }
            bytes
        }
        b'\'' | b'"' => quoted_bytes(rest, first)?,
        b'=' | b',' | b'.' | b'*' => 1,
        _ => return None,
    })
}

/// The bytes of a text or a name in quotes; a doubled quote stands for one.
fn quoted_bytes(rest: &str, quote: u8) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == quote)? + 1;
        match bytes.get(at) {
            Some(&byte) if byte == quote => at += 1,
            // Two texts beside each other are for the parser.
            Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b'.' | b'=') | None => return Some(at),
            Some(_) => return None,
        }
    }
}

fn value(token: &str) -> Option<Value> {
    let Some(inner) = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) else {
        return token.parse::<i64>().is_ok().then(|| Value::Integer(token.to_owned()));
    };
    Some(Value::Text(inner.replace("''", "'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Option<(String, Vec<Value>)> {
        written(text).map(|Written { text, values }| (text, values))
    }

    #[test]
    fn values_are_taken_out() {
        let integer = |text: &str| Value::Integer(text.to_owned());
        let string = |text: &str| Value::Text(text.to_owned());
        for (text, left, values) in [
            ("SELECT a FROM t WHERE id = 7", "SELECT a FROM t WHERE id = $1", vec![integer("7")]),
            ("select * from t where id=7;\n", "select * from t where id=$1", vec![integer("7")]),
            (
                "SELECT \"t\".\"a b\" FROM \"t\"  WHERE \"t\".\"id\" = 'it''s' AND n = 1 LIMIT 21",
                "SELECT \"t\".\"a b\" FROM \"t\" WHERE \"t\".\"id\" = $1 AND n = $2 ",
                vec![string("it's"), integer("1")],
            ),
        ] {
            assert_eq!(taken(text), Some((left.to_owned(), values)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_left_alone() {
        for text in [
            "SELECT a FROM t",
            "SELECT 1",
            "SELECT a FROM t WHERE id = 7 LIMIT 0",
            "SELECT a FROM t WHERE id = 7 LIMIT 1 OFFSET 1",
            "SELECT a FROM t WHERE id = 7 LIMIT 99999999999999999999",
            "SELECT a FROM t WHERE id = 7.5",
            "SELECT a FROM t WHERE id = 7e1",
            "SELECT a FROM t WHERE id = 99999999999999999999",
            "SELECT a FROM t WHERE id = -7",
            "SELECT a FROM t WHERE id = E'\\n'",
            "SELECT a FROM t WHERE id = 'a' 'b'",
            "SELECT a FROM t WHERE id = 'a'::text",
            "SELECT a FROM t WHERE id = 'a",
            "SELECT a FROM t WHERE id = 7 -- AND b = 8",
            "SELECT a FROM t WHERE id = 7; SELECT 2",
            "SELECT a FROM t WHERE id IN (7)",
            "SELECT a FROM t WHERE id = $1",
            "SELECT 'x', a FROM t WHERE id = 7",
            "DELETE FROM t WHERE id = 7",
            "SELECT ä FROM t WHERE id = 7",
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
    }
}
