//! The ground floor: what every other crate may use and what none of them should write twice.
//!
//! Clocks and file systems are traits here, each with a real and a simulated implementation,
//! because time and disks are the two things that fail in ways no unit test can provoke on real
//! ones.

pub mod checksum;
pub mod clock;
pub mod fs;
pub mod memory;
pub mod prefetch;
pub mod priority;
pub mod slot;
pub mod units;

pub use clock::{Clock, SimulatedClock, SystemClock};
