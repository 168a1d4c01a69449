//! The module linker changes nothing that can be seen of a component: tried on components that are
//! wired at random.

use portcullis_tests::linked::{Compared, linked_is_alike};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

const CASES: u32 = 256;
/// Choices of one component. It takes fewer when they are used up.
const MOST_CHOICES: usize = 2_000;

#[test]
fn linked_components_return_trap_and_show_the_same() {
    let tally = RefCell::new(HashMap::<Compared, u32>::new());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(any::<u8>(), 0..MOST_CHOICES), |bytes| {
        *tally
            .borrow_mut()
            .entry(linked_is_alike(&bytes))
            .or_default() += 1;
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");

    // About half of them trap in a call, and a third return from all calls.
    let tally = tally.into_inner();
    for expected in [Compared::Returned, Compared::Trapped] {
        assert!(
            tally
                .get(&expected)
                .is_some_and(|count| *count > CASES / 20),
            "{tally:?}"
        );
    }
}

#[test]
fn fuzzer_has_a_target_for_the_linker() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the fuzzer's manifest");
    assert!(manifest.contains("name = \"linked\""));
}
