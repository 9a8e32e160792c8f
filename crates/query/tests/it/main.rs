//! SQL over a node in this process.

mod support;

mod statements;
mod views;
