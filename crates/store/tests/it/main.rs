//! The store keeps what it was given, in whole partitions, over reopening.

use thalweg_store::{Changes, Element, Layout, Mark, Store, StoreError};

fn heads<'a>(pairs: &[(&'a str, Option<&'a str>)]) -> Changes<'a> {
    let heads = pairs.iter().map(|(key, head)| (key.as_bytes(), head.map(str::as_bytes)));
    Changes { heads: heads.collect(), ..Changes::default() }
}

fn layout(partitions: u16) -> Layout {
    Layout { partitions, lanes: 1, cluster: 7 }
}

fn head(store: &Store, key: &str) -> Option<Vec<u8>> {
    store.load(3, key.as_bytes(), |_| false).expect("load").head
}

#[test]
fn keeps_heads_elements_and_marks_over_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), layout(8), 1 << 20).expect("open");
    assert_eq!(store.mark(3).expect("mark"), Mark::default());
    assert!(!store.may_hold(3, b"a"));
    let mut changes = heads(&[("a", Some("1")), ("b", Some("2")), ("h", Some("H"))]);
    fn element<'a>(key: &'a str, suffix: &'a str, value: &'a str) -> Element<'a> {
        Element { key: key.as_bytes(), suffix: suffix.as_bytes(), value: Some(value.as_bytes()) }
    }
    changes.elements =
        vec![element("h", "fx", "X"), element("h", "fy", "Y"), element("hh", "f", "other key")];
    store.write(3, Mark { lsn: 7, keys: 3 }, &mut changes).expect("write");
    drop(store);
    let store = Store::open(folder.path(), layout(8), 1 << 20).expect("open");
    assert_eq!(store.mark(3).expect("mark"), Mark { lsn: 7, keys: 3 });
    assert_eq!(head(&store, "a").as_deref(), Some(&b"1"[..]));
    assert_eq!(head(&store, "c"), None);
    assert!(store.may_hold(3, b"nothing is known yet"));
    store.build_filter(3).expect("filter");
    assert!(store.may_hold(3, b"a") && !store.may_hold(3, b"nothing is known yet"));
    let found = store.load(3, b"h", |head| head == b"H").expect("load");
    let suffixes: Vec<_> = found.elements.iter().map(|(suffix, _)| suffix.as_slice()).collect();
    assert_eq!(suffixes, [b"fx", b"fy"]);
    assert_eq!(store.keys_after(3, Some(b"a"), 10).expect("keys"), [b"b".to_vec(), b"h".to_vec()]);

    store.write(3, Mark { lsn: 8, keys: 2 }, &mut heads(&[("a", None)])).expect("write");
    store.compact().expect("compact");
    assert_eq!(head(&store, "a"), None);
    let mut drop = Changes { drop_elements: vec![b"h"], ..heads(&[("h", Some("S"))]) };
    store.write(3, Mark { lsn: 9, keys: 2 }, &mut drop).expect("write");
    assert!(store.load(3, b"h", |_| true).expect("load").elements.is_empty());
    let mut clear = Changes { clear: true, ..heads(&[("z", Some("9"))]) };
    store.write(3, Mark { lsn: 10, keys: 1 }, &mut clear).expect("write");
    assert_eq!(store.keys_after(3, None, 10).expect("keys"), [b"z".to_vec()]);
}

#[test]
fn another_number_of_partitions_is_refused_with_the_right_one() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(Store::open(folder.path(), layout(8), 1 << 20).expect("open"));
    let error = Store::open(folder.path(), layout(16), 1 << 20).err().expect("refused");
    assert!(matches!(error, StoreError::Mismatch { .. }));
    assert!(error.to_string().contains("created with 8 partitions"), "{error}");
}

#[test]
fn the_number_of_lanes_and_the_cluster_stay_as_they_were_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Layout { lanes: 4, ..layout(8) };
    drop(Store::open(folder.path(), made, 1 << 20).expect("open"));
    let later = Layout { cluster: 99, ..made };
    let store = Store::open(folder.path(), later, 1 << 20).expect("open again");
    assert_eq!(store.layout(), made, "the store's own number of the cluster");
    drop(store);
    let error = Store::open(folder.path(), layout(8), 1 << 20).err().expect("refused");
    assert!(error.to_string().contains("created with 4 lanes"), "{error}");
}

/// Version 0.1 wrote its format and its partitions, and knew neither lanes nor clusters.
#[test]
fn a_store_of_the_first_version_has_one_lane() {
    let folder = tempfile::tempdir().expect("a folder");
    let numbers = [lsm_tree::SequenceNumberCounter::default(), Default::default()];
    let [seqno, visible] = numbers;
    let tree = lsm_tree::Config::new(folder.path(), seqno, visible).open().expect("a tree");
    let mut ingestion = tree.ingestion().expect("an ingestion");
    ingestion
        .write([0xFF, 0xFF, 0].as_slice(), [1, 0, 0, 0, 8, 0, 0, 0].as_slice())
        .expect("write");
    ingestion.finish().expect("finish");
    drop(tree);
    let four = Layout { lanes: 4, ..layout(8) };
    let error = Store::open(folder.path(), four, 1 << 20).err().expect("refused");
    assert!(error.to_string().contains("created with 1 lanes"), "{error}");
    assert_eq!(Store::open(folder.path(), layout(8), 1 << 20).expect("open").layout(), layout(8));
    let other = Layout { cluster: 8, ..layout(8) };
    assert_eq!(Store::open(folder.path(), other, 1 << 20).expect("open").layout(), layout(8));
}

#[test]
fn many_small_checkpoints_stay_readable() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), layout(4), 1 << 20).expect("open");
    for round in 0..60u64 {
        let keys: Vec<String> = (0..50).map(|key| format!("key{key}")).collect();
        let value = round.to_le_bytes();
        let heads = keys.iter().zip(0u64..).map(|(key, number)| {
            (key.as_bytes(), ((number + round) % 7 != 0).then_some(value.as_slice()))
        });
        let mut changes = Changes { heads: heads.collect(), ..Changes::default() };
        store.write(3, Mark { lsn: round, keys: 0 }, &mut changes).expect("write");
        store.compact().expect("compact");
    }
    for key in 0..50u64 {
        let expected = ((key + 59) % 7 != 0).then(|| 59u64.to_le_bytes().to_vec());
        assert_eq!(head(&store, &format!("key{key}")), expected);
    }
}
