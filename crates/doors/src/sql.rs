//! SQL, as the HTTP door sees it: a trait that answers statements with bytes. The door knows no
//! more of SQL. The program that starts the door gives it an implementation.

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde_json::Value;

/// A refusal or a failure.
#[derive(Clone, Debug)]
pub struct SqlFault {
    /// The SQLSTATE code.
    pub code: &'static str,
    /// What happened, and what to do.
    pub detail: String,
    /// Whose fault, as an HTTP status.
    pub status: u16,
}

/// An answer's bytes.
pub struct SqlAnswer {
    /// Their media type.
    pub media_type: &'static str,
    /// The bytes, piece by piece.
    pub body: BoxStream<'static, Result<Bytes, SqlFault>>,
}

/// What became of a bulk append.
#[derive(Clone, Copy, Debug)]
pub struct BulkAppended {
    /// Records in the stream.
    pub appended: u64,
    /// Records in its dead-letter stream.
    pub dead: u64,
}

/// Who answers SQL.
pub trait SqlService: Send + Sync {
    /// Runs statements; the last one's rows in the format that `accept` asks for.
    fn query(
        &self,
        text: String,
        parameters: Vec<Value>,
        accept: String,
    ) -> BoxFuture<'static, Result<SqlAnswer, SqlFault>>;

    /// The keys of a declared stream's partitions; nothing if its records have no declared columns.
    /// Appending to one that has must look at them.
    fn partition_keys(&self, stream: &str) -> Option<Vec<String>>;

    /// Declares a stream; false if it is there already, the same.
    fn declare(
        &self,
        stream: String,
        definition: Value,
    ) -> BoxFuture<'static, Result<bool, SqlFault>>;

    /// Appends the records of a body, all or none.
    fn append(
        &self,
        stream: String,
        media_type: String,
        body: Bytes,
    ) -> BoxFuture<'static, Result<BulkAppended, SqlFault>>;
}
