//! What goes wrong in SQL, with the code that tells a program whose fault it is (SQLSTATE).

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use thalweg_machine::CommandError;
use thalweg_node::EngineError;

/// The classes of errors, as Postgres names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the codes are their own description")]
pub enum SqlState {
    SyntaxError,
    UndefinedTable,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedObject,
    DuplicateTable,
    WrongObjectType,
    InvalidDefinition,
    InvalidParameter,
    InvalidText,
    DatatypeMismatch,
    NumericOutOfRange,
    DivisionByZero,
    NotNullViolation,
    UniqueViolation,
    DependentObjects,
    FeatureNotSupported,
    SerializationFailure,
    DeadlockDetected,
    InFailedTransaction,
    NoActiveTransaction,
    OutOfMemory,
    DiskFull,
    QueryCanceled,
    LimitExceeded,
    TooManyColumns,
    InvalidPassword,
    CannotConnectNow,
    InvalidDatetimeFormat,
    DatetimeOutOfRange,
    IntervalOverflow,
    ProtocolViolation,
    InvalidStatementName,
    DuplicateStatement,
    InvalidCursorName,
    DuplicateCursor,
    TooManyConnections,
    InvalidBinary,
    InvalidEncoding,
    UntranslatableCharacter,
    StatementTooComplex,
    StringTooLong,
    NotInPrerequisiteState,
    ReadOnlyTransaction,
    ActiveTransaction,
    InvalidSavepoint,
    BadCopyFormat,
    CheckViolation,
    DuplicateColumn,
    AmbiguousColumn,
    GroupingError,
    WindowingError,
    InvalidColumnReference,
    InvalidLimit,
    InvalidOffset,
    SubstringError,
    InvalidLogarithm,
    InvalidPower,
    CardinalityViolation,
    DuplicateObject,
    GeneratedAlways,
    InvalidRegularExpression,
    InvalidEscape,
    ForeignKeyViolation,
    AmbiguousFunction,
    ArraySubscript,
    NullValueNotAllowed,
    UndefinedParameter,
    InvalidSchemaName,
    IndeterminateDatatype,
    CannotChangeNow,
    SequenceLimit,
    InvalidTableDefinition,
    CannotCoerce,
    InvalidWidthBucket,
    Internal,
}

impl SqlState {
    /// The five characters.
    pub fn code(self) -> &'static str {
        match self {
            Self::SyntaxError => "42601",
            Self::UndefinedTable => "42P01",
            Self::UndefinedColumn => "42703",
            Self::UndefinedFunction => "42883",
            Self::UndefinedObject => "42704",
            Self::DuplicateTable => "42P07",
            Self::WrongObjectType => "42809",
            Self::InvalidDefinition => "42P17",
            Self::InvalidParameter => "22023",
            Self::InvalidText => "22P02",
            Self::DatatypeMismatch => "42804",
            Self::NumericOutOfRange => "22003",
            Self::DivisionByZero => "22012",
            Self::NotNullViolation => "23502",
            Self::UniqueViolation => "23505",
            Self::DependentObjects => "2BP01",
            Self::FeatureNotSupported => "0A000",
            Self::SerializationFailure => "40001",
            Self::DeadlockDetected => "40P01",
            Self::InFailedTransaction => "25P02",
            Self::NoActiveTransaction => "25P01",
            Self::OutOfMemory => "53200",
            Self::DiskFull => "53100",
            Self::QueryCanceled => "57014",
            Self::LimitExceeded => "54000",
            Self::TooManyColumns => "54011",
            Self::InvalidPassword => "28P01",
            Self::CannotConnectNow => "57P03",
            Self::InvalidDatetimeFormat => "22007",
            Self::DatetimeOutOfRange => "22008",
            Self::IntervalOverflow => "22015",
            Self::ProtocolViolation => "08P01",
            Self::InvalidStatementName => "26000",
            Self::DuplicateStatement => "42P05",
            Self::InvalidCursorName => "34000",
            Self::DuplicateCursor => "42P03",
            Self::TooManyConnections => "53300",
            Self::InvalidBinary => "22P03",
            Self::InvalidEncoding => "22021",
            Self::UntranslatableCharacter => "22P05",
            Self::StatementTooComplex => "54001",
            Self::StringTooLong => "22001",
            Self::NotInPrerequisiteState => "55000",
            Self::ReadOnlyTransaction => "25006",
            Self::ActiveTransaction => "25001",
            Self::InvalidSavepoint => "3B001",
            Self::BadCopyFormat => "22P04",
            Self::CheckViolation => "23514",
            Self::DuplicateColumn => "42701",
            Self::AmbiguousColumn => "42702",
            Self::GroupingError => "42803",
            Self::WindowingError => "42P20",
            Self::InvalidColumnReference => "42P10",
            Self::InvalidLimit => "2201W",
            Self::InvalidOffset => "2201X",
            Self::SubstringError => "22011",
            Self::InvalidLogarithm => "2201E",
            Self::InvalidPower => "2201F",
            Self::CardinalityViolation => "21000",
            Self::DuplicateObject => "42710",
            Self::GeneratedAlways => "428C9",
            Self::InvalidRegularExpression => "2201B",
            Self::InvalidEscape => "22025",
            Self::ForeignKeyViolation => "23503",
            Self::AmbiguousFunction => "42725",
            Self::ArraySubscript => "2202E",
            Self::NullValueNotAllowed => "22004",
            Self::UndefinedParameter => "42P02",
            Self::InvalidSchemaName => "3F000",
            Self::IndeterminateDatatype => "42P18",
            Self::CannotChangeNow => "55P02",
            Self::SequenceLimit => "2200H",
            Self::InvalidTableDefinition => "42P16",
            Self::CannotCoerce => "42846",
            Self::InvalidWidthBucket => "2201G",
            Self::Internal => "XX000",
        }
    }

    /// Whether the same statement may succeed when it is sent again.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::SerializationFailure
                | Self::DeadlockDetected
                | Self::OutOfMemory
                | Self::DiskFull
                | Self::CannotConnectNow
        )
    }
}

