//! The RESP door: the Redis protocol, versions 2 and 3.
//!
//! One event loop a thread (`event_loop/`), each with its own connections. A readable connection is
//! read once, all complete commands are run, and the replies leave in one send: at once if
//! everything they depend on is settled, else when the gate opens. Commands are parsed in place
//! (`parse.rs`) and replies rendered straight into the send buffer (`encode.rs`).

mod connection;
mod encode;
mod event_loop;
mod parse;
mod server;
mod space;
mod subscriptions;
mod transport;
mod verbs;

pub use encode::RespWriter;
pub use parse::{Found, FrameError, FrameLimits, Parser};
pub use server::{RespDoor, RespSettings};
pub(crate) use space::ReplyBudget;
pub use verbs::{ConfigParameter, GetParameter, SetParameter};
