//! A batch and its bytes.
//!
//! A batch is a 96-byte header and a payload, padded with zeros to a multiple of 8. Integers are
//! little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | magic `TWB2` |
//! | 4–7 | CRC-32C of the CRC of the batch before (4 bytes), bytes 8–91, and the stored payload |
//! | 8–11 | payload bytes as stored |
//! | 12–15 | payload bytes before compression |
//! | 16–23 | first LSN |
//! | 24–31 | last LSN |
//! | 32–39 | wall-clock time in milliseconds since 1970 |
//! | 40–47 | the log position up to which everything was durable when this batch was written |
//! | 48–51 | epoch of the leader |
//! | 52–55 | number of effects |
//! | 56–57 | partition; 65535 where the effects belong to several |
//! | 58 | codec: 0 none, 1 LZ4 |
//! | 59 | zero |
//! | 60–61 | lane |
//! | 62–63 | zero |
//! | 64–71 | number of the cluster |
//! | 72–79 | number of the writer: of the node, from one start to the next |
//! | 80–91 | zero |
//! | 92–95 | CRC-32C of bytes 8–91: whether the lengths may be believed |
//!
//! A batch is valid if both checksums fit. The chained one ties it to everything before it. The
//! plain one is for a reader that lost the chain: it still sees that something was written here,
//! and when.
//!
//! Version 1 is read, too: its magic is `TWB1`, and its header ends after byte 59 with the plain
//! checksum, so it has 64 bytes and the checksums cover bytes 8–59.

use crate::Lsn;
use crate::origin::Origin;
use thalweg_base::checksum::{Crc32c, crc32c};

/// The partition number of a batch whose effects belong to several partitions.
pub const MANY_PARTITIONS: u16 = u16::MAX;
/// No batch is larger; a larger declared length is damage.
pub(crate) const PAYLOAD_MAX_BYTES: usize = 0x7E00_0000;
/// Where the part of a header begins that the checksums cover.
const BODY: usize = 8;

/// The unit that is appended to a log: effects of one partition, or of several that must happen
/// together. One without effects says who leads, or how far the log is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Whose effects these are; [`MANY_PARTITIONS`] for a transaction over several.
    pub partition: u16,
    /// The LSN of the first effect.
    pub first_lsn: Lsn,
    /// The LSN of the last effect.
    pub last_lsn: Lsn,
    /// When the leader decided them, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who wrote it.
    pub origin: Origin,
    /// How many effects there are.
    pub count: u32,
    /// The encoded effects. The log does not look inside.
    pub payload: &'a [u8],
}

/// A version of a batch's bytes. All batches of a segment have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    const fn magic(self) -> [u8; 4] {
        match self {
            Self::One => *b"TWB1",
            Self::Two => *b"TWB2",
        }
    }

    /// Bytes of a header.
    pub(crate) const fn header_bytes(self) -> usize {
        match self {
            Self::One => 64,
            Self::Two => 96,
        }
    }

    /// The part of a header that the checksums cover.
    fn body(self, header: &[u8]) -> Option<&[u8]> {
        header.get(BODY..self.header_bytes() - 4)
    }

    /// Reads a header whose own checksum fits; `None` for anything else.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<Header> {
        // First the cheap question: whoever looks for batches asks it eight million times a
        // segment.
        if !bytes.starts_with(&self.magic()) {
            return None;
        }
        let body = self.body(bytes)?;
        if bytes.get(BODY + body.len()..self.header_bytes())? != crc32c(body).to_le_bytes() {
            return None;
        }
        let known = self == Self::Two;
        let origin = Origin {
            epoch: u32_at(bytes, 48)?,
            lane: if known { u16_at(bytes, 60)? } else { 0 },
            cluster: if known { u64_at(bytes, 64)? } else { 0 },
            writer: if known { u64_at(bytes, 72)? } else { 0 },
        };
        let header = Header {
            version: self,
            crc: u32_at(bytes, 4)?,
            stored_bytes: u32_at(bytes, 8)?,
            raw_bytes: u32_at(bytes, 12)?,
            first_lsn: u64_at(bytes, 16)?,
            last_lsn: u64_at(bytes, 24)?,
            time_ms: u64_at(bytes, 32)?,
            durable_position: u64_at(bytes, 40)?,
            origin,
            count: u32_at(bytes, 52)?,
            partition: u16_at(bytes, 56)?,
            codec: *bytes.get(58)?,
        };
        let fits = header.stored_bytes as usize <= PAYLOAD_MAX_BYTES
            && header.raw_bytes as usize <= PAYLOAD_MAX_BYTES
            && header.codec <= 1;
        fits.then_some(header)
    }
}

/// A header as found on disk.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    version: Version,
    crc: u32,
    pub(crate) stored_bytes: u32,
    raw_bytes: u32,
    first_lsn: Lsn,
    pub(crate) last_lsn: Lsn,
    time_ms: u64,
    pub(crate) durable_position: u64,
    pub(crate) origin: Origin,
    count: u32,
    partition: u16,
    codec: u8,
}

impl Header {
    /// Header, payload and padding.
    pub(crate) fn total_bytes(&self) -> u64 {
        padded(self.version.header_bytes() + self.stored_bytes as usize) as u64
    }

    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }
}

