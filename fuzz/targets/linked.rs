#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    portcullis_tests::linked::linked_is_alike(data);
});
