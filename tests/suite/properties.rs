//! What reads the outside, given thousands of malformed inputs; and components that a machine
//! made up.

use portcullis_tests::READERS;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
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
