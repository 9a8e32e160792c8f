//! COPY between a relation and the client.

use super::{Copy, CopyFormat, Statement, expect, name, word, wrong_option};
use crate::error::SqlError;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

/// `COPY name [(column, …)] FROM STDIN` or `COPY name | (query) TO STDOUT`, with options as Postgres has them. `None` where
/// files are copied: that is DataFusion's.
pub(super) fn copy(parser: &mut Parser<'_>) -> Result<Option<Statement>, SqlError> {
    let mut copy = Copy {
        relation: String::new(),
        columns: Vec::new(),
        query: None,
        format: CopyFormat::Text,
        header: false,
        delimiter: b'\t',
    };
    if parser.consume_token(&Token::LParen) {
        copy.query = Some(parser.parse_query()?.to_string());
        parser.expect_token(&Token::RParen)?;
    } else {
        copy.relation = name(parser)?;
        if parser.consume_token(&Token::LParen) {
            copy.columns = parser
                .parse_comma_separated(|parser| parser.parse_identifier())?
                .into_iter()
                .map(|ident| {
                    if ident.quote_style.is_some() {
                        ident.value
                    } else {
                        ident.value.to_lowercase()
                    }
                })
                .collect();
            parser.expect_token(&Token::RParen)?;
        }
    }
    let goes_in = word(parser, "FROM");
    if !goes_in && !word(parser, "TO") {
        expect(parser, "FROM or TO")?;
    }
    if !word(parser, if goes_in { "STDIN" } else { "STDOUT" }) {
        return Ok(None);
    }
    let _optional = word(parser, "WITH");
    let in_parens = parser.consume_token(&Token::LParen);
    let mut delimiter = None;
    loop {
        if word(parser, "FORMAT") || (!in_parens && word(parser, "CSV")) {
            let previous = parser.get_current_token().to_string();
            let csv = previous.eq_ignore_ascii_case("CSV") || word(parser, "CSV");
            if !csv {
                expect(parser, "TEXT")?;
            }
            copy.format = if csv { CopyFormat::Csv } else { CopyFormat::Text };
        } else if word(parser, "HEADER") {
            copy.header = !word(parser, "FALSE");
            let _explicit = word(parser, "TRUE");
        } else if word(parser, "DELIMITER") {
            let text = parser.parse_literal_string()?;
            let &[byte] = text.as_bytes() else {
                return Err(wrong_option("delimiter", &text, "one character"));
            };
            delimiter = Some(byte);
        } else if !(in_parens && parser.consume_token(&Token::Comma)) {
            break;
        }
    }
    if in_parens {
        parser.expect_token(&Token::RParen)?;
    }
    copy.delimiter = delimiter.unwrap_or(if copy.format == CopyFormat::Csv { b',' } else { b'\t' });
    Ok(Some(if goes_in { Statement::CopyIn(copy) } else { Statement::CopyOut(copy) }))
}
