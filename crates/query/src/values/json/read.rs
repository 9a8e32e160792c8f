//! Reads JSON, with the place of each value in the text.

use super::Json;
use crate::error::{SqlError, SqlState};
use crate::functions::Budget;

/// Deeper nesting is refused.
const DEPTH_MAX: usize = 500;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) value: Value,
}

/// A value whose text is kept: objects have their keys as often as they were written.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number,
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    budget: Budget,
}

fn invalid(text: &str) -> SqlError {
    let shown: String = text.chars().take(100).collect();
    SqlError::new(SqlState::InvalidText, "invalid input syntax for type json")
        .hint(format!("the text is {shown}"))
}

/// Reads a text.
pub(crate) fn spanned(text: &str) -> Result<Node, SqlError> {
    let mut reader = Reader { text, at: 0, depth: 0, budget: Budget::default() };
    let node = reader.value()?;
    reader.blanks();
    if reader.at == text.len() { Ok(node) } else { Err(invalid(text)) }
}

/// Whether a text is JSON.
pub(crate) fn check(text: &str) -> Result<(), SqlError> {
    spanned(text).map(drop)
}

/// The values of a text.
pub(crate) fn parse(text: &str) -> Result<Json, SqlError> {
    let node = spanned(text)?;
    node.to_json(text)
}

impl Node {
    /// Its text.
    pub(crate) fn raw<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    /// Its value as `jsonb` has it.
    pub(crate) fn to_json(&self, text: &str) -> Result<Json, SqlError> {
        self.within(text, &mut Budget::default())
    }

    fn within(&self, text: &str, budget: &mut Budget) -> Result<Json, SqlError> {
        Ok(match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number => Json::Number(number(self.raw(text), budget)?),
            Value::Text(value) => {
                if value.contains('\0') {
                    return Err(SqlError::new(
                        SqlState::UntranslatableCharacter,
                        "unsupported Unicode escape sequence: \\u0000 cannot be converted to text",
                    ));
                }
                Json::Text(value.clone())
            }
            Value::Array(nodes) => {
                let values = nodes.iter().map(|node| node.within(text, budget));
                Json::Array(values.collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let pairs = fields.iter();
                let pairs = pairs.map(|(key, node)| Ok((key.clone(), node.within(text, budget)?)));
                Json::object(pairs.collect::<Result<_, SqlError>>()?)
            }
        })
    }

    /// The value of a key: of several the last one.
    pub(crate) fn field(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Object(fields) => {
                fields.iter().rev().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    pub(crate) fn element(&self, index: i64) -> Option<&Node> {
        match &self.value {
            Value::Array(nodes) => nodes.get(super::place(index, nodes.len())?),
            _ => None,
        }
    }

    pub(crate) fn at(&self, path: &[String]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match node.value {
            Value::Array(_) => node.element(step.trim().parse().ok()?),
            _ => node.field(step),
        })
    }

    /// Its text as `->>` gives it: a string without quotes; nothing of null.
    pub(crate) fn plain(&self, text: &str) -> Option<String> {
        match &self.value {
            Value::Null => None,
            Value::Text(value) => Some(value.clone()),
            _ => Some(self.raw(text).to_owned()),
        }
    }
}

/// A number as `numeric` prints it: without an exponent.
fn number(raw: &str, budget: &mut Budget) -> Result<String, SqlError> {
    if !raw.contains(['e', 'E']) {
        return Ok(if raw == "-0" { "0".to_owned() } else { raw.to_owned() });
    }
    let too_large =
        || SqlError::new(SqlState::NumericOutOfRange, format!("the number {raw} is too large"));
    let (negative, digits, scale) =
        crate::values::parse::decimal_digits(raw).ok_or_else(too_large)?;
    if scale.abs() > 5_000 {
        return Err(too_large());
    }
    budget.take(digits.len() + scale.unsigned_abs() as usize)?;
    let (digits, after) = if scale < 0 {
        (format!("{digits}{:0<zeros$}", "", zeros = scale.unsigned_abs() as usize), 0)
    } else {
        (digits, scale as usize)
    };
    let padded = format!("{digits:0>width$}", width = after + 1);
    let (whole, fraction) = padded.split_at(padded.len() - after);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative { "-" } else { "" };
    Ok(if after == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn invalid<T>(&self) -> Result<T, SqlError> {
        Err(invalid(self.text))
    }

    fn value(&mut self) -> Result<Node, SqlError> {
        self.blanks();
        let start = self.at;
        self.depth += 1;
        self.budget.take_part()?;
        if self.depth > DEPTH_MAX {
            let message = format!("JSON is nested deeper than {DEPTH_MAX} levels");
            return Err(SqlError::new(SqlState::StatementTooComplex, message));
        }
        let value = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        self.depth -= 1;
        Ok(Node { start, end: self.at, value })
    }

    fn word(&mut self) -> Result<Value, SqlError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, value) in
            [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))]
        {
            if let Some(after) = rest.strip_prefix(word)
                && !after.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
            {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.invalid()
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, SqlError> {
        self.at += usize::from(self.peek() == Some(b'-'));
        let first = self.peek();
        let whole = self.digits();
        if whole == 0 || (whole > 1 && first == Some(b'0')) {
            return self.invalid();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.invalid();
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return self.invalid();
            }
        }
        if self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return self.invalid();
        }
        Ok(Value::Number)
    }

    fn string(&mut self) -> Result<String, SqlError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.find(['"', '\\']).ok_or_else(|| invalid(self.text))?;
            let (piece, _) = rest.split_at(plain);
            if piece.bytes().any(|byte| byte < 0x20) {
                return self.invalid();
            }
            out.push_str(piece);
            self.at += plain + 1;
            if rest.as_bytes().get(plain) == Some(&b'"') {
                return Ok(out);
            }
            let escape = self.peek();
            self.at += 1;
            out.push(match escape {
                Some(b'"') => '"',
                Some(b'\\') => '\\',
                Some(b'/') => '/',
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(b'u') => self.unicode()?,
                _ => return self.invalid(),
            });
        }
    }

    fn four(&mut self) -> Result<u32, SqlError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| invalid(self.text))
    }

    fn unicode(&mut self) -> Result<char, SqlError> {
        let first = self.four()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| invalid(self.text));
        }
        let follows = self.text.get(self.at..self.at + 2) == Some("\\u");
        if first >= 0xDC00 || !follows {
            return self.invalid();
        }
        self.at += 2;
        let second = self.four()?;
        if !(0xDC00..0xE000).contains(&second) {
            return self.invalid();
        }
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        char::from_u32(code).ok_or_else(|| invalid(self.text))
    }

    fn array(&mut self) -> Result<Value, SqlError> {
        self.at += 1;
        let mut values = Vec::new();
        if self.takes(b']') {
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value()?);
            if self.takes(b']') {
                return Ok(Value::Array(values));
            }
            if !self.takes(b',') {
                return self.invalid();
            }
        }
    }

    fn object(&mut self) -> Result<Value, SqlError> {
        self.at += 1;
        let mut fields = Vec::new();
        if self.takes(b'}') {
            return Ok(Value::Object(fields));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return self.invalid();
            }
            let key = self.string()?;
            if !self.takes(b':') {
                return self.invalid();
            }
            fields.push((key, self.value()?));
            if self.takes(b'}') {
                return Ok(Value::Object(fields));
            }
            if !self.takes(b',') {
                return self.invalid();
            }
        }
    }
}
