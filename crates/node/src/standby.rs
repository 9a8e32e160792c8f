//! A standby: a node that follows logs which others write. It decides nothing, so what has expired
//! is absent here and is deleted when the leader says so. It evicts, for its memory is its own, and
//! what it evicts is in its own checkpoint.

use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::follow::Target;
use crate::partition::Partition;

impl Engine {
    /// Applies what the leaders have made durable since the last time, in every lane that this node
    /// follows.
    pub fn follow(&self) -> Result<(), EngineError> {
        let inner: &Inner = &self.inner;
        let keep_room = |partition: &mut Partition| inner.make_room(partition);
        let target = Target {
            partitions: &inner.partitions,
            store: inner.store.as_deref(),
            keep_room: &keep_room,
        };
        for lane in inner.lanes.iter() {
            lane.follow(target)?;
            for number in lane.partitions.clone() {
                // Under the lock as short as it can be: whoever is woken comes for it.
                let woken = inner.partitions.lock(number).state.take_woken();
                inner.waiters.wake(&woken);
            }
        }
        Ok(())
    }
}
