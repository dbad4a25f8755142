//! See `harness_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (harness_fuzz::target("control").check)(data));
