//! From the text of a statement to its answer.
//!
//! A text is cut into statements (`statement`), which a `session` runs: it knows the connection's
//! transaction, variables, cursors and temporary tables. `dialect` stands between Postgres' SQL and
//! DataFusion's, before, in and after its planner. `window` is event time for all queries. A `stop`
//! ends a statement in the middle of its work, a `cancel` says when, `backends` lets other
//! connections ask for it, and the `watch` does when memory ends. `answer` writes rows for HTTP.

pub(crate) mod answer;
pub(crate) mod backends;
pub(crate) mod cancel;
pub(crate) mod cut;
pub(crate) mod dialect;
pub(crate) mod once;
pub(crate) mod request;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod stop;
pub(crate) mod top_k;
pub(crate) mod walk;
pub(crate) mod watch;
pub(crate) mod window;
