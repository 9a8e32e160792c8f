//! The grammar of the parser. It is Postgres', with two changes: the name of an argument is a word,
//! and the parser's steps are limited.
//!
//! The parser tries one reading after the other. Where two readings both go on into the same
//! parentheses, each level doubles the work, and twenty levels are a million steps. Postgres'
//! dialect takes any expression for the name of an argument, for `json_object('key': 1)`, which is
//! not in version 15. So each nested call was read twice (apache/datafusion-sqlparser-rs, pull
//! request 2392). Others of the kind are 2344, 2352 and 2372. So steps are counted, and a statement
//! that needs many more steps than it has tokens is refused.

use crate::sql::stop;
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use std::any::TypeId;
use std::cell::Cell;

const BASE: PostgreSqlDialect = PostgreSqlDialect {};

/// Steps for each token; an ordinary statement needs two.
const STEPS_PER_TOKEN: u64 = 40;
/// Steps that any statement may take.
const STEPS_MIN: u64 = 20_000;
/// What a step costs, as others count their work.
const STEP_WORK: usize = 1_000;

/// The dialect of everything that is parsed.
#[derive(Debug)]
pub(crate) struct Grammar {
    steps_left: Cell<u64>,
}

impl Grammar {
    /// For a statement that has so many tokens.
    pub(crate) fn limited(tokens: usize) -> Self {
        let steps = STEPS_MIN + tokens as u64 * STEPS_PER_TOKEN;
        Self { steps_left: Cell::new(steps) }
    }
}

/// For text that was parsed before, as a part of a statement.
impl Default for Grammar {
    fn default() -> Self {
        Self { steps_left: Cell::new(u64::MAX) }
    }
}

/// Answers that are the base's.
macro_rules! as_the_base {
    ($($name:ident)*) => { $(fn $name(&self) -> bool { BASE.$name() })* };
}

impl Dialect for Grammar {
    /// The parser asks in places whether it is Postgres'.
    fn dialect(&self) -> TypeId {
        BASE.dialect()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        BASE.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, letter: char) -> bool {
        BASE.is_delimited_identifier_start(letter)
    }

    fn is_identifier_start(&self, letter: char) -> bool {
        BASE.is_identifier_start(letter)
    }

    fn is_identifier_part(&self, letter: char) -> bool {
        BASE.is_identifier_part(letter)
    }

    fn is_custom_operator_part(&self, letter: char) -> bool {
        BASE.is_custom_operator_part(letter)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        BASE.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        BASE.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        BASE.prec_value(precedence)
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let is_stopped = stop::work(STEP_WORK).is_err();
        let left = self.steps_left.get().checked_sub(1).filter(|_| !is_stopped);
        self.steps_left.set(left.unwrap_or(0));
        match left {
            // Of all errors only this one keeps the parser from another reading.
            None => Some(Err(ParserError::RecursionLimitExceeded)),
            Some(_) => BASE.parse_prefix(parser),
        }
    }

    as_the_base! {
        allow_extract_custom
        allow_extract_single_quotes
        supports_alter_column_type_using
        supports_array_typedef_with_brackets
        supports_bitwise_shift_operators
        supports_comma_separated_trim
        supports_comment_on
        supports_comment_optimizer_hint
        supports_create_index_with_clause
        supports_create_table_like_parenthesized
        supports_empty_projections
        supports_explain_with_utility_options
        supports_factorial_operator
        supports_filter_during_aggregation
        supports_geometric_types
        supports_group_by_expr
        supports_insert_table_alias
        supports_interval_options
        supports_listen_notify
        supports_load_extension
        supports_named_fn_args_with_colon_operator
        supports_nested_comments
        supports_notnull_operator
        supports_numeric_literal_underscores
        supports_select_wildcard_with_alias
        supports_set_names
        supports_string_escape_constant
        supports_unicode_string_literal
        supports_xml_expressions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("SELECT {}x{} FROM t", "coalesce(".repeat(levels), ", 1)".repeat(levels))
    }

    #[test]
    fn nested_calls_are_read_once() {
        // Read twice for each level, this would take longer than anybody lives.
        assert!(crate::sql::statement::parse(&nested(60)).is_ok());
        let named = "SELECT make_interval(days => 10, hours := 2), concat_ws(', ', 'a', 'b')";
        assert!(crate::sql::statement::parse(named).is_ok());
    }

    #[test]
    fn what_is_read_again_and_again_is_refused() {
        for (open, close) in [("CAST(CASE (", ")))"), ("(", ")")] {
            let begin = if open == "(" { "SELECT 1 FROM " } else { "SELECT " };
            for levels in [25, 45] {
                let text = format!("{begin}{}t{}", open.repeat(levels), close.repeat(levels));
                let error = crate::sql::statement::parse(&text).expect_err("nonsense");
                assert!(matches!(error.state.code(), "54001" | "42601"), "{}", error.message);
            }
        }
        let ordinary = format!("SELECT {}", vec!["upper(lower(x || 'a'))"; 1_500].join(", "));
        assert!(crate::sql::statement::parse(&ordinary).is_ok());
        let joins = format!("SELECT 1 FROM {}a{}", "(".repeat(12), " JOIN a ON true)".repeat(12));
        assert!(crate::sql::statement::parse(&joins).is_ok());
    }

    /// When this fails, the dialect of the parser can be taken as it is.
    #[test]
    fn the_base_still_takes_any_expression_for_a_name() {
        assert!(BASE.supports_named_fn_args_with_expr_name());
    }
}
