//! Bodies of HTTP requests.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| thalweg_doors::http::fuzz_bodies(data));
