//! Tests of the doors with a node behind them: what an event loop does while requests wait.

#[path = "../../../node/tests/it/held_log.rs"]
mod held_log;
mod waiting;
