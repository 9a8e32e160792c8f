//! Tests of `checkpoint.rs`.

use super::*;
use crate::effect::{Effect, PutExpiry};
use crate::eviction::PolicyName;
use crate::state::StateLimits;

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Effect<'a> {
    Effect::Put { key, value, expiry: PutExpiry::Never }
}

/// A state with one cold key, so that unknown keys are looked for in the store.
fn with_a_cold_key() -> State {
    let mut state = State::new(7, PolicyName::S3Fifo, StateLimits::default());
    state.set_stored_count(1);
    state
}

/// The checkpoint writes a key that is gone by then: reading it back would make it live again.
#[test]
fn a_key_deleted_while_it_is_stored_does_not_come_back() {
    let mut state = with_a_cold_key();
    state.apply(1, &put(b"key", b"value"));
    let cleared_lsn = state.begin_storing();
    let mut changes = state.collect_deleted();
    assert_eq!(state.collect_changed(0, 100, &mut changes), None);
    assert_eq!(state.stored_after(cleared_lsn, &changes), 2);
    state.apply(2, &Effect::Delete { key: b"key" });
    assert!(!state.is_cold(b"key"), "the store holds it by now, but it is deleted");
    state.stored(cleared_lsn, &changes);
    state.end_storing();
    assert!(!state.is_cold(b"key"));
    assert_eq!(state.key_count(), 1);
    let deleted = state.collect_deleted();
    assert_eq!(deleted.len(), 1, "the store must be told: {deleted:?}");
}

/// Whether a store that failed has taken a key is unknown: it is told that the key is gone.
#[test]
fn a_key_deleted_while_the_store_fails_is_deleted_there_later() {
    let mut state = with_a_cold_key();
    state.apply(1, &put(b"key", b"value"));
    let _nothing_cleared = state.begin_storing();
    state.apply(2, &Effect::Delete { key: b"key" });
    state.abandon_storing();
    assert!(!state.is_cold(b"key"));
    assert_eq!(state.key_count(), 1);
    assert_eq!(state.collect_deleted().len(), 1);
}

#[test]
fn a_key_that_came_back_while_the_store_failed_stays() {
    let mut state = with_a_cold_key();
    state.apply(1, &put(b"key", b"value"));
    let _nothing_cleared = state.begin_storing();
    state.apply(2, &Effect::Delete { key: b"key" });
    state.apply(3, &put(b"key", b"again"));
    state.abandon_storing();
    for _ in 0..2 {
        let cleared_lsn = state.begin_storing();
        let mut changes = state.collect_deleted();
        state.collect_changed(0, 100, &mut changes);
        assert!(changes.iter().all(|change| change.head.is_some()), "{changes:?}");
        state.stored(cleared_lsn, &changes);
        state.end_storing();
    }
    assert_eq!(state.key_count(), 2);
}

/// Collects everything, and the store fails.
fn fail_a_checkpoint(state: &mut State) {
    let _nothing_cleared = state.begin_storing();
    let mut changes = state.collect_deleted();
    assert_eq!(state.collect_changed(0, 100, &mut changes), None);
    state.abandon_storing();
}

/// The store may have taken the key before it failed.
#[test]
fn a_key_deleted_after_the_store_failed_is_deleted_there_later() {
    let mut state = with_a_cold_key();
    state.apply(1, &put(b"key", b"value"));
    fail_a_checkpoint(&mut state);
    state.apply(2, &Effect::Delete { key: b"key" });
    assert!(!state.is_cold(b"key"));
    assert_eq!(state.key_count(), 1);
    let deleted = state.collect_deleted();
    assert!(deleted.iter().any(|change| change.key == b"key" && change.drop_elements));
}

/// And fields: a field that was deleted since must not be there when the hash is read back.
#[test]
fn a_collection_is_stored_as_a_whole_after_the_store_failed() {
    let mut state = with_a_cold_key();
    let field = |field| Effect::HashPut { key: b"hash", field, value: b"value" };
    state.apply(1, &field(b"gone"));
    state.apply(2, &field(b"kept"));
    fail_a_checkpoint(&mut state);
    state.apply(3, &Effect::HashDelete { key: b"hash", field: b"gone" });
    let mut changes = Vec::new();
    state.collect_changed(0, 100, &mut changes);
    let [change] = changes.as_slice() else { panic!("one change: {changes:?}") };
    assert!(change.drop_elements, "the store may hold a field that is gone");
    let suffixes: Vec<_> = change.elements.iter().map(|element| &*element.suffix).collect();
    assert_eq!(suffixes, [b"fkept"]);
}

/// A key that was a string in the store, a hash when the store failed, and is gone.
#[test]
fn elements_of_a_key_deleted_while_the_store_fails_are_deleted_there() {
    let mut state = with_a_cold_key();
    state.apply(1, &put(b"key", b"value"));
    let cleared_lsn = state.begin_storing();
    let mut changes = Vec::new();
    state.collect_changed(0, 100, &mut changes);
    state.stored(cleared_lsn, &changes);
    state.end_storing();
    state.apply(2, &Effect::HashPut { key: b"key", field: b"field", value: b"value" });
    let _nothing_cleared = state.begin_storing();
    state.collect_changed(0, 100, &mut changes);
    state.apply(3, &Effect::Delete { key: b"key" });
    state.abandon_storing();
    let deleted = state.collect_deleted();
    let [change] = deleted.as_slice() else { panic!("one deletion: {deleted:?}") };
    assert!(change.drop_elements, "the store may hold the field");
}

/// Stores outlive versions: what is in them is read by its bytes.
#[test]
fn heads_and_elements_have_the_bytes_that_older_stores_have() {
    let mut state = State::new(7, PolicyName::S3Fifo, StateLimits::default());
    let (group, id) = (&b"g"[..], crate::stream::StreamId { ms: 3, sequence: 4 });
    for (lsn, effect) in [
        (1, Effect::Put { key: b"a", value: b"v", expiry: PutExpiry::At(258) }),
        (2, Effect::HashPut { key: b"b", field: b"f", value: b"w" }),
        (3, Effect::StreamAppend { key: b"c", id, idempotency: b"", fields: b"\x01f\x01v" }),
        (3, Effect::GroupPut { key: b"c", group, last_delivered: id, read: Some(1) }),
    ] {
        state.apply(lsn, &effect);
    }
    let mut changes = Vec::new();
    state.collect_changed(0, 100, &mut changes);
    let heads: Vec<_> = changes.iter().filter_map(|change| change.head.as_deref()).collect();
    let never = [0; 8];
    let head = |kind: u8, lsn: u8, expiry: &[u8; 8], rest: &[u8]| {
        [&[kind, lsn, 0, 0, 0, 0, 0, 0, 0], &expiry[..], rest].concat()
    };
    assert_eq!(heads[0], head(0, 1, &[2, 1, 0, 0, 0, 0, 0, 0], b"v"));
    assert_eq!(heads[1], head(1, 2, &never, b""));
    assert_eq!(heads[2], head(2, 3, &never, b"\x03\x04\x01\x00\x00\xc0\x84\x3d"));
    let element = |suffix: &[u8], value: &[u8]| ElementChange {
        suffix: suffix.to_vec(),
        value: Some(value.to_vec()),
    };
    assert_eq!(changes[1].elements, [element(b"ff", b"w")]);
    let record = b"r\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04";
    let stream = [element(b"gg", b"\x03\x04\x02\0\0"), element(record, b"\0\x01f\x01v")];
    assert_eq!(changes[2].elements, stream);
}
