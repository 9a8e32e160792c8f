//! Which entries leave memory when the budget is spent. Only entries that the checkpoint store
//! holds may leave.

mod fifo;
mod lfu;
mod lru;
mod s3fifo;

use crate::table::{Position, Table};
use std::str::FromStr;

/// An order in which entries leave.
pub(crate) trait Policy: Send {
    /// An entry came to this position.
    fn inserted(&mut self, table: &mut Table, position: Position);
    /// An entry was used.
    fn touched(&mut self, table: &mut Table, position: Position);
    /// Takes the next entry to leave out of the order. The caller removes it from the table or
    /// calls [`Policy::spared`].
    fn victim(&mut self, table: &mut Table) -> Option<Position>;
    /// A victim that cannot leave yet comes back, to be asked again after the others.
    fn spared(&mut self, table: &mut Table, position: Position);
    /// Bytes the policy itself uses.
    fn bytes(&self) -> usize;
}

/// The policies by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyName {
    /// Two queues and a memory of what left: resists scans, costs nothing on a hit.
    #[default]
    S3Fifo,
    /// Least recently used.
    Lru,
    /// Least frequently used, with ageing.
    Lfu,
    /// First in, first out.
    Fifo,
}

impl PolicyName {
    /// All names, as settings spell them.
    pub const NAMES: &'static [&'static str] = &["s3-fifo", "lru", "lfu", "fifo"];

    /// The name as settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3Fifo => "s3-fifo",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Fifo => "fifo",
        }
    }

    pub(crate) fn create(self) -> Box<dyn Policy> {
        match self {
            Self::S3Fifo => Box::new(s3fifo::S3Fifo::default()),
            Self::Lru => Box::new(lru::Lru::default()),
            Self::Lfu => Box::new(lfu::Lfu::default()),
            Self::Fifo => Box::new(fifo::Fifo::default()),
        }
    }
}

impl FromStr for PolicyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "s3-fifo" => Ok(Self::S3Fifo),
            "lru" => Ok(Self::Lru),
            "lfu" => Ok(Self::Lfu),
            "fifo" => Ok(Self::Fifo),
            _ => Err(format!(
                "'{text}' is not an eviction policy; there are {}",
                Self::NAMES.join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Kind;

    /// Zipf-like reads with scans in between: the hit ratio of each policy, with room for a tenth
    /// of the keys.
    fn hit_ratio(name: PolicyName) -> f64 {
        let mut table = Table::new(1);
        let mut policy = name.create();
        let (mut hits, mut reads) = (0u32, 0u32);
        let mut random = 0x9E37_79B9_7F4A_7C15u64;
        let mut scan = 0u32;
        for round in 0..300_000u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let uniform = (random >> 11) as f64 / (1u64 << 53) as f64;
            let scanning = round % 1_000 < 200;
            let key = if scanning {
                scan += 1;
                100_000 + scan % 50_000
            } else {
                // exp(u ln n): density 1/x, as Zipf with exponent 1.
                (uniform * 10_000f64.ln()).exp() as u32
            };
            let key = key.to_le_bytes();
            match table.find(&key) {
                Some(position) => {
                    policy.touched(&mut table, position);
                    hits += u32::from(!scanning);
                }
                None => {
                    if table.len() >= 1_000 {
                        let victim = policy.victim(&mut table).expect("something can leave");
                        table.remove(victim);
                    }
                    let position = table.insert(&key, b"", Kind::String, 1);
                    policy.inserted(&mut table, position);
                }
            }
            reads += u32::from(!scanning);
        }
        f64::from(hits) / f64::from(reads)
    }

    #[test]
    fn policies_keep_what_is_used() {
        let [s3fifo, lru, lfu, fifo] =
            [PolicyName::S3Fifo, PolicyName::Lru, PolicyName::Lfu, PolicyName::Fifo].map(hit_ratio);
        assert!(fifo > 0.5 && lru > fifo && lfu > fifo, "{fifo} {lru} {lfu}");
        assert!(s3fifo > lru, "scans must not push out what is used: {s3fifo} {lru}");
    }

    #[test]
    fn names_read_back() {
        for name in PolicyName::NAMES {
            assert_eq!(name.parse::<PolicyName>().expect("a name").as_str(), *name);
        }
        assert!("random".parse::<PolicyName>().is_err());
    }
}
