//! CREATE STREAM.

use super::duration::{duration_us, interval_us};
use super::{Statement, column, expect, ident, name, no_twins, options, word, wrong_option};
use crate::catalog::{OnError, Partitioner, StreamDefinition, Watermark};
use crate::error::{SqlError, SqlState};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_base::units::parse_bytes;

pub(super) fn create_stream(parser: &mut Parser<'_>) -> Result<Statement, SqlError> {
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = name(parser)?;
    let mut definition = StreamDefinition::default();
    if parser.consume_token(&Token::LParen) {
        loop {
            if word(parser, "WATERMARK") {
                definition.watermark = Some(watermark(parser)?);
            } else {
                definition.columns.push(column(&parser.parse_column_def()?)?);
            }
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
    }
    loop {
        if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
            definition.partitioner = partitioner(parser)?;
        } else if word(parser, "WATERMARK") {
            definition.watermark = Some(watermark(parser)?);
        } else if parser.parse_keyword(Keyword::WITH) {
            stream_options(parser, &mut definition)?;
        } else {
            break;
        }
    }
    no_twins(&definition.columns)?;
    Ok(Statement::CreateStream { name, if_not_exists, definition })
}

fn watermark(parser: &mut Parser<'_>) -> Result<Watermark, SqlError> {
    expect(parser, "FOR")?;
    let column = ident(parser)?;
    expect(parser, "AS")?;
    let source = ident(parser)?;
    if source != column {
        return Err(SqlError::unsupported(format!(
            "a watermark is computed from its own column: WATERMARK FOR {column} AS {column} - \
             INTERVAL '5' SECOND"
        )));
    }
    let mut delay_us = 0;
    if parser.consume_token(&Token::Minus) {
        parser.expect_keyword(Keyword::INTERVAL)?;
        delay_us = interval_us(&parser.parse_interval()?)?;
    }
    Ok(Watermark { column, delay_us })
}

fn partitioner(parser: &mut Parser<'_>) -> Result<Partitioner, SqlError> {
    let in_parens = |parser: &mut Parser<'_>| {
        parser.expect_token(&Token::LParen)?;
        let column = ident(parser)?;
        parser.expect_token(&Token::RParen)?;
        Ok::<_, SqlError>(column)
    };
    if word(parser, "ROUND") {
        expect(parser, "ROBIN")?;
        return Ok(Partitioner::RoundRobin);
    }
    if word(parser, "RANDOM") {
        return Ok(Partitioner::Random);
    }
    if word(parser, "HASH") {
        return in_parens(parser).map(Partitioner::Hash);
    }
    if word(parser, "RANGE") {
        let column = in_parens(parser)?;
        expect(parser, "VALUES")?;
        parser.expect_token(&Token::LParen)?;
        let bounds = parser.parse_comma_separated(|parser| parser.parse_literal_string())?;
        parser.expect_token(&Token::RParen)?;
        if !bounds.is_sorted() {
            return Err(SqlError::new(
                SqlState::InvalidDefinition,
                "the bounds of the ranges must ascend",
            ));
        }
        return Ok(Partitioner::Range(column, bounds));
    }
    ident(parser).map(Partitioner::Hash)
}

fn stream_options(
    parser: &mut Parser<'_>,
    definition: &mut StreamDefinition,
) -> Result<(), SqlError> {
    for (name, value) in options(parser)? {
        match name.as_str() {
            "partitions" => {
                definition.partitions = value
                    .parse()
                    .map_err(|_| wrong_option(&name, &value, "a number from 1 to 1024"))?;
            }
            "retention" => definition.retention_ms = Some(duration_us(&value)? as u64 / 1_000),
            "retention_bytes" => {
                definition.retention_bytes = Some(
                    parse_bytes(&value)
                        .map_err(|_| wrong_option(&name, &value, "a size like '10GiB'"))?,
                );
            }
            "segment_records" => {
                let number = value.parse().ok().filter(|number| (1..=16 << 20).contains(number));
                definition.segment_records = number
                    .ok_or_else(|| wrong_option(&name, &value, "a number from 1 to 16777216"))?;
            }
            "on_error" => {
                definition.on_error = match value.to_ascii_lowercase().as_str() {
                    "refuse" => OnError::Refuse,
                    "dead_letter" => OnError::DeadLetter,
                    _ => return Err(wrong_option(&name, &value, "'refuse' or 'dead_letter'")),
                };
            }
            _ => {
                return Err(wrong_option(&name, &value, "there is no such option").hint(
                    "the options of a stream are partitions, retention, retention_bytes, \
                           segment_records and on_error",
                ));
            }
        }
    }
    Ok(())
}
