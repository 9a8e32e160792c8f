//! COPY between a relation and the client.

use super::{
    Copy, CopyFormat, CopyOptions, Header, Statement, expect, ident, name, word, wrong_option,
};
use crate::error::{SqlError, SqlState};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

/// Options as they are given, before it is known which format they are for.
#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    header: Option<Header>,
    delimiter: Option<String>,
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<Vec<String>>,
    force_not_null: Option<Vec<String>>,
    force_null: Option<Vec<String>>,
}

/// `COPY name [(column, …)] FROM STDIN` or `COPY name | (query) TO STDOUT`, with options as
/// Postgres has them. `None` where files are copied: that is DataFusion's.
pub(super) fn copy(parser: &mut Parser<'_>) -> Result<Option<Statement>, SqlError> {
    let mut copy = Copy {
        relation: String::new(),
        columns: Vec::new(),
        query: None,
        options: Given::default().finish()?,
    };
    if parser.consume_token(&Token::LParen) {
        copy.query = Some(parser.parse_query()?.to_string());
        parser.expect_token(&Token::RParen)?;
    } else {
        copy.relation = name(parser)?;
        if parser.consume_token(&Token::LParen) {
            copy.columns = names(parser)?;
        }
    }
    let goes_in = word(parser, "FROM");
    if !goes_in && !word(parser, "TO") {
        expect(parser, "FROM or TO")?;
    }
    if !word(parser, if goes_in { "STDIN" } else { "STDOUT" }) {
        return Ok(None);
    }
    copy.options = options(parser)?;
    Ok(Some(if goes_in { Statement::CopyIn(copy) } else { Statement::CopyOut(copy) }))
}

