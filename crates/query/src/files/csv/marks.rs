//! Where the fields and lines of a piece of CSV begin, found 64 bytes at a time.

use wide::u8x32;

/// The bytes that mean something, beside the ends of lines.
#[derive(Clone, Copy)]
pub(super) struct Special {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
}

/// What was found in a piece of a file that begins with a line.
#[derive(Default)]
pub(super) struct Marks {
    /// Where each field begins, and where the next one would; the byte before it ends a field.
    starts: Vec<u32>,
    starts_count: usize,
    /// Where each line but the first begins, and where the one after the last would.
    lines: Vec<u32>,
    lines_count: usize,
    /// Lines may end in `\r\n`.
    pub(super) returns: bool,
    /// There is a quote, or `\r` without `\n`; what begins there or behind is not marked.
    pub(super) odd: bool,
}

impl Marks {
    /// Where fields begin, in the order of the file.
    pub(super) fn starts(&self) -> &[u32] {
        self.starts.get(..self.starts_count).unwrap_or_default()
    }

    pub(super) fn lines(&self) -> &[u32] {
        self.lines.get(..self.lines_count).unwrap_or_default()
    }

    /// Looks through a piece, whose positions must fit into 32 bits.
    pub(super) fn find(&mut self, piece: &[u8], special: Special) {
        // One for each byte, and room for those that are written beyond the last.
        let most = piece.len() + 2 * BLOCK_BYTES;
        if self.starts.len() < most {
            self.starts.resize(most, 0);
            self.lines.resize(most, 0);
        }
        (self.starts_count, self.lines_count) = (1, 0);
        (self.returns, self.odd) = (false, false);
        let (blocks, rest) = piece.as_chunks::<BLOCK_BYTES>();
        let mut from = 0;
        for block in blocks {
            // What is behind the piece is no matter: it belongs to a line that is not all here.
            let goes_on = piece.get(from + BLOCK_BYTES).is_none_or(|&byte| byte == b'\n');
            self.mark(block, from, !0, u64::from(goes_on) << 63, special);
            if self.odd {
                return;
            }
            from += BLOCK_BYTES;
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK_BYTES];
            for (to, byte) in block.iter_mut().zip(rest) {
                *to = *byte;
            }
            let last = 1 << (rest.len() - 1);
            self.mark(&block, from, last | (last - 1), last, special);
        }
    }

    /// Takes in a block. `within` has a bit for each of its bytes that is in the piece, `followed`
    /// for each that a newline follows which is not in the block.
    #[inline(always)]
    fn mark(&mut self, block: &Block, from: usize, within: u64, followed: u64, special: Special) {
        let found = Found::of(block, special);
        let (mut ends, mut newlines) = (found.ends & within, found.newlines & within);
        let (returns, quotes) = (found.returns & within, found.quotes & within);
        if returns | quotes != 0 {
            let odd = quotes | returns & !(newlines >> 1 | followed);
            self.returns |= returns != 0;
            self.odd = odd != 0;
            // Only what is in front of it.
            let before = 1u64.checked_shl(odd.trailing_zeros()).unwrap_or(0).wrapping_sub(1);
            ends &= before;
            newlines &= before;
        }
        let behind = from as u32 + 1;
        self.starts_count = write::<4>(&mut self.starts, self.starts_count, behind, ends);
        self.lines_count = write::<2>(&mut self.lines, self.lines_count, behind, newlines);
    }
}

const BLOCK_BYTES: usize = 64;

type Block = [u8; BLOCK_BYTES];

/// One bit for each byte of a block, the first one lowest.
struct Found {
    /// Delimiters and newlines.
    ends: u64,
    newlines: u64,
    returns: u64,
    quotes: u64,
}

