//! Feeds the decoder `report` of `tests::decoders`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::decoders::run("report", data));
