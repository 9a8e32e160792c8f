//! Bytes where a batch of the log should be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _header = thalweg_log::decode_batch_header(data);
    let _count = thalweg_log::fuzz_decode(data);
});
