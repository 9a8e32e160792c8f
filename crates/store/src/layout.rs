//! What a data directory keeps from the day it is made: its numbers of partitions and lanes, and
//! the number of its cluster.

use super::{Store, StoreError};

const FORMAT_VERSION: u32 = 1;
const FORMAT_KEY: [u8; 3] = [0xFF, 0xFF, 0];
const LANES_KEY: [u8; 3] = [0xFF, 0xFF, 1];

/// What a data directory keeps from the day it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many partitions.
    pub partitions: u16,
    /// How many lanes.
    pub lanes: u16,
    /// The number of the cluster. A directory that has one keeps that.
    pub cluster: u64,
}

impl Store {
    /// What the directory keeps.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Checks that the store was made with this layout, and gives it with the store's own number of
    /// the cluster; writes it into a store that has none.
    pub(super) fn kept_layout(&self, asked: Layout) -> Result<Layout, StoreError> {
        let format =
            [FORMAT_VERSION.to_le_bytes(), u32::from(asked.partitions).to_le_bytes()].concat();
        let found = self.get(&FORMAT_KEY)?;
        if let Some(found) = &found
            && *found != format
        {
            return Err(self.other_format(found, asked.partitions));
        }
        let kept = match (self.get(&LANES_KEY)?, found) {
            (Some(bytes), _) => decode(&bytes),
            // Made by a version that knew no lanes.
            (None, Some(_)) => Some((1, None)),
            (None, None) => Some((asked.lanes, None)),
        };
        let Some((lanes, cluster)) = kept else {
            return Err(self.mismatch("the number of lanes does not decode".to_owned()));
        };
        if lanes != asked.lanes {
            return Err(self.mismatch(format!(
                "it was created with {lanes} lanes, and keeps them; set `lanes` to {lanes} instead \
                 of {}",
                asked.lanes
            )));
        }
        if let Some(cluster) = cluster {
            return Ok(Layout { cluster, ..asked });
        }
        // Both at once: after a crash there is either a layout or an empty store.
        let lanes = [&lanes.to_le_bytes()[..], &[0; 6], &asked.cluster.to_le_bytes()].concat();
        let mut ingestion = self.tree.ingestion().map_err(self.failed("begin"))?;
        for (name, value) in [(FORMAT_KEY, format), (LANES_KEY, lanes)] {
            ingestion.write(name.as_slice(), value.as_slice()).map_err(self.failed("write"))?;
        }
        ingestion.finish().map_err(self.failed("finish"))?;
        Ok(asked)
    }

    fn other_format(&self, found: &[u8], partitions: u16) -> StoreError {
        let number = |at: usize| {
            let bytes = found.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        self.mismatch(if number(0) == FORMAT_VERSION {
            format!(
                "it was created with {0} partitions, and keeps them; set `partitions` to {0} \
                 instead of {partitions}",
                number(4)
            )
        } else {
            format!("it has format {}; this version reads {FORMAT_VERSION}", number(0))
        })
    }

    fn mismatch(&self, what: String) -> StoreError {
        StoreError::Mismatch { path: self.path.clone(), what }
    }
}

fn decode(bytes: &[u8]) -> Option<(u16, Option<u64>)> {
    let lanes = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    let cluster = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    (cluster != 0).then_some((lanes, Some(cluster)))
}
