//! Bytes at the RESP door: whole, and cut in two at a place that the first byte says, they mean the
//! same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg_doors::resp::{Found, FrameLimits, Parser};

const LIMITS: FrameLimits =
    FrameLimits { bulk_max_bytes: 1 << 16, frame_max_bytes: 1 << 17, arguments_max: 1 << 10,
        inline_max_bytes: 1 << 12 };

fn commands(parts: &[&[u8]]) -> (Vec<Vec<Vec<u8>>>, bool) {
    let (mut parser, mut buffer, mut out) = (Parser::default(), Vec::new(), Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        loop {
            match parser.parse(&buffer, &LIMITS) {
                Ok(Found::Incomplete) => break,
                Ok(Found::Nothing(count)) => drop(buffer.drain(..count)),
                Ok(Found::Command(count)) => {
                    out.push(parser.args(&buffer).map(<[u8]>::to_vec).collect());
                    buffer.drain(..count);
                }
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let cut = usize::from(first) % (bytes.len() + 1);
    let (head, tail) = bytes.split_at(cut);
    assert_eq!(commands(&[bytes]), commands(&[head, tail]));
});
