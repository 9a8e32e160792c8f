//! A Bloom filter over a partition's keys that grows: each layer takes four times as many keys as
//! the one before.

use fastbloom::BloomFilter;
use foldhash::fast::FixedState;

const FIRST_LAYER_KEYS: usize = 16_384;
const BITS_PER_KEY: usize = 10;

pub(crate) struct KeyFilter {
    layers: Vec<Layer>,
    /// Whether every key of the store is in it. Until then it cannot exclude anything.
    complete: bool,
}

struct Layer {
    bits: BloomFilter<FixedState>,
    keys: usize,
    keys_max: usize,
}

impl KeyFilter {
    pub(crate) fn new(complete: bool) -> Self {
        Self { layers: Vec::new(), complete }
    }

    pub(crate) fn insert(&mut self, key: &[u8]) {
        if self.layers.iter().any(|layer| layer.bits.contains(key)) {
            return;
        }
        if self.layers.last().is_none_or(|layer| layer.keys >= layer.keys_max) {
            let keys_max = FIRST_LAYER_KEYS << (2 * self.layers.len().min(10));
            let bits = BloomFilter::with_num_bits(keys_max * BITS_PER_KEY)
                .hasher(FixedState::with_seed(0x7468_616C))
                .expected_items(keys_max);
            self.layers.push(Layer { bits, keys: 0, keys_max });
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.bits.insert(key);
            layer.keys += 1;
        }
    }

    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        !self.complete || self.layers.iter().any(|layer| layer.bits.contains(key))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.keys_max * BITS_PER_KEY / 8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_all_and_excludes_nearly_all_others() {
        let mut filter = KeyFilter::new(false);
        assert!(filter.may_hold(b"anything"), "it knows nothing yet");
        for number in 0..100_000u32 {
            filter.insert(&number.to_le_bytes());
        }
        filter.complete();
        assert!((0..100_000u32).all(|number| filter.may_hold(&number.to_le_bytes())));
        let wrong = (100_000..200_000u32).filter(|n| filter.may_hold(&n.to_le_bytes())).count();
        assert!(wrong < 5_000, "{wrong} of 100,000");
    }
}
