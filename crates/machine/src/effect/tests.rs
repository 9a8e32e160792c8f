//! Tests of `effect.rs`: the bytes stay what they are, for logs outlive versions.

use super::*;

const KEY: &[u8] = b"k";
const ID: StreamId = StreamId { ms: 300, sequence: 2 };

/// Every effect, and its record behind the operation byte and the key.
fn golden() -> Vec<(Effect<'static>, u8, &'static [u8])> {
    let (key, group, consumer) = (KEY, &b"g"[..], &b"c"[..]);
    let at = PutExpiry::At(200);
    vec![
        (Effect::Put { key, value: b"v", expiry: PutExpiry::Never }, 1, b"\x01v"),
        (Effect::Put { key, value: b"v", expiry: at }, 2, b"\x01v\xc8\x01"),
        (Effect::Delete { key }, 3, b""),
        (Effect::Expire { key, at_ms: 5 }, 4, b"\x05"),
        (Effect::Splice { key, offset: 3, bytes: b"ab" }, 5, b"\x03\x02ab"),
        (Effect::HashPut { key, field: b"f", value: b"" }, 6, b"\x01f\x00"),
        (Effect::HashDelete { key, field: b"f" }, 7, b"\x01f"),
        (
            Effect::StreamAppend { key, id: ID, idempotency: b"i", fields: b"\x01f\x01v" },
            9,
            b"\xac\x02\x02\x01i\x04\x01f\x01v",
        ),
        (Effect::StreamDelete { key, id: ID }, 10, b"\xac\x02\x02"),
        (Effect::StreamTrim { key, below: ID }, 11, b"\xac\x02\x02"),
        (
            Effect::StreamCounters { key, last: ID, added: 7, max_deleted: StreamId::MIN },
            12,
            b"\xac\x02\x02\x07\x00\x00",
        ),
        (
            Effect::GroupPut { key, group, last_delivered: ID, read: Some(4) },
            13,
            b"\x01g\xac\x02\x02\x05",
        ),
        (
            Effect::GroupPut { key, group, last_delivered: ID, read: None },
            13,
            b"\x01g\xac\x02\x02\x00",
        ),
        (Effect::GroupDelete { key, group }, 14, b"\x01g"),
        (
            Effect::ConsumerPut { key, group, consumer, seen_ms: 1, active_ms: 2 },
            15,
            b"\x01g\x01c\x01\x02",
        ),
        (Effect::ConsumerDelete { key, group, consumer }, 16, b"\x01g\x01c"),
        (
            Effect::PendingPut { key, group, id: ID, consumer, delivered_ms: 1, deliveries: 2 },
            17,
            b"\x01g\xac\x02\x02\x01c\x01\x02",
        ),
        (Effect::PendingDelete { key, group, id: ID }, 18, b"\x01g\xac\x02\x02"),
        (Effect::IdempotencyLimit { key, records: 9 }, 19, b"\x09"),
    ]
}

#[test]
fn records_have_the_bytes_that_older_logs_have() {
    for (effect, operation, fields) in golden() {
        let mut record = Vec::new();
        effect.encode(false, &mut record);
        assert_eq!(record, [&[operation, 1, b'k'], fields].concat(), "{effect:?}");
        effect.encode(true, &mut record);
        assert_eq!(record.get(fields.len() + 3), Some(&(operation | NEXT_LSN)), "{effect:?}");
    }
    let mut record = Vec::new();
    Effect::Clear.encode(false, &mut record);
    assert_eq!(record, [8]);
}

#[test]
fn effects_read_back_with_their_lsns() {
    let mut buffer = EffectBuffer::default();
    let mut wanted = Vec::new();
    let mut lsn = 1 << 40;
    for (number, (effect, ..)) in
        golden().into_iter().chain([(Effect::Clear, 8, &b""[..])]).enumerate()
    {
        // The same LSN, the next one, and one far ahead.
        lsn += [0, 1, 1 << 20][number % 3];
        buffer.push(lsn, &effect);
        wanted.push(Ok((lsn, effect)));
    }
    assert_eq!(Effects::new(buffer.bytes()).collect::<Vec<_>>(), wanted);
    assert_eq!((buffer.first_lsn(), buffer.last_lsn()), (1 << 40, lsn));
}

#[test]
fn bytes_that_are_cut_or_unknown_stop() {
    let lsn = [&[SET_LSN][..], &1u64.to_le_bytes()].concat();
    let decode = |record: &[u8]| -> Vec<_> {
        let payload = [&lsn, record].concat();
        Effects::new(&payload).map(|effect| effect.is_ok()).collect()
    };
    for (effect, operation, fields) in golden() {
        let record = [&[operation, 1, b'k'], fields].concat();
        assert_eq!(decode(&record), [true], "{effect:?}");
        for length in 1..record.len() {
            assert_eq!(decode(&record[..length]), [false], "{effect:?} cut at {length}");
        }
    }
    for operation in [20, 0x7F, 0x80] {
        assert_eq!(decode(&[operation, 1, b'k', 0, 0, 0, 0]), [false], "operation {operation}");
    }
}
