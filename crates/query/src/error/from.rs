//! Errors of libraries, as SQL has them.

use super::*;

/// What is no fault of anybody's but the statement's, though DataFusion calls it internal.
pub(super) fn plain_words(text: &str) -> Option<(SqlState, &'static str)> {
    use SqlState::{FeatureNotSupported, InvalidRegularExpression};
    const WORDS: [(&str, SqlState, &str); 3] = [
        (
            "Regular expression did not compile",
            InvalidRegularExpression,
            "invalid regular expression: it is too large or has a fault",
        ),
        (
            "range queries",
            FeatureNotSupported,
            "RANGE with an ORDER BY of this type is not supported",
        ),
        ("Uncomparable values", FeatureNotSupported, "arrays of arrays cannot be ordered here"),
    ];
    let found = WORDS.iter().find(|(words, ..)| text.contains(words));
    found.map(|(_, state, plain)| (*state, *plain))
}

/// The function whose arguments do not fit, of which the planner tells all that it has tried.
pub(super) fn unfit_function(message: &str) -> Option<&str> {
    let (_, named) = message.split_once("Function '")?;
    let (name, rest) = named.split_once('\'')?;
    let tells_all = ["coercion failed", "failed to match any signature"];
    tells_all.iter().any(|words| rest.contains(words)).then_some(name)
}

/// The planner's errors have no codes of their own, so their words tell.
pub(super) fn state_of_plan(text: &str) -> SqlState {
    const WORDS: &[(&str, SqlState)] = &[
        ("Invalid function", SqlState::UndefinedFunction),
        ("No function matches", SqlState::UndefinedFunction),
        ("Failed to coerce arguments", SqlState::UndefinedFunction),
        ("Function '", SqlState::UndefinedFunction),
        ("Cannot infer common argument type", SqlState::UndefinedFunction),
        ("Cannot coerce arithmetic expression", SqlState::UndefinedFunction),
        ("must be in GROUP BY", SqlState::GroupingError),
        ("must appear in the GROUP BY", SqlState::GroupingError),
        ("Order by column out of bounds", SqlState::InvalidColumnReference),
        ("ORDER BY", SqlState::InvalidColumnReference),
        ("Schema contains duplicate", SqlState::DuplicateColumn),
        ("mbiguous", SqlState::AmbiguousColumn),
        ("non-boolean", SqlState::DatatypeMismatch),
        ("should only return one column", SqlState::SyntaxError),
        ("Unsupported", SqlState::FeatureNotSupported),
    ];
    let found = WORDS.iter().find(|(words, _)| text.contains(words));
    found.map_or(SqlState::InvalidParameter, |(_, state)| *state)
}

pub(super) fn state_of(error: &DataFusionError) -> SqlState {
    use datafusion::arrow::error::ArrowError;
    use datafusion::common::SchemaError;
    match error {
        DataFusionError::SQL(error, _)
            if matches!(error.as_ref(), ParserError::RecursionLimitExceeded) =>
        {
            SqlState::StatementTooComplex
        }
        DataFusionError::SQL(..) => SqlState::SyntaxError,
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { .. } => SqlState::UndefinedColumn,
            SchemaError::AmbiguousReference { .. } => SqlState::AmbiguousColumn,
            SchemaError::DuplicateQualifiedField { .. }
            | SchemaError::DuplicateUnqualifiedField { .. } => SqlState::DuplicateColumn,
        },
        DataFusionError::NotImplemented(_) => SqlState::FeatureNotSupported,
        DataFusionError::Internal(text) => {
            plain_words(text).map_or(SqlState::Internal, |(state, _)| state)
        }
        DataFusionError::ResourcesExhausted(_) => SqlState::OutOfMemory,
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::ComputeError(text) if text.contains("Regular expression") => {
                SqlState::InvalidRegularExpression
            }
            ArrowError::DivideByZero => SqlState::DivisionByZero,
            ArrowError::ArithmeticOverflow(_) => SqlState::NumericOutOfRange,
            ArrowError::CastError(text) if text.starts_with("value of ") => {
                SqlState::NumericOutOfRange
            }
            ArrowError::CastError(_) | ArrowError::ParseError(_) => SqlState::InvalidText,
            ArrowError::InvalidArgumentError(text) if text.contains("declared as non-nullable") => {
                SqlState::NotNullViolation
            }
            ArrowError::InvalidArgumentError(text) if text.contains("too large to store") => {
                SqlState::NumericOutOfRange
            }
            ArrowError::InvalidArgumentError(_) => SqlState::InvalidParameter,
            _ => SqlState::Internal,
        },
        DataFusionError::Plan(text) if text.contains("not found") && text.contains("table") => {
            SqlState::UndefinedTable
        }
        DataFusionError::Plan(text) => state_of_plan(text),
        DataFusionError::Configuration(_) => SqlState::InvalidParameter,
        DataFusionError::Diagnostic(_, inner) => state_of(inner),
        DataFusionError::Context(_, inner) => state_of(inner),
        DataFusionError::Execution(_) => SqlState::InvalidParameter,
        _ => SqlState::Internal,
    }
}
