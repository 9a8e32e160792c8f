//! Reads: entries, elements, keys in their order.

use super::*;

impl Store {
    /// Whether the store may hold a key; false is certain.
    pub fn may_hold(&self, partition: u16, key: &[u8]) -> bool {
        self.filters.get(usize::from(partition)).is_none_or(|filter| filter.read().may_hold(key))
    }

    /// Reads a key. `wants_elements` decides from the head whether elements are read.
    pub fn load(
        &self,
        partition: u16,
        key: &[u8],
        wants_elements: impl Fn(&[u8]) -> bool,
    ) -> Result<Found, StoreError> {
        let mut found =
            Found { head: self.get(&tree_key(partition, HEAD, &[key]))?, elements: Vec::new() };
        if found.head.as_deref().is_some_and(wants_elements) {
            let prefix = element_prefix(partition, key);
            for item in self.tree.prefix(&prefix, NEWEST, None) {
                let (name, value) = item.into_inner().map_err(self.failed("read"))?;
                let suffix = name.get(prefix.len()..).unwrap_or_default().to_vec();
                found.elements.push((suffix, value.to_vec()));
            }
        }
        Ok(found)
    }

    /// Keys of a partition after a given one, in order.
    pub fn keys_after(
        &self,
        partition: u16,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        self.walk(partition, after, limit, &mut |key, _| keys.push(key.to_vec()))?;
        Ok(keys)
    }

    /// Gives keys of a partition after a given one, with their heads, in order; says how many.
    pub fn walk(
        &self,
        partition: u16,
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, StoreError> {
        let start = match after {
            // The first key that is greater.
            Some(key) => tree_key(partition, HEAD, &[key, &[0]]),
            None => tree_key(partition, HEAD, &[]),
        };
        let end = tree_key(partition, HEAD + 1, &[]);
        let mut count = 0;
        for item in self.tree.range(start..end, NEWEST, None).take(limit) {
            let (name, head) = item.into_inner().map_err(self.failed("read"))?;
            visit(name.get(PREFIX_BYTES..).unwrap_or_default(), &head);
            count += 1;
        }
        Ok(count)
    }
}
