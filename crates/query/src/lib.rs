//! SQL over everything that a node holds, and what SQL keeps up to date by itself.
//!
//! [`Database`] is the way in: a [`Session`] for each connection parses, plans and runs statements.
//! Planning and batch execution are DataFusion's; ours is what it does not have: streams, typed
//! tables over the node's entries, continuous views, and the Postgres door (`pg/`). No other crate
//! links DataFusion.
//!
//! Where to look: `statement.rs` is our grammar; `catalog/` what has been declared; `stream/`,
//! `table/`, `kv.rs`, `system.rs` are what queries read; `session/` runs statements; `window.rs` is
//! event time; `view/` keeps results up to date.

mod admission;
mod advisory;
mod answer;
mod append;
mod backends;
mod cancel;
mod catalog;
mod csv;
mod cut;
mod database;
mod dialect;
mod encode;
mod error;
mod external;
mod file_cache;
mod functions;
mod json;
mod kv;
mod moment;
mod ndjson;
mod once;
mod parse;
mod pg;
mod pg_type;
mod request;
mod segment;
mod sequence;
mod session;
mod statement;
mod stop;
mod stores;
mod stream;
mod system;
mod table;
mod top_k;
mod types;
mod values;
mod view;
mod walk;
mod watch;
mod window;
mod write;

pub use answer::Format;
pub use append::{AppendFormat, Appended};
pub use database::{Database, Sources, SqlSettings, SystemRows};
pub use error::{SqlError, SqlState};
pub use pg::{Admission, PgDoor, PgSettings};
pub use request::{Request, Statements};
pub use session::{Outcome, Prepared, Rows, RowsTag, Session, TransactionStatus};
pub use system::render_reference;
