//! The ID of a record: milliseconds and a sequence number, written `ms-sequence`.

use crate::error::CommandError;
use crate::number::{parse_u64, push_u64};

/// The ID of a record in a stream. IDs only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970, by convention.
    pub ms: u64,
    /// Tells records of one millisecond apart.
    pub sequence: u64,
}

impl StreamId {
    /// Below every record.
    pub const MIN: Self = Self { ms: 0, sequence: 0 };
    /// Above every record.
    pub const MAX: Self = Self { ms: u64::MAX, sequence: u64::MAX };

    pub(crate) const INVALID: CommandError =
        CommandError::new("Invalid stream ID specified as stream command argument");

    /// The next ID; `None` after the last.
    pub fn next(self) -> Option<Self> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(Self { ms: self.ms, sequence }),
            None => Some(Self { ms: self.ms.checked_add(1)?, sequence: 0 }),
        }
    }

    /// The ID before; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Some(Self { ms: self.ms, sequence }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, sequence: u64::MAX }),
        }
    }

    /// Reads `ms-sequence`, or `ms` alone with the sequence that the caller means by it.
    pub fn parse(bytes: &[u8], missing_sequence: u64) -> Option<Self> {
        match bytes.iter().position(|&byte| byte == b'-') {
            None => Some(Self { ms: number(bytes)?, sequence: missing_sequence }),
            Some(dash) => Some(Self {
                ms: number(bytes.get(..dash)?)?,
                sequence: number(bytes.get(dash + 1..)?)?,
            }),
        }
    }

    /// `ms-sequence`.
    pub fn to_text(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        push_u64(&mut out, self.ms);
        out.push(b'-');
        push_u64(&mut out, self.sequence);
        out
    }

    /// Sixteen bytes that sort as IDs do.
    pub(crate) fn to_sortable(self) -> [u8; 16] {
        ((u128::from(self.ms) << 64) | u128::from(self.sequence)).to_be_bytes()
    }

    pub(crate) fn from_sortable(bytes: &[u8]) -> Option<Self> {
        let value = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { ms: (value >> 64) as u64, sequence: value as u64 })
    }
}

/// IDs, unlike values, may have leading zeros.
fn number(bytes: &[u8]) -> Option<u64> {
    let zeros = bytes.iter().take_while(|&&byte| byte == b'0').count();
    match bytes.get(zeros..) {
        Some([]) if zeros > 0 => Some(0),
        Some(digits) => parse_u64(digits),
        None => None,
    }
}
