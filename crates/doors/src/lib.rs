//! Doors: bytes to requests, replies to bytes. A door never touches state; it has the
//! [`thalweg_node::Engine`] for that.
//!
//! `resp/` speaks the Redis protocol on event loops of its own; `http/` speaks HTTP and shows the
//! dashboard.

mod feeds;
pub mod http;
pub mod resp;
mod shared;
mod slowlog;
mod sql;
mod stats;

pub use shared::{DoorError, DoorSettings, Shared};
pub use sql::{BulkAppended, SqlAnswer, SqlFault, SqlService};
pub use stats::{Snapshot, TrafficStats};
