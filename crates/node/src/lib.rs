//! The node: partitions at work.
//!
//! [`Engine`] is the one way in, for doors, SQL, the demo and tests; it is also the embedded
//! library:
//!
//! ```
//! use thalweg_node::{Engine, EngineSettings};
//!
//! let engine = Engine::open(EngineSettings::in_memory())?;
//! engine.call(&[b"SET", b"greeting", b"hello"])?;
//! let reply = engine.call(&[b"GET", b"greeting"])?;
//! assert_eq!(reply.as_bytes(), Some(&b"hello"[..]));
//! # Ok::<(), thalweg_node::EngineError>(())
//! ```
//!
//! A request runs to completion on the thread that brings it, under its partition's lock:
//! `request/`. What it changed goes into the partition's open batch. The lane's commit thread
//! (`lane.rs`) collects the batches of all partitions, appends them to the log, makes them durable
//! together, and publishes how far it is. A reply waits for that; this is the gate.

mod admission;
mod channels;
mod checkpoint;
mod cold_expiry;
mod collections;
mod engine;
mod entries;
mod error;
mod follow;
mod gate;
mod halt;
mod lane;
mod lanes;
mod load;
mod maintenance;
mod memory;
mod metrics;
mod partition;
mod request;
mod session;
mod settings;
mod standby;
mod transaction;
mod verbs;
mod waiters;
mod writes;

pub use admission::Admitted;
pub use channels::{Channels, Message, Scope, Subscriber};
pub use collections::{Packed, RecordBlock};
pub use engine::{Engine, Listener};
pub use error::EngineError;
pub use gate::{Gate, Gates};
pub use metrics::{EngineReport, Health, LaneReport, PartitionReport, Role};
pub use request::{Change, DoorPart, Executed, Provided, Wait, Wake};
pub use session::Session;
pub use settings::{Durability, EngineSettings, Place};
pub use waiters::WaiterId;
