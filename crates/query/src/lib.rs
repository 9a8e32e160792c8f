//! SQL over everything that a node holds, and what SQL keeps up to date by itself.
//!
//! [`Database`] is the way in: a [`Session`] for each connection parses, plans and runs statements.
//! Planning and batch execution are DataFusion's; ours is what it does not have: streams, typed
//! tables over the node's entries, continuous views, and the Postgres door (`pg/`). No other crate
//! links DataFusion.
//!
//! Each room has a page at its head, in its `mod.rs`:
//!
//! | room | what is in it |
//! |---|---|
//! | `sql/` | from the text of a statement to its answer: grammar, sessions, Postgres' dialect |
//! | `catalog/` | what has been declared, and Postgres' own catalog made of it |
//! | `tables/` | typed tables, sequences, keys as a table, the node's own tables |
//! | `streams/` | streams as tables: appending, reading, sealing into segments |
//! | `views/` | queries whose answers are kept up to date |
//! | `files/` | files of others as tables: CSV, NDJSON, Parquet, here or in an object store |
//! | `functions/` | functions as Postgres has them, a family a file |
//! | `values/` | types, and values as text, as bytes, as JSON |
//! | `pg/` | the Postgres door |

mod catalog;
mod database;
mod error;
mod files;
mod functions;
mod pg;
mod sql;
mod streams;
mod tables;
mod values;
mod views;
mod write;

pub use database::{Database, Sources, SqlSettings, SystemRows};
pub use error::{SqlError, SqlState};
pub use pg::{PgDoor, PgSettings};
pub use sql::answer::Format;
pub use sql::request::{Request, Statements};
pub use sql::session::{Outcome, Prepared, Rows, RowsTag, Session, TransactionStatus};
pub use streams::body::{AppendFormat, Appended};
pub use tables::system::render_reference;
