//! SQL over a node in this process.

mod support;

mod segments;
mod statements;
mod views;
