//! Statements. Those of our own grammar are parsed here, all others by DataFusion's parser.
//!
//! ```text
//! CREATE STREAM [IF NOT EXISTS] name
//!     [(column type [NOT NULL], …, [WATERMARK FOR column AS column - INTERVAL '…'])]
//!     [PARTITION BY column | HASH(column) | ROUND ROBIN | RANDOM | RANGE(column) VALUES ('…', …)]
//!     [WATERMARK FOR …]
//!     [WITH (partitions = 4, retention = '7 days', retention_bytes = '10GiB',
//!            segment_records = 262144, on_error = 'refuse')]
//! CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] name
//!     [WITH (batch_rows = 8192, batch_delay = '1ms', lateness = '0s', emit = 'change',
//!            changes = 10000)] AS query
//! DROP STREAM | MATERIALIZED VIEW [IF EXISTS] name
//! PAUSE | RESUME MATERIALIZED VIEW name
//! SEAL STREAM name
//! ```

mod copy;
mod depth;
mod duration;
mod expansion;
mod fetch;
mod sequence_tokens;
mod sizes;
mod stream;
mod tokens;

pub(crate) use depth::{ALL_OF, CHAIN};
pub(crate) use duration::{duration_us, interval_us};
pub(crate) use expansion::check_plan;

use crate::catalog::{Emit, StreamDefinition};
use crate::error::{SqlError, SqlState};
use crate::sql::dialect::Grammar;
use crate::sql::window::wrap_sources;
use crate::values::types::{Column, ColumnType};
pub(crate) use create::{column, no_twins};
use create::{create_view, options, wrong_option};
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, FetchDirection, FetchPosition, Ident, Query, Statement as SqlStatement,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use thalweg_base::units::parse_duration_ms;

/// The longest text of a request.
const TEXT_MAX_BYTES: usize = 16 << 20;
/// Deeper nesting is refused; each level costs stack.
const NESTING_MAX: usize = 100;

/// A statement.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    CreateStream {
        name: String,
        if_not_exists: bool,
        definition: StreamDefinition,
    },
    CreateView(CreateView),
    Drop {
        kind: &'static str,
        name: String,
        if_exists: bool,
    },
    SetPaused {
        name: String,
        paused: bool,
    },
    /// Everything a stream has goes into segments now.
    Seal {
        name: String,
    },
    /// What runs incrementally in a view that exists, or in a query that could be one.
    ExplainView(Box<CreateView>),
    CopyIn(Copy),
    CopyOut(Copy),
    /// FETCH without the rows.
    Move {
        name: String,
        direction: FetchDirection,
    },
    /// A text of blanks and comments.
    Empty,
    Df(Box<DfStatement>),
}

/// COPY between a relation and the client.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) relation: String,
    pub(crate) columns: Vec<String>,
    /// What is copied out, where it is not a relation.
    pub(crate) query: Option<String>,
    pub(crate) options: CopyOptions,
}

/// How COPY writes and reads.
#[derive(Clone, Debug)]
pub(crate) struct CopyOptions {
    pub(crate) format: CopyFormat,
    pub(crate) header: Header,
    pub(crate) delimiter: u8,
    /// What stands for no value.
    pub(crate) null: String,
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    /// Columns whose values are always in quotes; all of them where there is a `*`.
    pub(crate) force_quote: Option<Vec<String>>,
    pub(crate) force_not_null: Vec<String>,
    pub(crate) force_null: Vec<String>,
}

/// Whether the first line has the columns' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    No,
    Yes,
    /// And they must be the right ones.
    Match,
}

/// The form that COPY has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    Text,
    Csv,
    Binary,
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CreateStream { name, .. } => write!(f, "CREATE STREAM {name}"),
            Self::CreateView(view) => {
                write!(f, "CREATE MATERIALIZED VIEW {} AS {}", view.name, view.query)
            }
            Self::Drop { kind, name, .. } => write!(f, "DROP {} {name}", kind.to_uppercase()),
            Self::SetPaused { name, paused: true } => write!(f, "PAUSE MATERIALIZED VIEW {name}"),
            Self::SetPaused { name, paused: false } => write!(f, "RESUME MATERIALIZED VIEW {name}"),
            Self::Seal { name } => write!(f, "SEAL STREAM {name}"),
            Self::ExplainView(view) => write!(f, "EXPLAIN CREATE MATERIALIZED VIEW {}", view.name),
            Self::CopyIn(copy) => write!(f, "COPY {} FROM STDIN", copy.relation),
            Self::CopyOut(copy) => write!(f, "COPY {} TO STDOUT", copy.relation),
            Self::Move { name, .. } => write!(f, "MOVE {name}"),
            Self::Empty => Ok(()),
            Self::Df(statement) => write!(f, "{statement}"),
        }
    }
}

/// CREATE MATERIALIZED VIEW.
#[derive(Clone, Debug)]
pub(crate) struct CreateView {
    pub(crate) name: String,
    pub(crate) or_replace: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) query: Box<Query>,
    pub(crate) batch_rows: usize,
    pub(crate) batch_delay_ms: u64,
    pub(crate) lateness_us: i64,
    pub(crate) emit: Emit,
    pub(crate) changes: Option<u64>,
}

