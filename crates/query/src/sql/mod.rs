//! From the text of a statement to its answer.
//!
//! A text is cut into statements (`statement`), which a `session` runs: it knows the connection's
//! transaction, variables, cursors and temporary tables. `dialect` stands between Postgres' SQL and
//! DataFusion's, before, in and after its planner. `window` is event time for all queries. `stop`:
//! running work asks here whether to end. `cancel`: the request to end it. `backends`: other
//! connections can send that request. `watch` sends it when memory is nearly used up. `answer`
//! writes rows for HTTP.

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
