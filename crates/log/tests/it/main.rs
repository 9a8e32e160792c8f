//! Tests of the logs: the battery, and everything that a disk can do to the local one.

mod battery;
mod damage;
mod old_format;
mod power;
mod space;
mod support;
