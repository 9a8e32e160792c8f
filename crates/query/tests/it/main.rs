//! SQL over a node in this process.

mod support;

mod changes;
mod segments;
mod statements;
mod views;
