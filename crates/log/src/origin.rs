//! Who wrote a batch, and who may write the next one.

use crate::{Batch, LogError};

/// Who wrote a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The number of the cluster; 0 where a version wrote it that had none.
    pub cluster: u64,
    /// The lane.
    pub lane: u16,
    /// The leader's term. It only grows in a log.
    pub epoch: u32,
    /// The number of the leader, from one start to the next. An epoch has one.
    pub writer: u64,
}

impl Origin {
    /// Whether a batch may stand behind one of this origin.
    fn may_be_followed_by(&self, next: &Self) -> bool {
        next.epoch > self.epoch || (next.epoch == self.epoch && next.writer == self.writer)
    }

    /// What does not fit where a batch of another origin stands behind one of this; for readers.
    pub fn misfit(&self, next: &Self) -> Option<String> {
        if self.may_be_followed_by(next) {
            None
        } else if next.epoch < self.epoch {
            Some(format!("the epoch goes back from {} to {}", self.epoch, next.epoch))
        } else {
            Some(format!("epoch {} has two writers", self.epoch))
        }
    }

    /// Lets batches in behind the newest one of a log, which is of this origin; gives the newest
    /// origin then. Refuses what a leader appends who does not know of his successor.
    pub fn admit(self, batches: &[Batch<'_>]) -> Result<Self, LogError> {
        batches.iter().try_fold(self, |newest, batch| {
            let next = batch.origin;
            if newest.may_be_followed_by(&next) {
                Ok(next)
            } else {
                Err(LogError::Fenced { epoch: next.epoch, newer: newest.epoch })
            }
        })
    }
}
