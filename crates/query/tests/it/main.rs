//! SQL over a node in this process.

mod support;

mod changes;
mod csv;
mod idle;
mod json;
mod maintenance;
mod segments;
mod statements;
mod stop;
mod views;
