//! What requests look like.

use crate::client::put_command;
use crate::random::{Random, Zipf};
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    Set,
    Get,
    /// One write in ten.
    Mixed,
    Incr,
    Xadd,
    /// Every key once, in order.
    Fill,
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "set" => Self::Set,
            "get" => Self::Get,
            "mixed" => Self::Mixed,
            "incr" => Self::Incr,
            "xadd" => Self::Xadd,
            _ => {
                return Err(format!(
                    "'{text}' is not a workload; there are set, get, mixed, incr, xadd"
                ));
            }
        })
    }
}

/// Writes requests.
pub(super) struct Requests {
    workload: Workload,
    keys: u64,
    zipf: Option<Zipf>,
    random: Random,
    value: Vec<u8>,
    key: Vec<u8>,
    next: u64,
}

impl Requests {
    pub(super) fn new(
        workload: Workload,
        keys: u64,
        zipf: f64,
        value_bytes: usize,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        let value = (0..value_bytes).map(|_| b'a' + random.below(26) as u8).collect();
        let zipf = (zipf > 0.0).then(|| Zipf::new(keys, zipf));
        Self { workload, keys, zipf, random, value, key: Vec::new(), next: 0 }
    }

    /// Appends the next request.
    pub(super) fn put(&mut self, out: &mut Vec<u8>) {
        let number = match (self.workload, self.zipf) {
            (Workload::Fill, _) => self.next % self.keys,
            (_, Some(zipf)) => zipf.rank(&mut self.random),
            (_, None) => self.random.below(self.keys),
        };
        self.next += 1;
        // Twelve digits, as redis-benchmark writes them. Counters stand apart: other values are no
        // numbers.
        self.key.clear();
        let prefix: &[u8] = if self.workload == Workload::Incr { b"counter:" } else { b"key:" };
        self.key.extend_from_slice(prefix);
        self.key.extend_from_slice(b"000000000000");
        let mut rest = number;
        for digit in self.key.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let write = match self.workload {
            Workload::Mixed => self.next.is_multiple_of(10),
            Workload::Set | Workload::Fill => true,
            _ => false,
        };
        match self.workload {
            Workload::Incr => put_command(out, &[b"INCR", &self.key]),
            Workload::Xadd => {
                put_command(out, &[b"XADD", b"bench:stream", b"*", b"f", &self.value])
            }
            _ if write => put_command(out, &[b"SET", &self.key, &self.value]),
            _ => put_command(out, &[b"GET", &self.key]),
        }
    }
}
