//! A digest of a state: equal for two states that hold the same data, and nearly certainly
//! different for others. For replay tests and standbys.

use crate::state::State;
use xxhash_rust::xxh3::Xxh3;

impl State {
    /// The digest of all keys in memory: independent of hash seeds, slab order and how the state
    /// came about.
    pub fn digest(&self) -> u64 {
        let mut keys: Vec<_> = self.table.iter().collect();
        keys.sort_by(|(_, a), (_, b)| a.key().cmp(b.key()));
        let mut digest = Xxh3::new();
        let mut field = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        for (position, entry) in keys {
            field(entry.key());
            field(&[entry.kind() as u8]);
            field(&entry.lsn.to_le_bytes());
            field(&self.expiry_ms(position).unwrap_or(0).to_le_bytes());
            match self.collection(position) {
                None => field(entry.value()),
                Some(collection) => collection.elements().digest(&mut field),
            }
        }
        digest.digest()
    }
}
