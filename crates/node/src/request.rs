//! A request: the one way in which it is run, and the one way in which it waits.
//!
//! `execution.rs` runs it: lock the partitions, see whether it may run, take the LSN, run, send the
//! effects on their way, evict, unlock, wake who waited. Commands, transactions, typed access and
//! the node's own timers all go through there.
//!
//! [`Wait`] is everything that a request may have to wait for. Whoever finds that something is
//! missing has done nothing yet and says so: [`Executed::Suspended`]. [`Engine::provide`] gets what
//! is missing, or waits for it, and the request is run again from its beginning. A new reason to
//! wait is found where `demand.rs` finds that there is no room, and is waited for in `provide`;
//! nothing else has to know it.
//!
//! `drive.rs` is the loop around both, for callers that have no loop of their own: it blocks a
//! thread, or it is a future. The event loops of the RESP door take the same two steps, and serve
//! their other connections in between.
//!
//! [`Engine::provide`]: crate::Engine::provide

mod demand;
mod drive;
mod execute;
mod executed;
mod execution;
mod locked;
mod signal;
mod wait;

pub(crate) use demand::{Demand, Stop, charged_bytes, written_bytes};
pub use executed::{DoorPart, Executed};
pub(crate) use execution::Numbers;
pub(crate) use locked::Locked;
pub(crate) use signal::Signal;
pub(crate) use wait::Round;
pub use wait::{Change, Provided, Wait, Wake};
