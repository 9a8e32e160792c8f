//! Tests of `simulated.rs`.

use super::*;

#[test]
fn only_synced_bytes_and_names_are_sure_to_survive() {
    let mut lost_bytes = 0;
    let mut lost_names = 0;
    for seed in 0..64 {
        let fs = SimulatedFs::new(seed);
        let dir = Path::new("d");
        let kept = fs.create(&dir.join("kept")).expect("create");
        kept.write_at(b"kept", 0).expect("write");
        kept.sync_data().expect("sync");
        fs.sync_dir(dir).expect("sync dir");
        kept.write_at(b"lost", 4).expect("write");
        let loose = fs.create(&dir.join("loose")).expect("create");
        loose.write_at(b"x", 0).expect("write");
        fs.power_cut();
        let bytes = fs.bytes(&dir.join("kept"));
        assert_eq!(&bytes[..4], b"kept");
        lost_bytes += usize::from(bytes.len() == 4);
        lost_names += usize::from(fs.open(&dir.join("loose")).is_err());
    }
    assert!(lost_bytes > 8 && lost_names > 8, "{lost_bytes} {lost_names}");
}
