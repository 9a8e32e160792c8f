//! FETCH and MOVE: the direction, the number of rows, and the cursor. The parser's own takes no
//! negative counts.

use super::word;
use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::{FetchDirection, Ident, Value, ValueWithSpan};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

/// `[direction] [FROM | IN] cursor`
pub(super) fn direction(parser: &mut Parser<'_>) -> Result<(FetchDirection, Ident), SqlError> {
    let direction = if word(parser, "NEXT") {
        FetchDirection::Next
    } else if word(parser, "PRIOR") {
        FetchDirection::Prior
    } else if word(parser, "FIRST") {
        FetchDirection::First
    } else if word(parser, "LAST") {
        FetchDirection::Last
    } else if word(parser, "ABSOLUTE") {
        FetchDirection::Absolute { limit: needed(parser)? }
    } else if word(parser, "RELATIVE") {
        FetchDirection::Relative { limit: needed(parser)? }
    } else if word(parser, "ALL") {
        FetchDirection::All
    } else if word(parser, "FORWARD") {
        match word(parser, "ALL") {
            true => FetchDirection::ForwardAll,
            false => FetchDirection::Forward { limit: count(parser)? },
        }
    } else if word(parser, "BACKWARD") {
        match word(parser, "ALL") {
            true => FetchDirection::BackwardAll,
            false => FetchDirection::Backward { limit: count(parser)? },
        }
    } else {
        count(parser)?.map_or(FetchDirection::Next, |limit| FetchDirection::Count { limit })
    };
    let _preposition = parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::IN]);
    Ok((direction, parser.parse_identifier()?))
}

fn needed(parser: &mut Parser<'_>) -> Result<ValueWithSpan, SqlError> {
    match count(parser)? {
        Some(count) => Ok(count),
        None => Ok(parser.expected_ref("a number", parser.peek_token_ref())?),
    }
}

/// A number with its sign, if there is one.
fn count(parser: &mut Parser<'_>) -> Result<Option<ValueWithSpan>, SqlError> {
    let is_negative = parser.consume_token(&Token::Minus);
    let has_sign = is_negative || parser.consume_token(&Token::Plus);
    if !has_sign && !matches!(parser.peek_token_ref().token, Token::Number(..)) {
        return Ok(None);
    }
    let digits = parser.parse_number_value()?.to_string();
    let sign = if is_negative { "-" } else { "" };
    Ok(Some(Value::Number(format!("{sign}{digits}"), false).into()))
}