/// A statement that was refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// Whose fault, in Postgres' terms.
    pub state: SqlState,
    /// What happened, to what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SqlError {
    pub(crate) fn new(state: SqlState, message: impl Into<String>) -> Self {
        Self { state, message: message.into(), hint: None }
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(SqlState::FeatureNotSupported, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A bug of ours, or of a library's, that ended a statement.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(SqlState::Internal, "the statement met an internal error")
            .hint("the log of the node says where")
    }

    pub(crate) fn unknown(kind: &str, name: &str) -> Self {
        Self::new(SqlState::UndefinedTable, format!("{kind} \"{name}\" does not exist"))
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        // The innermost cause says what it is about; the layers around it only where it passed through.
        if let DataFusionError::External(cause) = error.find_root()
            && let Some(ours) = cause.downcast_ref::<SqlError>()
        {
            return ours.clone();
        }
        if let DataFusionError::ExecutionJoin(_) = error.find_root() {
            return Self::internal();
        }
        let state = state_of(error.find_root());
        let text = error.strip_backtrace();
        // What failed on the way, and "Error during planning: " and its like, say nothing to a user; the rest does.
        let mut message = text.rsplit("\ncaused by\n").next().unwrap_or(&text);
        // Whose bug it is, is ours to tell.
        message =
            message.split("\nThis issue was likely caused by a bug").next().unwrap_or(message);
        for prefix in [
            "Error during planning: ",
            "Execution error: ",
            "External error: ",
            "SQL error: ",
            "Arrow error: ",
            "Invalid argument error: ",
        ] {
            message = message.strip_prefix(prefix).unwrap_or(message);
        }
        if let DataFusionError::Internal(text) = error.find_root()
            && let Some((state, plain)) = plain_words(text)
        {
            return Self::new(state, plain);
        }
        match unfit_function(message) {
            Some(name) if state == SqlState::UndefinedFunction => {
                Self::new(state, format!("function {name} does not exist with such arguments"))
                    .hint(
                        "No function matches the given name and argument types. \
                         You might need to add explicit type casts.",
                    )
            }
            _ => Self::new(state, message),
        }
    }
}

/// What is no fault of anybody's but the statement's, though DataFusion calls it internal.
fn plain_words(text: &str) -> Option<(SqlState, &'static str)> {
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
fn unfit_function(message: &str) -> Option<&str> {
    let (_, named) = message.split_once("Function '")?;
    let (name, rest) = named.split_once('\'')?;
    let tells_all = ["coercion failed", "failed to match any signature"];
    tells_all.iter().any(|words| rest.contains(words)).then_some(name)
}

/// The planner's errors have no codes of their own, so their words tell.
fn state_of_plan(text: &str) -> SqlState {
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

fn state_of(error: &DataFusionError) -> SqlState {
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

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<datafusion::arrow::error::ArrowError> for SqlError {
    fn from(error: datafusion::arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<ParserError> for SqlError {
    fn from(error: ParserError) -> Self {
        if matches!(error, ParserError::RecursionLimitExceeded) {
            return Self::new(SqlState::StatementTooComplex, "the statement is nested too deeply");
        }
        let text = error.to_string();
        let text = text.strip_prefix("sql parser error: ").unwrap_or(&text);
        Self::new(SqlState::SyntaxError, text)
    }
}

impl From<EngineError> for SqlError {
    fn from(error: EngineError) -> Self {
        Self::new(SqlState::CannotConnectNow, error.to_string())
    }
}

impl From<CommandError> for SqlError {
    fn from(error: CommandError) -> Self {
        let state = match error.code {
            "MISCONF" => SqlState::DiskFull,
            "OOM" => SqlState::OutOfMemory,
            "WRONGTYPE" => SqlState::WrongObjectType,
            _ => SqlState::InvalidParameter,
        };
        Self::new(state, error.message.into_owned())
    }
}

impl From<std::io::Error> for SqlError {
    fn from(error: std::io::Error) -> Self {
        let state = match error.kind() {
            std::io::ErrorKind::StorageFull => SqlState::DiskFull,
            _ => SqlState::Internal,
        };
        Self::new(state, error.to_string())
    }
}
