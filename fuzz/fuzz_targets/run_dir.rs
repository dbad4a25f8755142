//! See `harness_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (harness_fuzz::target("run_dir").check)(data));