/// Names up to a closing parenthesis.
fn names(parser: &mut Parser<'_>) -> Result<Vec<String>, SqlError> {
    let mut names = Vec::new();
    loop {
        names.push(ident(parser)?);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(names)
}

fn options(parser: &mut Parser<'_>) -> Result<CopyOptions, SqlError> {
    let _optional = word(parser, "WITH");
    let in_parens = parser.consume_token(&Token::LParen);
    let mut given = Given::default();
    loop {
        if !given.take(parser, in_parens)? {
            break;
        }
        if in_parens && !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    if in_parens {
        parser.expect_token(&Token::RParen)?;
    }
    given.finish()
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), SqlError> {
    if slot.is_some() {
        return Err(SqlError::new(SqlState::SyntaxError, "conflicting or redundant options"));
    }
    *slot = Some(value);
    Ok(())
}

fn text(parser: &mut Parser<'_>) -> Result<String, SqlError> {
    let _optional = word(parser, "AS");
    match parser.next_token().token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
        Token::Word(word) => Ok(word.value),
        Token::Number(text, _) => Ok(text),
        other => Err(SqlError::new(
            SqlState::SyntaxError,
            format!("syntax error at or near \"{other}\""),
        )),
    }
}

fn boolean(parser: &mut Parser<'_>) -> bool {
    for (no, value) in [("FALSE", false), ("OFF", false), ("TRUE", true), ("ON", true)] {
        if word(parser, no) {
            return value;
        }
    }
    true
}

impl Given {
    /// Takes one option; false where there is none.
    fn take(&mut self, parser: &mut Parser<'_>, in_parens: bool) -> Result<bool, SqlError> {
        if self.take_format(parser, in_parens)?
            || self.take_text(parser)?
            || self.take_columns(parser)?
        {
            return Ok(true);
        }
        if word(parser, "HEADER") {
            let header = if word(parser, "MATCH") {
                Header::Match
            } else if boolean(parser) {
                Header::Yes
            } else {
                Header::No
            };
            once(&mut self.header, header)?;
        } else if word(parser, "ENCODING") {
            let encoding = text(parser)?;
            if !matches!(encoding.to_ascii_uppercase().replace('-', "").as_str(), "UTF8") {
                return Err(SqlError::unsupported(format!(
                    "COPY in encoding {encoding}: texts are UTF-8"
                )));
            }
        } else if word(parser, "FREEZE") {
            // What it would spare is not done here anyway.
            boolean(parser);
        } else if in_parens {
            let found = parser.peek_token();
            return Err(SqlError::new(
                SqlState::SyntaxError,
                format!("option \"{found}\" not recognized"),
            ));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Takes the format, if it comes next.
    fn take_format(&mut self, parser: &mut Parser<'_>, in_parens: bool) -> Result<bool, SqlError> {
        let format = if word(parser, "FORMAT") {
            let name = text(parser)?;
            match name.to_ascii_lowercase().as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                _ => {
                    let message = format!("COPY format \"{name}\" not recognized");
                    return Err(SqlError::new(SqlState::InvalidParameter, message));
                }
            }
        } else if !in_parens && word(parser, "CSV") {
            CopyFormat::Csv
        } else if !in_parens && word(parser, "BINARY") {
            CopyFormat::Binary
        } else {
            return Ok(false);
        };
        once(&mut self.format, format)?;
        Ok(true)
    }

    /// Takes an option whose value is a text, if one comes next.
    fn take_text(&mut self, parser: &mut Parser<'_>) -> Result<bool, SqlError> {
        let slot = if word(parser, "DELIMITER") || word(parser, "DELIMITERS") {
            &mut self.delimiter
        } else if word(parser, "NULL") {
            &mut self.null
        } else if word(parser, "QUOTE") {
            &mut self.quote
        } else if word(parser, "ESCAPE") {
            &mut self.escape
        } else {
            return Ok(false);
        };
        once(slot, text(parser)?)?;
        Ok(true)
    }

    /// Takes an option whose value is a list of columns, if one comes next.
    fn take_columns(&mut self, parser: &mut Parser<'_>) -> Result<bool, SqlError> {
        let slot = if word(parser, "FORCE_QUOTE") {
            &mut self.force_quote
        } else if word(parser, "FORCE_NOT_NULL") {
            &mut self.force_not_null
        } else if word(parser, "FORCE_NULL") {
            &mut self.force_null
        } else {
            return Ok(false);
        };
        once(slot, columns(parser)?)?;
        Ok(true)
    }

    fn finish(self) -> Result<CopyOptions, SqlError> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let csv = format == CopyFormat::Csv;
        let only_csv = self.quote.is_some()
            || self.escape.is_some()
            || self.force_quote.is_some()
            || self.force_not_null.is_some()
            || self.force_null.is_some();
        if only_csv && !csv {
            return Err(SqlError::unsupported("COPY quotes and escapes are for format csv"));
        }
        if format == CopyFormat::Binary
            && (self.delimiter.is_some() || self.null.is_some() || self.header.is_some())
        {
            let message = "cannot specify DELIMITER, NULL or HEADER in BINARY mode";
            return Err(SqlError::new(SqlState::SyntaxError, message));
        }
        let byte = |name: &str, given: Option<String>, usual: u8| match given {
            None => Ok(usual),
            Some(text) => match text.as_bytes() {
                [byte] if *byte != b'\n' && *byte != b'\r' => Ok(*byte),
                _ => Err(wrong_option(name, &text, "a single one-byte character")),
            },
        };
        let quote = byte("quote", self.quote, b'"')?;
        Ok(CopyOptions {
            format,
            header: self.header.unwrap_or(Header::No),
            delimiter: byte("delimiter", self.delimiter, if csv { b',' } else { b'\t' })?,
            null: self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
            quote,
            escape: byte("escape", self.escape, quote)?,
            force_quote: self.force_quote,
            force_not_null: self.force_not_null.unwrap_or_default(),
            force_null: self.force_null.unwrap_or_default(),
        })
    }
}

/// `(a, b)` or `*`, which is kept as it is.
fn columns(parser: &mut Parser<'_>) -> Result<Vec<String>, SqlError> {
    if parser.consume_token(&Token::Mul) {
        return Ok(vec!["*".to_owned()]);
    }
    parser.expect_token(&Token::LParen)?;
    names(parser)
}
