//! Statements: what is ours is parsed here, everything else goes to DataFusion's parser.
//!
//! ```text
//! CREATE STREAM [IF NOT EXISTS] name [(column type [NOT NULL], …, [WATERMARK FOR column AS column - INTERVAL '…'])]
//!     [PARTITION BY column | HASH(column) | ROUND ROBIN | RANDOM | RANGE(column) VALUES ('…', …)]
//!     [WATERMARK FOR …]
//!     [WITH (partitions = 4, retention = '7 days', retention_bytes = '10GiB', segment_records = 262144, on_error = 'refuse')]
//! CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] name
//!     [WITH (batch_rows = 8192, batch_delay = '1ms', lateness = '0s', emit = 'change', changes = 10000)] AS query
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
use crate::dialect::Grammar;
use crate::error::{SqlError, SqlState};
use crate::types::{Column, ColumnType};
use crate::window::wrap_sources;
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
            format!("the request has {} bytes of SQL; {TEXT_MAX_BYTES} are possible", text.len()),
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
            crate::stop::check()?;
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

/// What stands behind FETCH and MOVE: read by the parser as FETCH.
/// Takes a word that need not be a keyword of the parser's.
fn word(parser: &mut Parser<'_>, expected: &str) -> bool {
    let found = matches!(&parser.peek_token_ref().token,
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected));
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

/// Refuses two columns of one name.
pub(crate) fn no_twins(columns: &[Column]) -> Result<(), SqlError> {
    for (index, column) in columns.iter().enumerate() {
        if columns.iter().take(index).any(|other| other.name == column.name) {
            return Err(SqlError::new(
                SqlState::InvalidDefinition,
                format!("column \"{}\" is declared twice", column.name),
            ));
        }
    }
    Ok(())
}

/// A column as it is declared.
pub(crate) fn column(declared: &ColumnDef) -> Result<Column, SqlError> {
    let name = match declared.name.quote_style {
        Some(_) => declared.name.value.clone(),
        None => declared.name.value.to_lowercase(),
    };
    let mut nullable = true;
    for option in &declared.options {
        match &option.option {
            ColumnOption::NotNull | ColumnOption::PrimaryKey(_) => nullable = false,
            ColumnOption::Null => {}
            other => {
                return Err(SqlError::unsupported(format!(
                    "column \"{name}\": {other} is not supported"
                )));
            }
        }
    }
    Ok(Column::plain(name, ColumnType::of_sql(&declared.data_type)?, nullable))
}

