//! Tests of the doors with a node behind them: what an event loop does while requests wait, TLS,
//! and what the doors share.

mod access;
#[path = "../../../listen/tests/it/certificates.rs"]
mod certificates;
#[path = "../../../node/tests/it/held_log.rs"]
mod held_log;
mod http_tls;
mod node;
mod resp_tls;
mod waiting;