impl Found {
    #[inline(always)]
    fn of(block: &Block, special: Special) -> Self {
        let halves = block.as_chunks::<32>().0;
        let [low, high] = [halves.first(), halves.last()].map(|half| match half {
            Some(half) => u8x32::new(*half),
            None => u8x32::splat(0),
        });
        let equal = |byte: u8| {
            let byte = u8x32::splat(byte);
            [low.simd_eq(byte), high.simd_eq(byte)]
        };
        let bits = |[low, high]: [u8x32; 2]| {
            u64::from(low.to_bitmask()) | u64::from(high.to_bitmask()) << 32
        };
        let newlines = bits(equal(b'\n'));
        Self {
            ends: newlines | bits(equal(special.delimiter)),
            newlines,
            returns: bits(equal(b'\r')),
            quotes: bits(equal(special.quote)),
        }
    }
}

/// Writes where the set bits are; says how many there are with those before. They are written
/// `AT_ONCE`, for to guess how many there are costs more than to write some in vain.
#[inline(always)]
fn write<const AT_ONCE: usize>(
    positions: &mut [u32],
    count: usize,
    first: u32,
    mut bits: u64,
) -> usize {
    let end = count + bits.count_ones() as usize;
    let mut at = count;
    while at < end {
        for ahead in 0..AT_ONCE {
            // One by one: as a vector, they are put together in more steps than this takes.
            if let Some(position) = positions.get_mut(at + ahead) {
                *position = first + bits.trailing_zeros();
            }
            bits &= bits.wrapping_sub(1);
        }
        at += AT_ONCE;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPECIAL: Special = Special { delimiter: b',', quote: b'"' };

    /// The same, byte by byte.
    fn plainly(piece: &[u8], delimiter: u8) -> (Vec<u32>, Vec<u32>, bool) {
        let (mut starts, mut lines) = (vec![0], vec![]);
        for (at, &byte) in piece.iter().enumerate() {
            let next = piece.get(at + 1);
            match byte {
                b'"' => return (starts, lines, true),
                b'\r' if next.is_some_and(|&next| next != b'\n') => return (starts, lines, true),
                byte if byte == delimiter => starts.push(at as u32 + 1),
                b'\n' => {
                    starts.push(at as u32 + 1);
                    lines.push(at as u32 + 1);
                }
                _ => {}
            }
        }
        (starts, lines, false)
    }

    #[test]
    fn the_newline_may_be_in_the_next_piece() {
        for length in 1..200 {
            let mut piece = vec![b'1'; length];
            piece[length - 1] = b'\r';
            let mut marks = Marks::default();
            marks.find(&piece, SPECIAL);
            assert!(marks.returns && !marks.odd, "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None,
            ..ProptestConfig::default() })]

        #[test]
        fn marks_are_where_the_bytes_are(
            pieces in prop::collection::vec(prop::collection::vec(
                prop_oneof![
                    40 => Just(b"7".as_slice()),
                    10 => Just(b",".as_slice()),
                    4 => Just(b"\n".as_slice()),
                    2 => Just(b"\r\n".as_slice()),
                    1 => Just(b"\r".as_slice()),
                    1 => Just(b"\"".as_slice()),
                    1 => Just(b"\xFF".as_slice()),
                ],
                0..300,
            ), 1..4),
            delimiter in prop::sample::select(vec![b',', b';', 0, 0x0B, 0x0C, b'#', 0xFF]),
        ) {
            let mut marks = Marks::default();
            for piece in pieces {
                let mut piece = piece.concat();
                for byte in piece.iter_mut().filter(|byte| **byte == b',') {
                    *byte = delimiter;
                }
                marks.find(&piece, Special { delimiter, ..SPECIAL });
                let (starts, lines, odd) = plainly(&piece, delimiter);
                prop_assert_eq!(marks.starts(), starts);
                prop_assert_eq!(marks.lines(), lines);
                prop_assert_eq!(marks.odd, odd);
                prop_assert!(odd || marks.returns == piece.contains(&b'\r'));
            }
        }
    }
}
