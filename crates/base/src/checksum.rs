//! CRC-32C (Castagnoli), the checksum of everything that Thalweg writes to disk.

use crc_fast::{CrcAlgorithm, Digest};

/// A running CRC-32C over several pieces of memory.
pub struct Crc32c(Digest);

impl Default for Crc32c {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc32c {
    /// Takes in the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all pieces in their order.
    pub fn finish(self) -> u32 {
        // The 32-bit algorithms keep their result in the low half.
        self.0.finalize() as u32
    }
}

/// The CRC-32C of one piece of memory.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        let mut running = Crc32c::default();
        running.update(b"1234");
        running.update(b"56789");
        assert_eq!(running.finish(), 0xE306_9283);
    }
}
