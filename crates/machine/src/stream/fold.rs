//! How effects change a stream: called by the fold only.
//!
//! A replay may begin on a stream that is already as later effects leave it. So a record, a group
//! or a consumer that an effect names may be gone, and one that it makes may be there.

use super::{Consumer, Group, Pending, StreamId, StreamObject};
use crate::state::Lsn;

impl StreamObject {
    /// Deletes a record and remembers that there is a hole.
    pub(crate) fn delete_record(&mut self, id: StreamId) {
        self.delete(id);
        // Also where a younger checkpoint does not have the record any more and its counters were
        // replayed.
        self.max_deleted = self.max_deleted.max(id);
    }

    pub(crate) fn set_counters(&mut self, last: StreamId, added: u64, max_deleted: StreamId) {
        self.last = last;
        self.added = added;
        self.max_deleted = max_deleted;
    }

    pub(crate) fn limit_idempotency(&mut self, records: u64) {
        self.idempotency_limit = records;
        self.bound_idempotency();
    }

    /// Makes a group or changes how far it has read.
    pub(crate) fn put_group(
        &mut self,
        name: &[u8],
        last_delivered: StreamId,
        read: Option<u64>,
        lsn: Lsn,
    ) {
        if !self.groups.contains_key(name) {
            // Where the store still has an earlier group of this name, it must hear of this one's
            // end, too.
            let stored_lsn = u64::from(self.removed_groups.remove(name).is_some());
            let group = Group { stored_lsn, ..Group::default() };
            self.recount_group(0, group.bytes());
            self.groups.insert(name.into(), group);
        }
        self.change_group(name, lsn, |group| {
            group.last_delivered = last_delivered;
            group.read = read;
        });
    }

    pub(crate) fn delete_group(&mut self, name: &[u8], lsn: Lsn) {
        let Some(group) = self.groups.remove(name) else { return };
        self.recount_group(group.bytes(), 0);
        if group.stored_lsn > 0 {
            self.removed_groups.insert(name.into(), lsn);
        }
    }

    /// Changes a group, if it is there.
    pub(crate) fn change_group(&mut self, name: &[u8], lsn: Lsn, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let before = group.bytes();
        group.lsn = lsn;
        change(group);
        let after = group.bytes();
        self.recount_group(before, after);
    }
}

impl Group {
    /// Makes a consumer or changes when it was there.
    pub(crate) fn put_consumer(&mut self, name: &[u8], seen_ms: u64, active_ms: u64) {
        let consumer = self.consumers.entry(name.into()).or_default();
        *consumer = Consumer { seen_ms, active_ms, pending: consumer.pending };
    }

    /// Makes a record pending, whatever was known of it before.
    pub(crate) fn put_pending(&mut self, id: StreamId, pending: Pending) {
        self.delete_pending(id);
        self.consumers.entry(pending.consumer.clone()).or_default().pending += 1;
        self.pending.insert(id, pending);
    }

    pub(crate) fn delete_pending(&mut self, id: StreamId) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let consumer = self.consumers.get_mut(&pending.consumer);
        match consumer.filter(|consumer| consumer.pending > 0) {
            Some(consumer) => consumer.pending -= 1,
            None => panic!("{id:?} is pending for a consumer that does not have it"),
        }
    }

    /// Deletes a consumer and what it had pending.
    pub(crate) fn delete_consumer(&mut self, name: &[u8]) {
        self.consumers.remove(name);
        self.pending.retain(|_, pending| *pending.consumer != *name);
    }
}