/// Encodes batches, each chained to the one before.
pub(crate) struct Encoder {
    /// The CRC of the last batch.
    pub(crate) chain: u32,
    /// Payloads of at least this size are compressed.
    pub(crate) compress_min_bytes: usize,
}

impl Encoder {
    /// Appends the batch's bytes to `out`; returns the payload's size as stored.
    pub(crate) fn encode(
        &mut self,
        batch: &Batch<'_>,
        durable_position: u64,
        out: &mut Vec<u8>,
    ) -> usize {
        let compressed = (batch.payload.len() >= self.compress_min_bytes)
            .then(|| lz4_flex::block::compress(batch.payload))
            .filter(|packed| packed.len() < batch.payload.len());
        let (codec, stored) = match &compressed {
            Some(packed) => (1u8, packed.as_slice()),
            None => (0u8, batch.payload),
        };
        const BODY_BYTES: usize = Version::Two.header_bytes() - BODY - 4;
        let mut body = [0u8; BODY_BYTES];
        let mut cursor = body.as_mut_slice();
        put(&mut cursor, &(stored.len() as u32).to_le_bytes());
        put(&mut cursor, &(batch.payload.len() as u32).to_le_bytes());
        put(&mut cursor, &batch.first_lsn.to_le_bytes());
        put(&mut cursor, &batch.last_lsn.to_le_bytes());
        put(&mut cursor, &batch.time_ms.to_le_bytes());
        put(&mut cursor, &durable_position.to_le_bytes());
        put(&mut cursor, &batch.origin.epoch.to_le_bytes());
        put(&mut cursor, &batch.count.to_le_bytes());
        put(&mut cursor, &batch.partition.to_le_bytes());
        put(&mut cursor, &[codec, 0]);
        put(&mut cursor, &batch.origin.lane.to_le_bytes());
        put(&mut cursor, &[0; 2]);
        put(&mut cursor, &batch.origin.cluster.to_le_bytes());
        put(&mut cursor, &batch.origin.writer.to_le_bytes());
        let crc = chained_crc(self.chain, &body, stored);
        out.extend_from_slice(&Version::Two.magic());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&body);
        out.extend_from_slice(&crc32c(&body).to_le_bytes());
        out.extend_from_slice(stored);
        out.resize(out.len() + padded(stored.len()) - stored.len(), 0);
        self.chain = crc;
        stored.len()
    }
}

/// Reads a header of any version whose own checksum fits; `None` for anything else.
pub fn decode_batch_header(bytes: &[u8]) -> Option<Header> {
    Version::Two.decode(bytes).or_else(|| Version::One.decode(bytes))
}

/// Checks a payload against its header and the chain, unpacks it where needed into `scratch`, and
/// gives the batch.
pub(crate) fn open_batch<'a>(
    header: &Header,
    header_bytes: &[u8],
    stored: &'a [u8],
    chain: u32,
    scratch: &'a mut Vec<u8>,
) -> Result<Batch<'a>, String> {
    let body = header.version.body(header_bytes).ok_or("the header is cut short")?;
    if chained_crc(chain, body, stored) != header.crc {
        return Err("the checksum does not fit the batch or the batches before it".to_owned());
    }
    let payload = if header.codec == 1 {
        scratch.clear();
        scratch.resize(header.raw_bytes as usize, 0);
        let written = lz4_flex::block::decompress_into(stored, scratch)
            .map_err(|error| format!("the payload does not unpack: {error}"))?;
        if written != header.raw_bytes as usize {
            return Err("the payload unpacks to another length than was written".to_owned());
        }
        scratch.as_slice()
    } else {
        stored
    };
    Ok(Batch {
        partition: header.partition,
        first_lsn: header.first_lsn,
        last_lsn: header.last_lsn,
        time_ms: header.time_ms,
        origin: header.origin,
        count: header.count,
        payload,
    })
}

/// Decodes one batch at the start of `bytes` with the chain set to zero. For fuzzing.
pub fn fuzz_decode(bytes: &[u8]) -> Option<u32> {
    let header = decode_batch_header(bytes)?;
    let at = header.version.header_bytes();
    let stored = bytes.get(at..at + header.stored_bytes as usize)?;
    // A declared raw size is only believed up to what LZ4 can reach from the bytes that are there.
    if header.raw_bytes as usize > stored.len().saturating_mul(256) + 64 {
        return None;
    }
    let mut scratch = Vec::new();
    open_batch(&header, bytes, stored, 0, &mut scratch).ok().map(|batch| batch.count)
}

/// Rounds a length up to a multiple of 8.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

fn chained_crc(chain: u32, body: &[u8], stored: &[u8]) -> u32 {
    let mut crc = Crc32c::default();
    crc.update(&chain.to_le_bytes());
    crc.update(body);
    crc.update(stored);
    crc.finish()
}

fn put(cursor: &mut &mut [u8], bytes: &[u8]) {
    if let Some((head, tail)) = std::mem::take(cursor).split_at_mut_checked(bytes.len()) {
        head.copy_from_slice(bytes);
        *cursor = tail;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
