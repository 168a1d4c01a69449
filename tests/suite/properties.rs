//! What reads the outside, given thousands of malformed inputs; and components that a machine
//! made up.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_auth::secret_strength::Strength;
use portcullis_tests::READERS;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fs;
use std::path::Path;

/// The fuzzer's seeds for one reader.
fn seeds(reader: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(reader);
    let files = fs::read_dir(folder).expect("the seeds are there");
    let seeds: Vec<_> = files
        .map(|file| fs::read(file.expect("a seed").path()).expect("a seed"))
        .collect();
    assert!(!seeds.is_empty(), "{reader} has no seeds");
    seeds
}

/// A seed with some of its bytes replaced, or bytes alone.
fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let splices = vec(
        (any::<Index>(), any::<Index>(), vec(any::<u8>(), 0..6)),
        0..4,
    );
    let mutated = (select(seeds), splices).prop_map(|(mut seed, splices)| {
        for (from, to, bytes) in splices {
            let (from, to) = (from.index(seed.len() + 1), to.index(seed.len() + 1));
            seed.splice(from.min(to)..from.max(to).min(from.min(to) + 4), bytes);
        }
        seed
    });
    prop_oneof![4 => mutated, 1 => vec(any::<u8>(), 0..200)]
}

fn try_reader(name: &str) {
    let read = READERS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a reader")
        .1;
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| read(seed));
    let config = Config {
        cases: 4_000,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&inputs(seeds), |input| {
        read(&input);
        Ok(())
    });
    assert!(outcome.is_ok(), "{name}: {outcome:?}");
}

#[test]
fn bearer_header_is_read_safely() {
    try_reader("bearer");
}

#[test]
fn next_is_read_safely() {
    try_reader("next");
}

#[test]
fn origins_are_read_safely() {
    try_reader("origin");
}

#[test]
fn configuration_is_read_safely() {
    try_reader("config");
}

#[test]
fn marker_is_read_safely() {
    try_reader("marker");
}

#[test]
fn status_file_is_read_safely() {
    try_reader("status");
}

#[test]
fn claims_are_read_safely() {
    try_reader("claims");
}

#[test]
fn trace_of_a_caller_is_read_safely() {
    try_reader("trace");
}

#[test]
fn component_is_linked_safely() {
    try_reader("link");
}

#[test]
fn every_reader_has_a_target_for_the_fuzzer() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the fuzzer's manifest");
    assert!(
        READERS
            .iter()
            .all(|(name, _)| manifest.contains(&format!("name = \"{name}\"")))
    );
}

/// Random bytes as `openssl rand -hex 32`, `openssl rand -base64 32` and `token_urlsafe(32)` of
/// Python write them.
#[test]
fn random_secrets_pass_the_gate() {
    let config = Config {
        cases: 2_000,
        failure_persistence: None,
        ..Config::default()
    };
    // The same random numbers in each run: one hex secret in millions has too few distinct digits.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(&any::<[u8; 32]>(), |bytes| {
        let lower: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for secret in [
            lower.to_ascii_uppercase(),
            lower,
            STANDARD.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
        ] {
            for strength in [Strength::drain(43), Strength::KEY, Strength::TOKEN] {
                let judged = strength.judge(&secret);
                prop_assert_eq!(&judged, &Ok(()), "{}", secret);
            }
        }
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}