/// `(name = value, …)`; values are words, numbers or quoted.
fn options(parser: &mut Parser<'_>) -> Result<Vec<(String, String)>, SqlError> {
    parser.expect_token(&Token::LParen)?;
    let mut options = Vec::new();
    loop {
        let name = ident(parser)?;
        parser.expect_token(&Token::Eq)?;
        let value = match parser.next_token().token {
            Token::SingleQuotedString(text) => text,
            Token::Number(text, _) => text,
            Token::Word(word) => word.value,
            other => {
                return Err(SqlError::new(
                    SqlState::SyntaxError,
                    format!("{name} = {other}: not a value"),
                ));
            }
        };
        options.push((name, value));
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(options)
}

fn wrong_option(name: &str, value: &str, wanted: &str) -> SqlError {
    SqlError::new(SqlState::InvalidParameter, format!("{name} = '{value}': {wanted}"))
}

fn create_view(parser: &mut Parser<'_>, or_replace: bool) -> Result<CreateView, SqlError> {
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = name(parser)?;
    let given = if parser.parse_keyword(Keyword::WITH) { options(parser)? } else { Vec::new() };
    expect(parser, "AS")?;
    let mut view = CreateView {
        name,
        or_replace,
        if_not_exists,
        query: parser.parse_query()?,
        batch_rows: 8_192,
        batch_delay_ms: 1,
        lateness_us: 0,
        emit: Emit::Change,
        changes: None,
    };
    for (name, value) in given {
        match name.as_str() {
            "batch_rows" => {
                view.batch_rows = value
                    .parse()
                    .ok()
                    .filter(|rows| (1..=1_000_000).contains(rows))
                    .ok_or_else(|| wrong_option(&name, &value, "a number from 1 to 1000000"))?;
            }
            "batch_delay" => {
                view.batch_delay_ms = parse_duration_ms(&value)
                    .ok()
                    .filter(|delay_ms| *delay_ms <= 60_000)
                    .ok_or_else(|| wrong_option(&name, &value, "a duration of at most a minute"))?;
            }
            "lateness" => view.lateness_us = duration_us(&value)?,
            "emit" => {
                view.emit = match value.to_ascii_lowercase().as_str() {
                    "change" => Emit::Change,
                    "close" => Emit::Close,
                    _ => return Err(wrong_option(&name, &value, "'change' or 'close'")),
                };
            }
            "changes" => {
                let kept = value.parse().ok().filter(|kept| (1..=1 << 30).contains(kept));
                let wrong =
                    || wrong_option(&name, &value, "how many to keep, from 1 to 1073741824");
                view.changes = Some(kept.ok_or_else(wrong)?);
            }
            _ => {
                return Err(wrong_option(&name, &value, "there is no such option")
                    .hint("views have batch_rows, batch_delay, lateness, emit and changes"));
            }
        }
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{OnError, Partitioner, Watermark};

    fn stream(text: &str) -> StreamDefinition {
        match parse(text).expect("valid").remove(0) {
            Statement::CreateStream { definition, .. } => definition,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn streams_say_everything_in_one_statement() {
        let orders = stream(
            "CREATE STREAM orders (ts TIMESTAMP NOT NULL, customer TEXT, price DECIMAL(10,2), \
             WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) PARTITION BY customer \
             WITH (partitions = 4, retention = '7 days', on_error = 'dead_letter')",
        );
        assert_eq!(orders.columns.len(), 3);
        assert_eq!(orders.partitioner, Partitioner::Hash("customer".into()));
        assert_eq!(orders.watermark, Some(Watermark { column: "ts".into(), delay_us: 5_000_000 }));
        assert_eq!((orders.partitions, orders.retention_ms), (4, Some(604_800_000)));
        assert_eq!(orders.on_error, OnError::DeadLetter);
        let ranges = stream(
            "create stream s (k text) partition by range(k) values ('h', 'p') with (partitions = 3)",
        );
        assert_eq!(
            ranges.partitioner,
            Partitioner::Range("k".into(), vec!["h".into(), "p".into()])
        );
    }

    #[test]
    fn views_keep_their_query_and_their_knobs() {
        let text = "CREATE OR REPLACE MATERIALIZED VIEW v WITH (batch_rows = 1, emit = 'close', lateness = '1 minute') \
                    AS SELECT k, count(*) FROM s GROUP BY k";
        let Statement::CreateView(view) = parse(text).expect("valid").remove(0) else { panic!() };
        assert!(view.or_replace);
        assert_eq!((view.batch_rows, view.emit, view.lateness_us), (1, Emit::Close, 60_000_000));
        assert_eq!(view.query.to_string(), "SELECT k, count(*) FROM s GROUP BY k");
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for text in [
            "CREATE STREAM s (a BIGINT, a TEXT)",
            "CREATE STREAM s (a FANCY)",
            "CREATE STREAM s (a DECIMAL(1001, 2))",
            "CREATE STREAM s (a DECIMAL(5, 6))",
            "CREATE STREAM s WITH (colour = 'red')",
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS other - INTERVAL '1' SECOND)",
            "CREATE MATERIALIZED VIEW v WITH (batch_rows = 0) AS SELECT 1",
            "CREATE STREAM s nonsense",
            "SELEC 1",
            "SELECT 'never ends",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.message.is_empty());
        }
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn durations_read_like_intervals() {
        assert_eq!(duration_us("1 hour 30 minutes").expect("valid"), 5_400_000_000);
        assert_eq!(duration_us("500ms").expect("valid"), 500_000);
        assert!(duration_us("soon").is_err());
        assert!(duration_us("5").is_err());
    }
}
