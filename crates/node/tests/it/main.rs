//! Tests of the node as an embedded library: replay, checkpoints, the memory budget, faults of the
//! disk.

mod checkpoint;
mod commands;
mod disk;
mod replay;
mod support;
