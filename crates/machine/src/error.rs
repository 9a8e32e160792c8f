//! Why a command was refused, in Redis's words.

use std::borrow::Cow;
use std::fmt;

/// A refused command. The code is stable and decides; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The error prefix: `ERR`, `WRONGTYPE`, …
    pub code: &'static str,
    /// What happened, to what, and what to do.
    pub message: Cow<'static, str>,
}

impl CommandError {
    /// A general error.
    pub const fn new(message: &'static str) -> Self {
        Self { code: "ERR", message: Cow::Borrowed(message) }
    }

    /// An error with a code of its own.
    pub const fn coded(code: &'static str, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message) }
    }

    /// A refusal with a prefix of its own and a text made for the occasion.
    pub fn coded_text(code: &'static str, message: String) -> Self {
        Self { code, message: Cow::Owned(message) }
    }

    /// A general error with a text made for the occasion.
    pub fn text(message: String) -> Self {
        Self { code: "ERR", message: Cow::Owned(message) }
    }

    /// A wrong number of arguments.
    pub fn arity(name: &str) -> Self {
        Self::text(format!("wrong number of arguments for '{}' command", name.to_lowercase()))
    }

    /// An expiry that is not after now or does not fit.
    pub(crate) fn expiry(name: &str) -> Self {
        Self::text(format!("invalid expire time in '{name}' command"))
    }

    /// Arguments in an order or combination that the command does not have.
    pub const SYNTAX: Self = Self::new("syntax error");
    /// The key holds another type.
    pub const WRONG_TYPE: Self =
        Self::coded("WRONGTYPE", "Operation against a key holding the wrong kind of value");
    /// Not a 64-bit integer.
    pub const NOT_AN_INTEGER: Self = Self::new("value is not an integer or out of range");
    /// Not a number.
    pub(crate) const NOT_A_FLOAT: Self = Self::new("value is not a valid float");
    /// A sum beyond the numbers that there are.
    pub(crate) const INFINITE_SUM: Self = Self::new("increment would produce NaN or Infinity");
    /// There is no such key.
    pub(crate) const NO_SUCH_KEY: Self = Self::new("no such key");
    /// The result would not fit into a string.
    pub(crate) const STRING_TOO_LONG: Self =
        Self::new("string exceeds maximum allowed size (proto-max-bulk-len)");
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.code, self.message)
    }
}

impl std::error::Error for CommandError {}
