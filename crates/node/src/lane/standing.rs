//! How a lane stands: whether this node leads it, and whether its log takes anything. Both are in
//! one byte, because every write asks for both.

use crate::metrics::{Health, Role};
use std::sync::atomic::{AtomicU8, Ordering};
use thalweg_machine::CommandError;

const DISK_FULL: CommandError = CommandError::coded(
    "MISCONF",
    "the disk is full: no room for another log segment; writes are refused until there is space",
);
const DISK_FAILED: CommandError = CommandError::coded(
    "MISCONF",
    "the log's disk failed; the node has stopped taking writes. Check the disk, then restart",
);
/// The refusal of a write where this node does not lead the lane.
pub(crate) const NOT_LED: CommandError = CommandError::coded(
    "READONLY",
    "this node does not lead the lane of these keys; write where it is led",
);

/// Health in the low four bits, role in the high four. 0 takes writes.
pub(crate) struct Standing(AtomicU8);

const HEALTH_BITS: u8 = 0x0F;
const ROLE_SHIFT: u32 = 4;

impl Standing {
    pub(crate) fn new(role: Role) -> Self {
        Self(AtomicU8::new((role as u8) << ROLE_SHIFT | Health::Ok as u8))
    }

    pub(crate) fn health(&self) -> Health {
        match self.0.load(Ordering::SeqCst) & HEALTH_BITS {
            0 => Health::Ok,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self.0.load(Ordering::SeqCst) >> ROLE_SHIFT {
            0 => Role::Leader,
            1 => Role::Standby,
            _ => Role::Deposed,
        }
    }

    /// A failure is for good.
    pub(crate) fn set_health(&self, health: Health) {
        self.change(|bits| {
            (bits & HEALTH_BITS < Health::Failed as u8)
                .then_some(bits & !HEALTH_BITS | health as u8)
        });
    }

    pub(crate) fn set_role(&self, role: Role) {
        self.change(|bits| Some(bits & HEALTH_BITS | (role as u8) << ROLE_SHIFT));
    }

    fn change(&self, change: impl FnMut(u8) -> Option<u8>) {
        // What gives nothing leaves it as it is.
        let _as_it_is = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
    }

    /// Why writes are refused, if they are.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<CommandError> {
        if self.0.load(Ordering::SeqCst) == 0 { None } else { self.what_is_wrong() }
    }

    #[cold]
    fn what_is_wrong(&self) -> Option<CommandError> {
        match (self.role(), self.health()) {
            (Role::Standby | Role::Deposed, _) => Some(NOT_LED),
            (Role::Leader, Health::Failed) => Some(DISK_FAILED),
            (Role::Leader, Health::Full) => Some(DISK_FULL),
            (Role::Leader, Health::Ok) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_and_role_do_not_disturb_each_other() {
        let standing = Standing::new(Role::Leader);
        assert!(standing.refusal().is_none());
        standing.set_health(Health::Full);
        assert_eq!(standing.refusal(), Some(DISK_FULL));
        standing.set_role(Role::Deposed);
        assert_eq!((standing.health(), standing.role()), (Health::Full, Role::Deposed));
        assert_eq!(standing.refusal(), Some(NOT_LED));
        standing.set_role(Role::Leader);
        standing.set_health(Health::Failed);
        standing.set_health(Health::Ok);
        assert_eq!(standing.refusal(), Some(DISK_FAILED), "a failure is for good");
    }
}