/// Splits a request's text into its statements and parses them.
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(SqlError::new(
            SqlState::LimitExceeded,
            format!(
                "the request has {} bytes of SQL; at most {TEXT_MAX_BYTES} are possible",
                text.len()
            ),
        ));
    }
    let dialect = Grammar::default();
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| SqlError::new(SqlState::SyntaxError, error.to_string()))?;
    let statements = tokens.split(|token| token.token == Token::SemiColon);
    let not_empty = statements.filter(|tokens| {
        !tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::EOF))
    });
    not_empty
        .map(|tokens| {
            let parsed = depth::with_stack(tokens, || {
                parse_one(sequence_tokens::ordered(tokens::rewritten(tokens)))
            });
            // A parser that was stopped says that it is too deep.
            crate::sql::stop::check()?;
            parsed
        })
        .collect()
}

fn parse_one(tokens: Vec<TokenWithSpan>) -> Result<Statement, SqlError> {
    let dialect = Grammar::limited(tokens.len());
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(tokens.clone());
    if let Some(ours) = parse_ours(&mut parser)? {
        if parser.peek_token().token != Token::EOF {
            let found = parser.peek_token();
            return Err(SqlError::new(
                SqlState::SyntaxError,
                format!("syntax error at or near \"{found}\""),
            ));
        }
        return Ok(ours);
    }
    let mut parser: DFParser<'_> = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(NESTING_MAX)
        .build()?;
    let mut statements = parser.parse_statements()?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(mut statement), true) => {
            depth::flatten(&mut statement)?;
            wrap(&mut statement);
            Ok(Statement::Df(Box::new(statement)))
        }
        _ => Err(SqlError::new(SqlState::SyntaxError, "expected one statement")),
    }
}

fn wrap(statement: &mut DfStatement) {
    match statement {
        DfStatement::Statement(statement) => wrap_sources(statement),
        DfStatement::Explain(explain) => wrap(&mut explain.statement),
        _ => {}
    }
}

fn parse_ours(parser: &mut Parser<'_>) -> Result<Option<Statement>, SqlError> {
    if word(parser, "PAUSE") || word(parser, "RESUME") {
        let paused = parser.get_current_token().to_string().eq_ignore_ascii_case("PAUSE");
        expect_view(parser)?;
        return Ok(Some(Statement::SetPaused { name: name(parser)?, paused }));
    }
    if word(parser, "MOVE") {
        let (direction, name) = fetch::direction(parser)?;
        let name = folded(&name);
        return Ok(Some(Statement::Move { name, direction }));
    }
    if word(parser, "FETCH") {
        let (direction, name) = fetch::direction(parser)?;
        let position = FetchPosition::From;
        let fetch = SqlStatement::Fetch { name, direction, position, into: None };
        return Ok(Some(Statement::Df(Box::new(DfStatement::Statement(Box::new(fetch))))));
    }
    if word(parser, "SEAL") {
        expect(parser, "STREAM")?;
        return Ok(Some(Statement::Seal { name: name(parser)? }));
    }
    if parser.parse_keyword(Keyword::DROP) {
        let kind = if word(parser, "STREAM") {
            "stream"
        } else if parser.parse_keywords(&[Keyword::MATERIALIZED, Keyword::VIEW]) {
            "materialized view"
        } else {
            return Ok(None);
        };
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        return Ok(Some(Statement::Drop { kind, name: name(parser)?, if_exists }));
    }
    if parser.parse_keyword(Keyword::COPY) {
        return copy::copy(parser);
    }
    let explain = parser.parse_keyword(Keyword::EXPLAIN);
    if !parser.parse_keyword(Keyword::CREATE) {
        return Ok(None);
    }
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    if !explain && !or_replace && word(parser, "STREAM") {
        return stream::create_stream(parser).map(Some);
    }
    if parser.parse_keywords(&[Keyword::MATERIALIZED, Keyword::VIEW]) {
        let view = create_view(parser, or_replace)?;
        return Ok(Some(if explain {
            Statement::ExplainView(Box::new(view))
        } else {
            Statement::CreateView(view)
        }));
    }
    Ok(None)
}

/// Takes a word that need not be a keyword of the parser's.
fn word(parser: &mut Parser<'_>, expected: &str) -> bool {
    let found = match &parser.peek_token_ref().token {
        Token::Word(word) => {
            word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected)
        }
        _ => false,
    };
    if found {
        parser.advance_token();
    }
    found
}

fn expect(parser: &mut Parser<'_>, expected: &str) -> Result<(), SqlError> {
    if word(parser, expected) {
        return Ok(());
    }
    let found = parser.peek_token();
    Err(SqlError::new(SqlState::SyntaxError, format!("expected {expected}, found {found}")))
}

fn expect_view(parser: &mut Parser<'_>) -> Result<(), SqlError> {
    expect(parser, "MATERIALIZED")?;
    expect(parser, "VIEW")
}

/// A name as Postgres reads it: lower case unless it stands in quotes.
fn ident(parser: &mut Parser<'_>) -> Result<String, SqlError> {
    Ok(folded(&parser.parse_identifier()?))
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn name(parser: &mut Parser<'_>) -> Result<String, SqlError> {
    let first = ident(parser)?;
    if !parser.consume_token(&Token::Period) {
        return Ok(first);
    }
    let second = ident(parser)?;
    if first == "public" {
        return Ok(second);
    }
    Err(SqlError::unsupported(format!("schema \"{first}\": objects are created in \"public\"")))
}

mod create;
#[cfg(test)]
mod tests;
