//! What goes wrong in SQL, with the code that tells a program whose fault it is (SQLSTATE).

mod from;

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use from::{plain_words, state_of, unfit_function};
use thalweg_machine::CommandError;
use thalweg_node::EngineError;

macro_rules! states {
    ($($state:ident $code:literal;)*) => {
        /// The classes of errors, as Postgres names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the codes are their own description")]
        pub enum SqlState {
            $($state,)*
        }

        impl SqlState {
            /// The five characters.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$state => $code,)*
                }
            }
        }
    };
}

states! {
    SyntaxError "42601";
    UndefinedTable "42P01";
    UndefinedColumn "42703";
    UndefinedFunction "42883";
    UndefinedObject "42704";
    DuplicateTable "42P07";
    WrongObjectType "42809";
    InvalidDefinition "42P17";
    InvalidParameter "22023";
    InvalidText "22P02";
    DatatypeMismatch "42804";
    NumericOutOfRange "22003";
    DivisionByZero "22012";
    NotNullViolation "23502";
    UniqueViolation "23505";
    DependentObjects "2BP01";
    FeatureNotSupported "0A000";
    SerializationFailure "40001";
    DeadlockDetected "40P01";
    InFailedTransaction "25P02";
    NoActiveTransaction "25P01";
    OutOfMemory "53200";
    DiskFull "53100";
    QueryCanceled "57014";
    AdminShutdown "57P01";
    LimitExceeded "54000";
    TooManyColumns "54011";
    InvalidPassword "28P01";
    CannotConnectNow "57P03";
    InvalidDatetimeFormat "22007";
    DatetimeOutOfRange "22008";
    IntervalOverflow "22015";
    ProtocolViolation "08P01";
    InvalidStatementName "26000";
    DuplicateStatement "42P05";
    InvalidCursorName "34000";
    DuplicateCursor "42P03";
    TooManyConnections "53300";
    InvalidBinary "22P03";
    InvalidEncoding "22021";
    UntranslatableCharacter "22P05";
    StatementTooComplex "54001";
    StringTooLong "22001";
    NotInPrerequisiteState "55000";
    ReadOnlyTransaction "25006";
    ActiveTransaction "25001";
    InvalidSavepoint "3B001";
    BadCopyFormat "22P04";
    CheckViolation "23514";
    DuplicateColumn "42701";
    AmbiguousColumn "42702";
    GroupingError "42803";
    WindowingError "42P20";
    InvalidColumnReference "42P10";
    InvalidLimit "2201W";
    InvalidOffset "2201X";
    SubstringError "22011";
    InvalidLogarithm "2201E";
    InvalidPower "2201F";
    CardinalityViolation "21000";
    DuplicateObject "42710";
    GeneratedAlways "428C9";
    InvalidRegularExpression "2201B";
    InvalidEscape "22025";
    ForeignKeyViolation "23503";
    AmbiguousFunction "42725";
    ArraySubscript "2202E";
    NullValueNotAllowed "22004";
    UndefinedParameter "42P02";
    InvalidSchemaName "3F000";
    IndeterminateDatatype "42P18";
    CannotChangeNow "55P02";
    SequenceLimit "2200H";
    InvalidTableDefinition "42P16";
    CannotCoerce "42846";
    InvalidWidthBucket "2201G";
    Internal "XX000";
    DataCorrupted "XX001";
}

impl SqlState {
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
            .hint("the messages of the node say where")
    }

    pub(crate) fn unknown(kind: &str, name: &str) -> Self {
        Self::new(SqlState::UndefinedTable, format!("{kind} \"{name}\" does not exist"))
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        // The innermost cause says what it is about; the layers around it only where it passed
        // through.
        if let DataFusionError::External(cause) = error.find_root()
            && let Some(ours) = cause.downcast_ref::<SqlError>()
        {
            return ours.clone();
        }
        if let DataFusionError::ExecutionJoin(_) = error.find_root() {
            return Self::internal();
        }
        if let DataFusionError::SQL(cause, _) = error.find_root() {
            return cause.as_ref().clone().into();
        }
        let state = state_of(error.find_root());
        let text = error.strip_backtrace();
        // What failed on the way, and "Error during planning: " and its like, say nothing to a
        // user; the rest does.
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
