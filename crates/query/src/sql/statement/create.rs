//! CREATE STREAM and CREATE MATERIALIZED VIEW.

use super::*;

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
pub(super) fn options(parser: &mut Parser<'_>) -> Result<Vec<(String, String)>, SqlError> {
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

pub(super) fn wrong_option(name: &str, value: &str, wanted: &str) -> SqlError {
    SqlError::new(SqlState::InvalidParameter, format!("{name} = '{value}': {wanted}"))
}

pub(super) fn create_view(
    parser: &mut Parser<'_>,
    or_replace: bool,
) -> Result<CreateView, SqlError> {
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
                return Err(wrong_option(&name, &value, "there is no such option").hint(
                    "the options of a view are batch_rows, batch_delay, lateness, emit and changes",
                ));
            }
        }
    }
    Ok(view)
}
