//! Tests of the node as an embedded library: replay, checkpoints, the memory budget, faults of the
//! disk, requests that wait.

mod checkpoint;
mod commands;
mod disk;
mod held_log;
mod lanes;
mod leading;
mod replay;
mod routing;
mod standby;
mod support;
mod waiting;
mod writes;
