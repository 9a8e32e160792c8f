//! Key to slot, exactly as Redis Cluster does it, so that cluster-aware clients agree with us.
//!
//! slot = CRC-16/XMODEM(key, or what stands between its first `{` and the next `}`) mod 16384.

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// `TABLES[k][b]` is the CRC of byte `b` followed by `k` zero bytes: eight bytes are folded in one
/// step.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut depth = 1;
    while depth < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[depth - 1][byte];
            tables[depth][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        depth += 1;
    }
    tables
}

/// CRC-16/XMODEM.
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let [a, b, c, d, e, f, g, h] = *word;
        let [high, low] = crc.to_be_bytes();
        crc = TABLES[7][usize::from(a ^ high)]
            ^ TABLES[6][usize::from(b ^ low)]
            ^ TABLES[5][usize::from(c)]
            ^ TABLES[4][usize::from(d)]
            ^ TABLES[3][usize::from(e)]
            ^ TABLES[2][usize::from(f)]
            ^ TABLES[1][usize::from(g)]
            ^ TABLES[0][usize::from(h)];
    }
    for &byte in rest {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & (SLOTS - 1)
}

/// The part of a key that decides its slot.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let Some(after) = key.get(open + 1..) else { return key };
    match after.iter().position(|&byte| byte == b'}') {
        Some(length) if length > 0 => after.get(..length).unwrap_or(key),
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"somekey"), 11_058);
        assert_eq!(slot_of(b"foo{hash_tag}"), 2_515);
        assert_eq!(slot_of(b"{}foo"), crc16(b"{}foo") & 16_383);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
    }

    #[test]
    fn eight_at_a_time_is_the_same_as_one_at_a_time() {
        let bytes: Vec<u8> = (0..97u8).map(|i| i.wrapping_mul(73) ^ 0x5A).collect();
        for length in 0..bytes.len() {
            let mut plain = 0u16;
            for &byte in &bytes[..length] {
                plain ^= u16::from(byte) << 8;
                for _ in 0..8 {
                    plain = if plain & 0x8000 != 0 { (plain << 1) ^ 0x1021 } else { plain << 1 };
                }
            }
            assert_eq!(crc16(&bytes[..length]), plain, "{length} bytes");
        }
    }
}
