//! The ground floor: what every other crate may use, so that none of them writes it again.
//!
//! Clocks and file systems are traits here, each with a real and a simulated implementation. Time
//! and disks fail in ways that no test can provoke on real ones.

pub mod checksum;
pub mod clock;
pub mod fs;
pub mod memory;
pub mod prefetch;
pub mod priority;
pub mod slot;
pub mod units;

pub use clock::{Clock, SimulatedClock, SystemClock};
